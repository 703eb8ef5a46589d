"""Reading of received instances: header, order, pixels, windows and shutters."""
