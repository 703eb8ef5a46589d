"""The interface between an association and the services behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext

from .admission import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Requestor:
    """The peer that requests an association.

    Attributes
    ----------
    address
        Without zone, and an IPv4 address also where it came over an IPv6 socket.
    calling_ae_title, called_ae_title
        Empty until its A-ASSOCIATE-RQ has been read.
    """

    address: str
    calling_ae_title: str = ""
    called_ae_title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseStatus:
    """Status (0000,0900) and Error Comment (0000,0902) of a DIMSE response."""

    code: int
    comment: str = ""


SUCCESS = 0x0000
"""DICOM PS3.7 C.1.1."""

PROCESSING_FAILURE = 0x0110
INVALID_ARGUMENT = 0x0115
SOP_CLASS_NOT_SUPPORTED = 0x0122
"""DICOM PS3.7 C.5."""

OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
"""Failures of the Storage service, DICOM PS3.4 table B.2-1."""


class IncomingDataSet(Protocol):
    """The data set of one request, while its fragments arrive."""

    def write(self, fragment: memoryview) -> None:
        """Take a fragment, which is valid only during the call; raise `Violation` if there is too much of it."""
        ...

    def finish(self) -> ResponseStatus:
        """Process the complete data set, and return the status of the response."""
        ...

    def discard(self) -> None:
        """Remove everything that `finish` has not kept."""
        ...


class Service(Protocol):
    """The services behind an association; called from the association's own thread."""

    def begin_store(self, requestor: Requestor, context: PresentationContext, request: C_STORE) -> IncomingDataSet:
        """Open the data set of a C-STORE request when its command set has arrived."""
        ...

    def begin_event_report(self, requestor: Requestor, context: PresentationContext) -> IncomingDataSet:
        """Open the Event Information of an N-EVENT-REPORT request."""
        ...

    def note_accepted(
        self, requestor: Requestor, proposed: Mapping[str, Sequence[str]], accepted: AbstractSet[str]
    ) -> None:
        """Record an accepted association: transfer syntaxes by proposed abstract syntax, and the accepted ones."""
        ...

    def note_refused(self, requestor: Requestor, refusal: Refusal) -> None:
        """Record a connection that was rejected or aborted."""
        ...
