"""PyCUDA's wheel, and those that it needs, into the folder that is named: for packaging/stage-wheels.sh."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.driver import WHEELS, driver, pycuda

with TemporaryDirectory() as folder:
    pycuda(driver(Path(folder)), build=True)
for wheel in WHEELS.glob("*.whl"):
    shutil.copy(wheel, sys.argv[1])
