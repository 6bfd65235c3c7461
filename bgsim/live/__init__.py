"""Statistics of rows that become more: each row is read once, however often one asks."""
