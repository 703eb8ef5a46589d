"""Run a command over the stand-in driver; the exit status is the command's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.driver import environment

with TemporaryDirectory() as folder:
    done = subprocess.run(sys.argv[1:], env=environment(Path(folder)), check=False)
sys.exit(done.returncode)
