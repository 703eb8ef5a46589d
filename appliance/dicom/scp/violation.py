"""Violations of the Standard, or of a configured limit, by a peer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from appliance.domain.reason import ReasonCode


class Violation(Exception):
    """A peer broke the Standard or a limit; its connection is aborted.

    Attributes
    ----------
    reason
        One sentence for the peer's administrator.
    """

    def __init__(self, code: ReasonCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@contextmanager
def hostile_bytes(code: ReasonCode, subject: str) -> Iterator[None]:
    """Turn any exception of pydicom or pynetdicom, while they decode a peer's bytes, into a `Violation`.

    Neither library documents its exceptions: hostile bytes raise `KeyError`, `struct.error`, `ValueError`,
    `RecursionError` and others. So this handler is broad, and it is the only one for hostile bytes.

    Parameters
    ----------
    subject
        The decoded thing, as the beginning of the sentence: "its association request".
    """
    try:
        yield
    except Violation:
        raise
    except Exception as error:
        raise Violation(code, f"{subject} is malformed ({type(error).__name__})") from error
