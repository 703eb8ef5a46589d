"""Every DICOM object that is made for a radiograph and its study, and the complaints of validators."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage

from appliance.config import Picture
from appliance.dicom.objects.document import reference
from appliance.dicom.objects.illustrations import illustrations
from appliance.dicom.objects.key_objects import key_objects, rejection_note
from appliance.dicom.objects.presentation_state import is_presentable, presentation_state
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.objects.structured_report import structured_report
from appliance.dicom.objects.study_summary import study_summary
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.reading.header import sides
from appliance.domain.codes import REJECTED_FOR_QUALITY
from appliance.domain.finding import Box
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.radiograph import Window
from appliance.domain.result import Predecessor, Result
from appliance.domain.sentence import Sentence
from tests.support.peers import Peer
from tests.support.results import PROVENANCE, finding, result, study, unanalysed

SIDE_UNKNOWN = (
    "Warning - </Laterality(0020,0060)> - is only permitted to be empty when actually unknown; should be absent (not "
    "empty) if an unpaired body part, and have a value if a paired body part"
)
"""Complaint of dciodvfy about every empty Laterality; it is empty if the side is unknown."""

DIFFERENT_ENTITIES = {"AccessionNumber", "IssuerOfAccessionNumberSequence"}
"""Attributes that dcentvfy expects to be the same in a whole series, because Request Attributes may hold them."""

KNOWN = (
    "- Unrecognized defined term = <99OSTEON>",
    "/DeviceUID(0018,1002)> - Attribute is not present in standard DICOM IOD",
)
"""Complaints of dciodvfy about a private coding scheme, and about an attribute that is younger than its tables."""

Complaints = set[str]


def answered(source: Dataset) -> Result:
    """Return a result with one region of each answer, on the side that the source names."""
    pelvis = source.get("BodyPartExamined") == "PELVIS"
    where: dict[str, Any] = {
        "site": Site.PELVIS if pelvis else Site.WRIST,
        "laterality": Laterality.UNKNOWN if pelvis else next(sides(source), Laterality.UNKNOWN),
    }
    low = Box(x0=1, y0=1, x1=20, y1=20)
    others = [finding(0.4, box=low, **where), finding(0.1, box=Box(x0=25, y0=2, x1=49, y1=30), **where)]
    return result(source, finding(**where), *others, caveats=(Sentence.of("a cast was seen"),))


def objects(source: Dataset, window: Window | None = None) -> dict[str, Dataset]:
    """Make every object of `source`, by kind; reports in three revisions, the third without any analysis."""
    given = answered(source)
    sources = {given.sop_instance_uid: source}
    first, second, third = (
        study(
            r,
            revision=n,
            predecessor=Predecessor(revision=n - 1, pack_digest=PROVENANCE.pack_digest) if n > 1 else None,
        )
        for n, r in enumerate((given, given, unanalysed(source)), 1)
    )
    rgb = np.random.default_rng(3).integers(0, 256, (61, 51, 3), np.uint8)
    before = Predecessor(revision=1, pack_digest=PROVENANCE.pack_digest)
    grey, plain = Picture(layout="grey"), Picture(layout="beside", compression="none", longest_px=256)
    made = {
        "sc": secondary_capture(source, given, rgb),
        "sc grey": secondary_capture(source, given, rgb[..., 0], grey),
        "sc uncompressed": secondary_capture(source, given, rgb, plain),
        "sc not analysed": secondary_capture(source, replace(unanalysed(source), revision=2, predecessor=before), rgb),
        "summary": study_summary(first, sources, {given.sop_instance_uid: rgb})[0],
        "summary uncompressed": study_summary(second, sources, {given.sop_instance_uid: rgb}, "none")[0],
        "sr": structured_report(first, sources),
        "sr comprehensive": structured_report(first, sources, ComprehensiveSRStorage),
        "sr revised": structured_report(second, sources),
        "sr not analysed": structured_report(third, sources),
        "ko": key_objects(first, sources),
    }
    if is_presentable(source):
        made["pr"] = presentation_state(source, given, window or Window(center=2048, width=4096))
    sent = {str(made[kind].SOPInstanceUID) for kind in ("sc", "pr") if kind in made}
    shown = tuple(illustrations(first, sources, Picture(), sent))
    made["sr illustrated"] = structured_report(first, sources, illustrations=shown)
    made["rejection"] = rejection_note(
        first,
        sources,
        [reference(made[kind]) for kind in ("sc", "sr", "sr comprehensive", "ko")],
        REJECTED_FOR_QUALITY,
        at=datetime(2026, 1, 3, tzinfo=UTC),
        words="made with a pack that was withdrawn",
    )
    return made


def written(folder: Path, made: dict[str, Dataset]) -> dict[str, Path]:
    """Write the objects to files, by kind."""
    paths = {kind: folder / f"{kind.replace(' ', '_')}.dcm" for kind in made}
    for kind, path in paths.items():
        path.write_bytes(part10_bytes(made[kind]))
    return paths


def dciodvfy(peer: Peer, path: Path) -> Complaints:
    """Return the errors and warnings of dciodvfy about one object."""
    said = _complaints(peer("dciodvfy"), "-new", str(path))
    return {line for line in said if not line.startswith("Warning") or not line.endswith(KNOWN)}


def dcentvfy(peer: Peer, *paths: Path) -> Complaints:
    """Return the errors and warnings of dcentvfy about contradictions between objects of one patient."""
    said = _complaints(peer("dcentvfy"), *map(str, paths))
    known = {f"Different information entities for attribute - Element=<{keyword}>" for keyword in DIFFERENT_ENTITIES}
    return {line for line in said if not any(k in line for k in known)}


def _complaints(*command: str) -> Complaints:
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=120)
    lines = (run.stdout + run.stderr).splitlines()
    return {line for line in lines if line.startswith(("Error", "Warning", "Fatal", "Abort"))}
