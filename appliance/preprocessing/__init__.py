"""Stage 1: from stored values to the equalised image that the networks see."""
