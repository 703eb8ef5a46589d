"""``[analyse]`` and ``[study]``: the engines, their radiographs, and the time of a study's report."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from .section import Section


class Origins(Section):
    """Origins of radiographs as shell patterns (``PORT*``): one match is enough, case does not matter."""

    stations: tuple[str, ...] = Field((), description="Station Name (0008,1010)")
    ae_titles: tuple[str, ...] = Field((), description="AE title of the sender")
    descriptions: tuple[str, ...] = Field((), description="Study, Series or Protocol description")


class PresetWindow(Section):
    """A bone window for radiographs without a window in their header."""

    station: str = Field("*", description="Station Name (0008,1010), a shell pattern")
    center: float
    width: float = Field(ge=1)


class Analyse(Section):
    """The engines and their radiographs."""

    pack: str = Field("fracatlas", description="A pack of `osteon pack list`, or the path of a pack's folder")
    more_packs: tuple[str, ...] = Field(
        (), description="Further packs: their engines serve the sites for which the packs before have none"
    )
    trusted_keys: tuple[Path, ...] = Field(
        (), description="Ed25519 public keys (PEM); if there are any, only packs signed with one of them are used"
    )
    compute: Literal["auto", "gpu", "cpu"] = Field(
        "auto", description="auto: the GPU if driver, packages and card are there; gpu: refuse to start without it"
    )
    precision: Literal["float32", "float16"] = Field(
        "float32",
        description="Arithmetic of classifiers on a GPU; the CPU, and each localiser, always compute in float32",
    )
    threads: int = Field(2, ge=1, le=64, description="Threads of one inference on the CPU")
    batch: int | None = Field(
        None,
        ge=1,
        le=16,
        description="Most radiographs that are inferred together when many wait; default: 8 on a GPU, else 1",
    )
    attempts: int = Field(3, ge=1, le=20, description="Attempts after which a radiograph that ends the role is parked")
    for_processing: bool = Field(
        False, description="Analyse FOR PROCESSING images as well; the same exposure usually comes FOR PRESENTATION"
    )
    mobile: Origins = Field(Origins(), description="Mobile units: their radiographs are analysed, with a caveat")
    ignore: Origins = Field(Origins(), description="Never analysed or answered: other software's results, test devices")
    windows: tuple[PresetWindow, ...] = Field(
        (), description="Windows for radiographs without one in their header; the first match applies"
    )

    @property
    def half(self) -> bool:
        """True if classifiers compute in float16 on a GPU."""
        return self.precision == "float16"


class Study(Section):
    """The time at which a study is reported; the overlay of each radiograph leaves at once."""

    settle_s: float = Field(120.0, ge=0, le=3600, description="Seconds without a new radiograph of the study")
    longest_s: float = Field(900.0, ge=0, le=86400, description="Latest time, even if radiographs keep coming")
