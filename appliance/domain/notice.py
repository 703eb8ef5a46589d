"""Notices for a peer's administrator: rejected associations, refused messages, instances that were not kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .reason import ReasonCode


class Subject(StrEnum):
    """The kind of event that a notice describes."""

    ASSOCIATION = "association"
    """An association, or an attempt at one, from a listed address; or a message in one that was refused."""
    STRANGER = "stranger"
    """An attempt from an address that is not listed. It is stored without AE titles, which a stranger may invent."""
    INSTANCE = "instance"
    """An instance that was accepted and not kept."""
    HL7 = "hl7"
    """An HL7 message that was refused, or an HL7 connection from a listed address that was closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One refusal and its reason.

    Attributes
    ----------
    reason
        One sentence for a person, without any patient's data.
    """

    subject: Subject
    code: ReasonCode
    reason: str
    calling_ae_title: str
    called_ae_title: str
    address: str
