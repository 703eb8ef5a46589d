"""The demonstration: Osteon against a small hospital on this machine, and the table of its outcome."""
