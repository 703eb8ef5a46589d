"""Packs of networks, checked before use, and the runners that execute the networks."""
