"""Frozen types and the state table; standard library and NumPy only."""
