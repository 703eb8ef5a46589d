"""Radiographs of known truth for the demonstration of a rollout: plain phantoms, or labelled radiographs of people."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset
from rich.console import Console

from appliance.dicom.objects.wrapped_picture import wrap_picture
from appliance.dicom.part10 import part10_bytes
from appliance.domain.identifiers import Site
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault, Rejected
from provisioning.phantoms import VIEWS, instance_from_phantom, phantom
from provisioning.radiograph_files import pick_evenly

from .outcome import progress_bars

SITES: Final = (Site.KNEE, Site.WRIST, Site.KNEE, Site.SHOULDER)
"""Sites in turn: the plain fractures of these the pack ``phantom`` finds, and their engines may clear.

Of 600 plain phantoms (seeds 400000 to 400199, as many of each site) it found 198 of 198 fractures; of 402 others 393
were negative, 1 was in doubt, 8 were incomplete. In the sample of one demonstration it found 96 of 97 fractures, and
194 of 197 others were negative. Together 881 of 886 answers were right (99.4 %). The knee comes twice, so that after
the sample a window of its drift gets full.
"""

FIRST_SEED: Final = 500_000
"""Seed of the first phantom: no training, and no measurement, has seen it or a later one."""

FRACTURED_OF: Final = 3
"""One phantom of so many is fractured: more than in a hospital, so that 300 hold enough fractures for the gate."""

PALER: Final = 1.7
"""Factor of the window's width on the other detector: its radiographs are paler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A radiograph of one patient as a DICOM file, and the truth about it."""

    name: str
    file: Path
    sop_instance_uid: str
    is_fractured: bool


def draw_phantoms(folder: Path, count: int, of_other_detector: int, console: Console) -> list[Case]:
    """Draw plain phantoms, each of one patient, into `folder`, in several processes.

    Parameters
    ----------
    of_other_detector
        Number of the last ones, which another detector has made.
    """
    folder.mkdir()
    first_other = count - of_other_detector
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn")) as pool:
        made = pool.map(partial(_draw, folder, first_other), range(count), chunksize=4)
        with progress_bars(console) as progress:
            return list(progress.track(made, total=count, description="drawn"))


def labelled_radiographs(folder: Path, data: Path, sites: Sequence[Site], limit: int | None) -> list[Case]:
    """Wrap labelled radiographs of people that the pack ``fracatlas`` has not learned from, each as one patient.

    Parameters
    ----------
    data
        Folder of FracAtlas, or one with a manifest.
    sites
        Sites that the pack serves. The largest labelled region of one of them stands in the header.

    Raises
    ------
    Fault
        ``no_radiographs`` if none of `data` can be used.
    """
    folder.mkdir()
    cases = list(_labelled(folder, data, sites, limit))
    if not cases:
        raise Fault(ReasonCode.NO_RADIOGRAPHS, f"{data} holds no labelled radiograph of {', '.join(sites)}")
    return cases


def _draw(folder: Path, first_other: int, number: int) -> Case:
    """Draw one phantom; a process calls this."""
    site = SITES[number % len(SITES)]
    turn = number // len(SITES)
    is_fractured = (turn + number) % FRACTURED_OF == 0
    drawn = phantom(site, FIRST_SEED + number, is_fractured, turn // FRACTURED_OF % VIEWS[site], plain=True)
    ds = instance_from_phantom(drawn, patient_id=f"PLAIN-{number}", accession_number=f"A{number}")
    if number >= first_other:
        _change_detector(ds)
    return _case(ds, folder / f"{number:05}.dcm", f"{site.label}, {number}", is_fractured)


def _change_detector(ds: Dataset) -> None:
    """Make a radiograph one of another detector, whose window is wider."""
    ds.ManufacturerModelName = "PHANTOM 2"
    ds.DeviceSerialNumber = "1"
    ds.WindowWidth = f"{float(ds.WindowWidth) * PALER:.0f}"


def _labelled(folder: Path, data: Path, sites: Sequence[Site], limit: int | None) -> Iterator[Case]:
    from provisioning.training.manifest import NAME, from_fracatlas, read_manifest
    from provisioning.training.material import TEST, fold_numbers

    if (data / "radiographs.csv").exists():
        every = from_fracatlas(data)
        rows = [row for row, fold in zip(every, fold_numbers(every), strict=True) if fold == TEST]
    elif (data / NAME).exists():
        rows = read_manifest(data / NAME)
    else:
        raise Fault(
            ReasonCode.NO_RADIOGRAPHS, f"{data} holds neither {NAME} nor radiographs.csv: the truth is not known"
        )
    named = [(row, site) for row in rows if row.fractured and (site := _largest(row.region_boxes(), sites))]
    for number, (row, site) in enumerate(pick_evenly(named, limit)):
        try:
            ds = wrap_picture((data / row.file).read_bytes())
        except (OSError, Rejected):
            continue
        ds.BodyPartExamined = site.replace("_", " ").upper()
        yield _case(ds, folder / f"{number:05}.dcm", f"{site.label}, {number}", row.fractured == "1")


def _largest(
    regions: Sequence[tuple[str, tuple[float, float, float, float] | None]], sites: Sequence[Site]
) -> Site | None:
    """Return the site of the largest region of one of `sites`; None without one."""
    sizes = {
        Site(site): (box[2] - box[0]) * (box[3] - box[1]) if box else 0.0
        for site, box in regions
        if site in list(sites)
    }
    return max(sizes, key=lambda site: sizes[site], default=None)


def _case(ds: Dataset, file: Path, name: str, is_fractured: bool) -> Case:
    file.write_bytes(part10_bytes(ds))
    return Case(name=name, file=file, sop_instance_uid=str(ds.SOPInstanceUID), is_fractured=is_fractured)
