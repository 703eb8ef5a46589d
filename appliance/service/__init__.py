"""The four roles and what wires them."""
