"""The ports: small Protocols that the service needs from adapters, and the records that cross them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.domain.artefact_kind import ArtefactKind, kind_and_page
from appliance.domain.radiograph import StoredValues
from appliance.domain.reason import ReasonCode
from appliance.preprocessing.recipe import Cut, Prepared

from .errors import OsteonError, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """An answer as the bytes that a destination gets.

    Attributes
    ----------
    kind
        Kind of the artefact.
    page
        Number among the artefacts of that kind that one result has, from 1.
    identifier
        SOP Instance UID, MSH-10 or Bundle identifier: the same result gives the same one.
    """

    kind: ArtefactKind
    identifier: str
    content: bytes = field(repr=False)
    page: int = 1

    @property
    def name(self) -> str:
        """Kind and page for people, for example ``summary 2``."""
        return kind_and_page(self.kind, self.page)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An artefact that a PACS says it has, as which class and instance, and the transaction in which proof is asked."""

    artefact: Artefact
    sop_class_uid: str
    sop_instance_uid: str
    transaction_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """A heat map over a crop.

    Attributes
    ----------
    cells
        (h, w) float32 in [0, 1].
    extent
        x0, y0, x1, y1 of the cells' outer borders, px received.
    within
        x0, y0, x1, y1 of the crop that the network saw; cells at its edge may reach beyond.
    """

    cells: NDArray[np.float32] = field(repr=False)
    extent: tuple[float, float, float, float]
    within: tuple[float, float, float, float]


class SpoolFile(Protocol):
    """A spool file that is being written.

    Every method raises `Transient` (``disk_full`` or ``spool_failed``) when the disk fails.
    """

    def write(self, content: bytes | bytearray | memoryview) -> None:
        """Append `content`, which the caller may change afterwards."""
        ...

    def keep(self) -> str:
        """Sync the file to disk under its SHA-256, which is returned as hex."""
        ...

    def discard(self) -> None:
        """Remove the file, unless it was kept."""
        ...


class Spool(Protocol):
    """Received instances as files, named by their SHA-256."""

    def incoming(self) -> SpoolFile:
        """Open a new file."""
        ...

    def has(self, digest: str) -> bool:
        """Return whether a file of that digest exists."""
        ...

    def free_bytes(self) -> int:
        """Return the free space on the spool's disk."""
        ...


class Preprocessor(Protocol):
    """Stage 1, and the resampling of regions with stage 1's window and equalisation; of several radiographs at once."""

    def prepare(self, films: Sequence[StoredValues]) -> list[Prepared]:
        """Fitted, windowed, equalised and padded image of each."""
        ...

    def regions(self, cuts: Sequence[Cut]) -> NDArray[np.uint8]:
        """(R, 256, 256) uint8, one of each of `cuts`."""
        ...


class Destination(Protocol):
    """A peer that takes artefacts one after the other."""

    name: str

    def send(self, artefacts: list[Artefact]) -> list[str]:
        """Send, read and check the peer's answers; a note for each, in words.

        Raises
        ------
        Transient
            The peer is away or asks to come again.
        Rejected
            The peer refused for good.
        """
        ...


class Fate(StrEnum):
    """What became of an artefact at a peer.

    `TAKEN`: it is delivered. `UNPROVEN`: the peer says that it has it, and proof is asked for. `LATER`: back off and
    try again. `REFUSED`: a person has to look. `LEFT_OUT`: the peer takes no such thing, and another artefact says it.
    """

    TAKEN = "taken"
    UNPROVEN = "unproven"
    LATER = "later"
    REFUSED = "refused"
    LEFT_OUT = "left_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one artefact at a peer, as it is recorded.

    Attributes
    ----------
    code
        Stable snake_case name, as in `appliance.errors.OsteonError`.
    reason
        In words, without patients' data.
    sent_as
        SOP Class and SOP Instance UID under which a PACS has it; None of anything else.
    is_proven
        Whether the peer was asked and vouches for it.
    """

    fate: Fate
    code: ReasonCode
    reason: str
    sent_as: tuple[str, str] | None = None
    is_proven: bool = False

    @classmethod
    def of_error(cls, error: OsteonError) -> Outcome:
        """`REFUSED` for what is rejected, `LATER` for anything else."""
        fate = Fate.REFUSED if isinstance(error, Rejected) else Fate.LATER
        return cls(fate=fate, code=error.code, reason=error.reason)


class Outlet(Protocol):
    """A peer that takes many artefacts at a time, each with an outcome of its own.

    Attributes
    ----------
    most
        Artefacts at a time.
    """

    name: str
    most: int

    def deliver(
        self, artefacts: Mapping[int, Artefact], may_go: Callable[[int], bool]
    ) -> Iterator[tuple[int, Outcome]]:
        """Send in the order of `artefacts` what `may_go` still allows when its turn comes; each outcome as it is known.

        What is not yielded was not tried.

        Raises
        ------
        Transient
            Before anything was tried; `Away` if the peer itself is not there.
        """
        ...

    def prove(self, sent: Mapping[int, Sent]) -> Iterator[tuple[int, Outcome]]:
        """Ask for proof of what was `UNPROVEN`; what is not yielded is still open, and the peer may tell later.

        Raises
        ------
        Transient
            It cannot be asked now.
        """
        ...
