"""What the house needs from the outside, as small Protocols; `appliance.service.assembly` chooses what fills them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .domain.radiograph import StoredValues
from .domain.result import Result
from .preprocessing.recipe import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """An answer as the bytes that a destination gets.

    Attributes
    ----------
    kind
        ``"sc"``, ``"sr"``, ``"oru"`` or ``"fhir"``.
    identifier
        SOP Instance UID, MSH-10 or Bundle identifier: the same result gives the same one.
    """

    kind: str
    identifier: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """A heat map: `cells` (h, w) float32 in [0, 1] whose borders lie at `extent` (x0, y0, x1, y1), px received."""

    cells: NDArray[np.float32] = field(repr=False)
    extent: tuple[float, float, float, float]


class Preprocessor(Protocol):
    """Stage 1, and the resampling of regions with stage 1's window and equalisation."""

    def prepare(self, stored: StoredValues) -> Prepared:
        """Fitted, windowed, equalised and padded image."""
        ...

    def regions(self, stored: StoredValues, table: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(R, 256, 256) uint8 from boxes (R, 4) in px received."""
        ...


class Spool(Protocol):
    """Content-addressed files that survive a power cut."""

    def put(self, content: bytes) -> str:
        """Keep `content` durably; its SHA-256 as hex. Raises `Transient` when the disk is full."""
        ...

    def path(self, digest: str) -> Path:
        """Where the content lies. Raises `Rejected` if it is not there."""
        ...


class Destination(Protocol):
    """A peer that takes artefacts."""

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


class Renderer(Protocol):
    """Makes one kind of artefact from a result and its source."""

    def __call__(self, result: Result) -> Artefact:
        """Deterministic: the same result gives the same bytes."""
        ...
