"""DCMTK's storescu as the X-ray room."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.peers import Peer


class _Storescu:
    """Call it to send and wait; `start` it to go on meanwhile."""

    def __call__(self, peer: Peer, port: int, *files: Path) -> None:
        process = self.start(peer, port, *files)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said

    def start(self, peer: Peer, port: int, *files: Path | str) -> subprocess.Popen[str]:
        command = [peer("storescu"), "-v", "-aec", "OSTEON", "127.0.0.1", str(port), *map(str, files)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


storescu = _Storescu()
