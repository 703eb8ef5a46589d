"""Reads a received instance: header, order, pixels, windows and shutters."""
