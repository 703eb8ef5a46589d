"""Heap of a process that allocates and frees the pixels of one radiograph after the other."""

from __future__ import annotations

import ctypes

KEPT_BYTES = 128 * 2**20
"""Freed memory that the process keeps for its next radiograph. New pages for the arrays of one with 10 megapixels take
30 ms of processor time, a third of the reading of its uncompressed pixels."""

LARGEST_BYTES = 32 * 2**20
"""Size of the largest array that is taken from the kept memory: glibc has no larger limit."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Options of mallopt(3)."""


def keep_freed_memory() -> None:
    """Keep `KEPT_BYTES` of freed memory in this process, where its C library can."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, LARGEST_BYTES)
