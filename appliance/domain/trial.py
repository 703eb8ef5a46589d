"""Trials: radiographs that are analysed for a look at the answer, and leave no trace; their UIDs and limits."""

from __future__ import annotations

import re
import secrets
import uuid
from typing import Final

from .identifiers import derived_uuid

TRIAL_S: Final = 600
"""Life of a trial, seconds: after that its file and its answer are removed."""

MOST_TRIALS: Final = 20
"""Most trials that are kept at a time."""

TRIAL_BYTES: Final = 64_000_000
"""Largest file of a trial: an uncompressed radiograph of 32 megapixels at 16 bits."""

ROOT: Final = "2.25."
"""The root of UIDs made from a UUID (DICOM PS3.5 B.2)."""

_FIRST_HALF: Final = uuid.UUID(derived_uuid("trial")).int >> 64
"""The first 64 bits of the UUID in each UID of a trial: no other device writes them."""

_UUID: Final = re.compile(r"2\.25\.([0-9]{1,39})")


def new_trial_uid() -> str:
    """Return a random SOP Instance UID that `is_trial_uid` recognises: a UUID of version 5 by its form."""
    return f"{ROOT}{_FIRST_HALF << 64 | 0b10 << 62 | secrets.randbits(62)}"


def is_trial_uid(uid: str) -> bool:
    """Return whether `uid` was made by `new_trial_uid`.

    The UID alone tells: an instance that comes after its trial was removed is no radiograph of a patient either.
    """
    found = _UUID.fullmatch(uid)
    return found is not None and int(found[1]) >> 64 == _FIRST_HALF
