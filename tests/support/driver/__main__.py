"""Copy PyCUDA's wheel, and those that it needs, into the named folder; packaging/stage-wheels.sh calls this."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.driver import driver, wheels

with TemporaryDirectory() as folder:
    for wheel in wheels(driver(Path(folder))).glob("*.whl"):
        shutil.copy(wheel, sys.argv[1])
