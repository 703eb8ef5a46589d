"""DCMTK's storescu as the X-ray room."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.peers import Peer
from tests.support.waiting import PATIENCE_S


class _Storescu:
    """Call it to send files and wait for the end; `start` it to go on meanwhile."""

    def __call__(self, peer: Peer, port: int, *files: Path) -> None:
        process = self.start(peer, port, *files)
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, output

    def start(self, peer: Peer, port: int, *files: Path | str) -> subprocess.Popen[str]:
        """Start to send; the caller waits for the process."""
        command = [peer("storescu"), "-v", "-aec", "OSTEON", "127.0.0.1", str(port), *map(str, files)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


storescu = _Storescu()
