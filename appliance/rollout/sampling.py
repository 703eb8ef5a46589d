"""The draw of a sample: patients by a keyed hash, so that nobody can foresee or steer it, and it can be repeated."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

_STEPS: Final = 2**64


def is_drawn(secret: str, patient: str, share: float) -> bool:
    """Return whether a patient belongs to the sample of this secret, which takes `share` of all patients.

    The answer is the same for each radiograph of the patient, in whatever order they come. HMAC-SHA256 under a random
    key is indistinguishable from a uniform draw.

    References
    ----------
    RFC 2104; Bernoulli sampling by a hash of a permanent key: Ohlsson, "Coordination of samples using permanent random
    numbers", in Business Survey Methods (1995), ch. 9.
    """
    return int(_hash(secret, f"patient {patient}")[:16], 16) < share * _STEPS


def rank(secret: str, sop_instance_uid: str) -> str:
    """Return the random rank of a radiograph within its study, as hex: the one with the lowest is read."""
    return _hash(secret, f"radiograph {sop_instance_uid}")


def _hash(secret: str, text: str) -> str:
    return hmac.new(bytes.fromhex(secret), text.encode(), hashlib.sha256).hexdigest()
