"""``[analyse]`` and ``[study]``: the engines, their radiographs, and the time of a study's report."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from .section import PackName, Pattern, Section

LARGEST_VALUE = 2**32
"""A stored value has at most 32 bits."""


class Origins(Section):
    """Origins of radiographs as shell patterns (``PORT*``): one match is enough, case does not matter."""

    stations: tuple[Pattern, ...] = Field((), description="Station Name (0008,1010)")
    ae_titles: tuple[Pattern, ...] = Field((), description="AE title of the sender")
    descriptions: tuple[Pattern, ...] = Field((), description="Study, Series or Protocol description")


class Ages(Section):
    """The ages that are analysed, both bounds included; a radiograph of unknown age always is."""

    youngest_years: int | None = Field(None, ge=0, le=150, description="Years of the youngest; default: no bound")
    oldest_years: int | None = Field(None, ge=0, le=150, description="Years of the oldest; default: no bound")

    @model_validator(mode="after")
    def _require_an_age_between_the_bounds(self) -> Ages:
        youngest, oldest = self.youngest_years, self.oldest_years
        if youngest is not None and oldest is not None and youngest > oldest:
            raise ValueError(
                f"youngest_years {youngest} is above oldest_years {oldest}: no radiograph would be analysed"
            )
        return self

    def include(self, age_years: float) -> bool:
        """Return whether an age, in years with fractions, lies within the bounds: at 80.9 years a patient is 80."""
        youngest, oldest = self.youngest_years, self.oldest_years
        return (youngest is None or age_years >= youngest) and (oldest is None or age_years < oldest + 1)


class PresetWindow(Section):
    """A bone window for radiographs without a window in their header."""

    station: Pattern = Field("*", description="Station Name (0008,1010), a shell pattern")
    center: float = Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE)
    width: float = Field(ge=1, le=LARGEST_VALUE)


class Analyse(Section):
    """The engines and their radiographs."""

    pack: PackName = Field("fracatlas", description="A pack of `osteon pack list`, or the path of a pack's folder")
    more_packs: tuple[PackName, ...] = Field(
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
    decoders: int | None = Field(
        None,
        ge=1,
        le=16,
        description="Processes that decode waiting radiographs; default: processors - 2, at least 1, at most 4",
    )
    attempts: int = Field(3, ge=1, le=20, description="Attempts after which a radiograph that ends the role is parked")
    for_processing: bool = Field(
        False, description="Analyse FOR PROCESSING images as well; the same exposure usually comes FOR PRESENTATION"
    )
    modalities: tuple[str, ...] = Field(
        ("CR", "DX", "DR", "RG", ""),
        description='Values of Modality (0008,0060) that are analysed in a CR or DX class; "" is an absent one',
    )
    ages: Ages = Field(Ages(), description="Ages that are analysed; the others are answered as not analysed")
    mobile: Origins = Field(Origins(), description="Mobile units: their radiographs are analysed, with a caveat")
    ignore: Origins = Field(Origins(), description="Never analysed or answered: other software's results, test devices")
    windows: tuple[PresetWindow, ...] = Field(
        (), description="Windows for radiographs without one in their header; the first match applies"
    )

    @field_validator("ignore")
    @classmethod
    def _refuse_to_ignore_everything(cls, ignore: Origins) -> Origins:
        for pattern in (*ignore.stations, *ignore.ae_titles, *ignore.descriptions):
            if "*" in pattern and not pattern.strip("*?"):
                raise ValueError(f"{pattern!r} matches every radiograph: none would be analysed or answered")
        return ignore

    @property
    def half(self) -> bool:
        """True if classifiers compute in float16 on a GPU."""
        return self.precision == "float16"


class Study(Section):
    """The time at which a study is reported; the overlay of each radiograph leaves at once."""

    settle_s: float = Field(120.0, ge=0, le=3600, description="Seconds without a new radiograph of the study")
    longest_s: float = Field(900.0, ge=0, le=86400, description="Latest time, even if radiographs keep coming")
