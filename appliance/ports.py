"""What the house needs from the outside, as small Protocols; `appliance.service.assembly` chooses what fills them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .domain.radiograph import StoredValues
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


class Preprocessor(Protocol):
    """Stage 1, and the resampling of regions with stage 1's window and equalisation."""

    def prepare(self, stored: StoredValues) -> Prepared:
        """Fitted, windowed, equalised and padded image."""
        ...

    def regions(self, stored: StoredValues, table: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(R, 256, 256) uint8 from boxes (R, 4) in px received."""
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
