"""Training and evaluation of packs: manifests, prepared arrays, recipes; networks and losses are in `engines.training`."""
