"""The record of an instance that the receiver has written to the spool."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An instance in the spool, described by its C-STORE request alone.

    Attributes
    ----------
    digest
        SHA-256 (hex) of the spool file.
    size_bytes
        Length of the data set as received.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    digest: str
    size_bytes: int
    calling_ae_title: str
