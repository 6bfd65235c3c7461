"""Summaries without rows: exact states of outputs, which merge in any order to the same bits."""
