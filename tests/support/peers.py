"""Programs of other people on the wire and as judges: found, started on loopback, and stopped.

A peer that is not installed is reported as not run; with ``OSTEON_REQUIRE_PEERS=1`` that is a failure.
``tests/peers/install.sh`` installs them all.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from kernels.build import nvcc

PEERS = Path(__file__).resolve().parent.parent / "peers"
START_S = 60.0
"""A FHIR server on a busy machine reads 40 MB of definitions first."""

Peer = Callable[[str], str]


@pytest.fixture(scope="session")
def peer() -> Peer:
    """Path of a program by its name, or of a script in ``tests/peers`` by its name with ``.js``."""
    return find


def find(name: str) -> str:
    """Where the peer is; what happens when it is not there is decided here and nowhere else."""
    path = shutil.which(name)
    if name.endswith(".js"):
        installed = shutil.which("node") and (PEERS / "node_modules").is_dir()
        path = str(PEERS / name) if installed else None
    if name == "nvcc":
        path = nvcc()
    if path is not None:
        return path
    how = "pip install nvidia-cuda-nvcc" if name == "nvcc" else "run tests/peers/install.sh"
    reason = f"not run: the peer {name} is not installed; {how}"
    if os.environ.get("OSTEON_REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@contextmanager
def running(*command: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that is stopped at the end, by force if it must be."""
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
    """Until somebody listens on loopback."""
    deadline = time.monotonic() + START_S
    pause = threading.Event()
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            pause.wait(0.02)
    raise AssertionError(f"nobody listens on port {port}")


class NodePeer:
    """A script of ``tests/peers`` that says on its output where it listens and what it receives."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()
        self.port: int = self.received(START_S)["ready"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._lines.put(json.loads(line) if line.startswith("{") else {"said": line})
        except ValueError:  # closed while it was read: the test is over
            return

    def received(self, timeout_s: float = 10.0) -> dict[str, Any]:
        """The next thing that the peer reports."""
        return self._lines.get(timeout=timeout_s)


@pytest.fixture
def node_peer(peer: Peer) -> Iterator[Callable[..., NodePeer]]:
    """Starts a script by its name, with a plan: ``node_peer("mllp_receiver.js", plan="AE,split")``."""
    with ExitStack() as stack:

        def start(script: str, plan: str = "", *arguments: str) -> NodePeer:
            command = ["node", peer(script), "--plan", plan, *arguments]
            return NodePeer(stack.enter_context(running(*command, cwd=PEERS)))

        yield start
