"""Runs a role: ``python -m appliance.service receive --config FILE``."""

from .command import run

if __name__ == "__main__":
    run(prog_name="python -m appliance.service")
