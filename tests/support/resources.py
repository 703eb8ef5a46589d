"""Memory and processor time of a process, and a limit on its memory."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

MEBIBYTE = 1 << 20


def peak_bytes(pid: int) -> int:
    """Return the largest resident memory that the process has had."""
    return _status(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Let `peak_bytes` begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5)


def processor_s(pid: int) -> float:
    """Return the processor time that the process has used in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def limit_address_space(pid: int, more_bytes: int) -> None:
    """Let the process grow by at most so many bytes of address space."""
    most = _status(pid, "VmSize") + more_bytes
    resource.prlimit(pid, resource.RLIMIT_AS, (most, most))


def _status(pid: int, key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
