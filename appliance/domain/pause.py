"""When a destination is left alone for a while, although it answers: after failures in a row, whatever their kind."""

from __future__ import annotations

FIRST_PAUSE = 4
"""Failures in a row after which the destination, and not each artefact, is likely to be at fault."""

FAILURES_PER_PAUSE = 16
"""Artefacts that are tried between two of the later pauses: refused artefacts at the head of a long queue give way."""


def pauses_at(failures: int) -> bool:
    """Return whether a pause begins at so many failures in a row: the 4th, 8th, 16th, 32nd, and each 16th after that.

    The first pauses come early, since a pause is then short.
    """
    if failures >= FAILURES_PER_PAUSE:
        return failures % FAILURES_PER_PAUSE == 0
    return failures >= FIRST_PAUSE and failures & (failures - 1) == 0
