"""The status page for hospital IT, with health and metrics."""
