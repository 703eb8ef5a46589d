"""The model packs that ship with Osteon."""
