"""Columns as compressed bytes, and back."""
