"""Benchmarks against named peers; ``python -m benchmarks [NAME ...]`` runs them."""
