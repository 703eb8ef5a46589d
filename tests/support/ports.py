"""TCP ports on loopback for servers under test, which no other test process takes meanwhile."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

PORTS = range(10_000, 32_768)
"""Below the ports that Linux gives to outgoing connections (``net.ipv4.ip_local_port_range``, from 32768)."""

LOCKS = Path(tempfile.gettempdir()) / f"osteon-test-ports-{os.getuid()}"

_draw = random.SystemRandom()
_held: list[IO[bytes]] = []
"""Locks of this process, which the kernel frees when it ends."""


def free_ports(number: int) -> list[int]:
    """Reserve TCP ports on loopback, all different.

    A port that is found by binding and closing a socket may be given to another process before the server under test
    binds it. So each port is also locked, by a file that all test processes of this machine share, until this process
    ends.
    """
    LOCKS.mkdir(exist_ok=True)
    found: list[int] = []
    for port in _draw.sample(PORTS, len(PORTS)):
        if len(found) == number:
            return found
        if _reserve(port):
            found.append(port)
    raise AssertionError(f"no free port is left; the reserved ones are in {LOCKS}")


def _reserve(port: int) -> bool:
    """Lock `port` for this process; False where it is locked or in use."""
    file = (LOCKS / str(port)).open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused to a second descriptor of this process, too
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        file.close()
        return False
    _held.append(file)
    return True
