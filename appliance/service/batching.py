"""Batch policy: which radiographs are analysed together.

No radiograph waits for others: a batch holds the radiographs that were decoded while the batch before was analysed. A
radiograph that failed before, alone or in a batch, is analysed alone, so that its failure costs no other one an
attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.dicom.reading.reader import LARGEST_PX

BATCH_PX = LARGEST_PX
"""Most pixels of a batch: those of the largest radiograph that is accepted, so that it needs no more memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A radiograph as the batch policy sees it.

    Attributes
    ----------
    size_px
        Number of decoded pixels; None while it is not decoded.
    must_be_alone
        Whether it failed before, or has its last attempt.
    """

    sop_instance_uid: str
    size_px: int | None
    must_be_alone: bool


def may_join(batch: Sequence[Candidate], candidate: Candidate) -> bool:
    """Decide whether `candidate` is analysed together with `batch`.

    Two versions of one instance are never in one batch: the later one depends on the result of the earlier one.
    """
    if candidate.size_px is None or any(member.must_be_alone for member in (*batch, candidate)):
        return False
    if any(member.sop_instance_uid == candidate.sop_instance_uid for member in batch):
        return False
    return candidate.size_px + sum(member.size_px or 0 for member in batch) <= BATCH_PX
