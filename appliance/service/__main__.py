"""Runs a role: ``python -m appliance.service receive --config FILE``."""

import os

if __name__ == "__main__":
    # before NumPy is loaded, here and in the children of a role: between two small products of matrices, the other
    # threads of its BLAS only wait, and burn the cores that decode and render
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from .command import run

    run(prog_name="python -m appliance.service")
