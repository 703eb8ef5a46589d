"""The workshop around the product: command line, operation, demonstration, training and phantoms.

It imports the product; the product never imports it.
"""
