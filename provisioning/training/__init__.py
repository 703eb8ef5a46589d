"""Training recipes: manifests, material and evaluation; networks and losses are in `engines.training`."""
