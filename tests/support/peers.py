"""Second implementations as peers and judges: find them, start them on loopback, stop them.

A test without its peer is listed as not run; with ``OSTEON_REQUIRE_PEERS=1`` it fails.
``tests/peers/install.sh`` installs every peer.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

from kernels.build import nvcc
from tests.support.ports import free_ports
from tests.support.waiting import PATIENCE_S, wait_until

PEERS = Path(__file__).resolve().parent.parent / "peers"
Peer = Callable[[str], str]


@pytest.fixture(scope="session")
def peer() -> Peer:
    """Path of a program by its name, or of a script in ``tests/peers`` by its name with ``.js``."""
    return find


def find(name: str) -> str:
    """Return the path of a peer; skip the test where the peer is missing, or fail it where peers are required."""
    path = shutil.which(name)
    if name.endswith(".js"):
        installed = shutil.which("node") and (PEERS / "node_modules").is_dir()
        path = str(PEERS / name) if installed else None
    if name == "nvcc":
        path = nvcc()
    if path is None:
        how = "pip install nvidia-cuda-nvcc" if name == "nvcc" else "run tests/peers/install.sh"
        missing(f"the peer {name} is not installed; {how}")
    return path


def missing(reason: str) -> NoReturn:
    """Skip the test for want of a program, or fail it where ``OSTEON_REQUIRE_PEERS=1`` requires every program."""
    if os.environ.get("OSTEON_REQUIRE_PEERS") == "1":
        pytest.fail(f"not run: {reason}")
    pytest.skip(f"not run: {reason}")


@pytest.fixture
def free_port() -> int:
    """A TCP port on loopback that is reserved for this test."""
    return free_ports(1)[0]


@contextmanager
def running(*command: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a process and stop it at the end, by force after five seconds."""
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    """Wait until `process` listens on loopback."""

    def listens() -> bool:
        assert process.poll() is None, f"the peer ended with {process.returncode} before it listened on port {port}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE_S):
            return True
        return False

    wait_until(listens, f"a peer on port {port}")


class NodePeer:
    """A script of ``tests/peers``, which prints its port and every message that it receives."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()
        self.port: int = self.received()["ready"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._lines.put(json.loads(line) if line.startswith("{") else {"said": line})
        except ValueError:  # the test is over and closed the pipe
            return

    def received(self, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return the next line that the peer prints."""
        return self._lines.get(timeout=timeout_s)


@pytest.fixture
def node_peer(peer: Peer) -> Iterator[Callable[..., NodePeer]]:
    """A function that starts a script by its name, with a plan: ``node_peer("mllp_receiver.js", plan="AE,split")``."""
    with ExitStack() as stack:

        def start(script: str, plan: str = "", *arguments: str) -> NodePeer:
            command = ["node", peer(script), "--plan", plan, *arguments]
            return NodePeer(stack.enter_context(running(*command, cwd=PEERS)))

        yield start
