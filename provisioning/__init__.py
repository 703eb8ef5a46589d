"""Sets a box up, checks it, proves it."""
