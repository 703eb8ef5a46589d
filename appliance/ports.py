"""The ports: Protocols of the adapters that the service uses, and the records that pass through them."""

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
from appliance.domain.result import Result
from appliance.preprocessing.recipe import Cut, Prepared

from .errors import OsteonError, Refused, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A rendered output: the bytes that a destination gets.

    Attributes
    ----------
    kind
        Kind of the artefact.
    page
        Number among the artefacts of that kind that one result has, from 1.
    identifier
        SOP Instance UID, MSH-10 or Bundle identifier; rendering the same result again gives the same identifier.
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
    """An artefact that a PACS has accepted, and whose storage is still to be proven.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid
        Class and instance under which the PACS has it.
    transaction_uid
        Transaction of the storage commitment request.
    """

    artefact: Artefact
    sop_class_uid: str
    sop_instance_uid: str
    transaction_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """A heat map over a crop of a radiograph.

    Attributes
    ----------
    cells
        (h, w) float32 in [0, 1].
    extent
        x0, y0, x1, y1 of the cells' outer borders, px received.
    within
        x0, y0, x1, y1 of the crop that the network saw, px received; cells at its edge may reach beyond it.
    """

    cells: NDArray[np.float32] = field(repr=False)
    extent: tuple[float, float, float, float]
    within: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A result with one heat map for each finding, in their order."""

    result: Result
    heats: tuple[Heat, ...] = ()


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


class TrialFiles(Protocol):
    """Trials: files that are kept for minutes."""

    def incoming(self) -> SpoolFile:
        """Open a new file."""
        ...

    def add(self, name: str, digest: str) -> None:
        """Queue a trial of a kept file under that name.

        Raises
        ------
        Transient
            ``too_many_trials``, or ``spool_failed`` if the file is gone.
        """
        ...


class Preprocessor(Protocol):
    """Stage 1, and the resampling of regions with the window and the equalisation of stage 1."""

    def prepare(self, several: Sequence[StoredValues], /) -> list[Prepared]:
        """Fit, window, equalise and pad each radiograph."""
        ...

    def regions(self, cuts: Sequence[Cut], /) -> NDArray[np.uint8]:
        """Resample the regions; return (R, 256, 256) uint8, one image for each of `cuts`."""
        ...


class Destination(Protocol):
    """A peer that takes one artefact after the other."""

    name: str

    def send(self, artefacts: list[Artefact]) -> list[str]:
        """Send the artefacts and check the responses; return one note for each, in words.

        Raises
        ------
        Transient
            If the peer is away, or asks to try again.
        Rejected
            If the peer refuses an artefact for good.
        """
        ...


class Fate(StrEnum):
    """Fate of a delivery at its peer: the next step that it needs.

    `TAKEN`: none, it is delivered. `UNPROVEN`: the peer has accepted it; ask for the proof of its storage. `LATER`:
    back off and try again. `REFUSED`: try again; a person has to look if the peer takes others and refuses it again.
    `UNFIT`: a person has to look. `LEFT_OUT`: none, since the peer takes no artefacts of that kind and gets the content
    in another one. `UNANSWERED`: none yet; it was sent, and the peer said nothing of it: it may have it.
    """

    TAKEN = "taken"
    UNPROVEN = "unproven"
    LATER = "later"
    REFUSED = "refused"
    UNFIT = "unfit"
    LEFT_OUT = "left_out"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Outcome of one delivery, as it is recorded.

    Attributes
    ----------
    reason
        One sentence without patients' data.
    sent_as
        SOP Class UID and SOP Instance UID under which a PACS has the object; None at other peers.
    is_proven
        Whether the peer has confirmed on request that it keeps the object.
    """

    fate: Fate
    code: ReasonCode
    reason: str
    sent_as: tuple[str, str] | None = None
    is_proven: bool = False

    @classmethod
    def of_error(cls, error: OsteonError) -> Outcome:
        """Make the outcome of an error: `REFUSED` for `Refused`, `UNFIT` for `Rejected`, `LATER` for any other."""
        match error:
            case Refused():
                fate = Fate.REFUSED
            case Rejected():
                fate = Fate.UNFIT
            case _:
                fate = Fate.LATER
        return cls(fate=fate, code=error.code, reason=error.reason)


class Outlet(Protocol):
    """A peer that takes several artefacts at a time, each with its own outcome.

    Attributes
    ----------
    most
        Most artefacts at a time.
    """

    name: str
    most: int

    def deliver(
        self, artefacts: Mapping[int, Artefact], may_go: Callable[[int], bool]
    ) -> Iterator[tuple[int, Outcome]]:
        """Send the artefacts in their order; yield each number with its outcome as soon as that is known.

        An artefact for which `may_go` returns False in its turn is not sent, and its number is not yielded; one that
        is `UNANSWERED` may be yielded again.

        Raises
        ------
        Transient
            If no artefact could be sent; `Away` if the peer is not reachable.
        """
        ...

    def prove(self, sent: Mapping[int, Sent]) -> Iterator[tuple[int, Outcome]]:
        """Ask for the proof of `UNPROVEN` artefacts; a number that is not yielded stays open: proof may come later.

        Raises
        ------
        Transient
            If the peer cannot be asked now.
        """
        ...
