"""The workshop around the product: command line, operation, demonstration, training and phantoms."""
