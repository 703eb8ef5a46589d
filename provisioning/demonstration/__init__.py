"""The demonstration: a small hospital on this machine, and the table of its outcome."""
