"""Stage 1: stored values to the equalised image that networks see."""
