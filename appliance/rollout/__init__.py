"""The rules of a rollout: which radiographs are read, what their reads prove, and what drifts."""
