"""Hashes of passwords: Argon2id with the parameters of RFC 9106 section 4 for 64 MiB of memory."""

from __future__ import annotations

import secrets
import unicodedata
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

SHORTEST, LONGEST = 12, 200
"""Characters of a password; longer ones only keep the processor busy."""

_HASHER: Final = PasswordHasher()


def hash_password(password: str, name: str) -> str:
    """Return the hash of a new password of the account `name`.

    Raises
    ------
    Rejected
        ``weak_password``.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        reason = f"a password has {SHORTEST} to {LONGEST} characters; three words or more are easy to keep"
        raise Rejected(ReasonCode.WEAK_PASSWORD, reason)
    if name.casefold() in password.casefold() or len(set(password)) < SHORTEST // 2:
        raise Rejected(ReasonCode.WEAK_PASSWORD, "the password repeats the name, or a few characters: choose another")
    return _HASHER.hash(_normalised(password))


def is_password(password: str, password_hash: str | None) -> bool:
    """Return whether `password` is the one of the hash; without an account (None) that takes as long, and is False."""
    try:
        _HASHER.verify(password_hash or decoy(), _normalised(password[: LONGEST + 1]))
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


@cache
def decoy() -> str:
    """Return the hash of a random password, which stands for the accounts that do not exist."""
    return _HASHER.hash(secrets.token_urlsafe())


def _normalised(password: str) -> str:
    """Return the same bytes for the same letters, whichever keyboard made them (NIST SP 800-63B section 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
