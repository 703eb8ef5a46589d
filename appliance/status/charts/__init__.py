"""Charts of the rollout page and of the report, drawn as SVG: pure functions, without script or inline style."""
