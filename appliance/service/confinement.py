"""Limits of a child process: a child that takes too much memory costs its own work, and not the role."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path


def confine(limit_bytes: int, oom_score_adj: int) -> None:
    """Limit the memory of this process, and keep it from leaving a core file, which would hold a patient's data.

    Parameters
    ----------
    limit_bytes
        Memory that the process may take in addition to its present memory; more is a `MemoryError`.
    oom_score_adj
        If memory is short, the kernel ends the process with the highest score, see proc(5): 1000 at most, a role has 0.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most_bytes = pages * resource.getpagesize() + limit_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(oom_score_adj))
