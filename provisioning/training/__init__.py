"""Training and evaluation of packs: manifests, prepared arrays and recipes.

Networks and losses are in `engines.training`.
"""
