"""`osteon hl7 preview`: show the message that a RIS would receive, without sending it.

The study is drawn (two views of a phantom's wrist, which are really analysed) or made of the site's own files.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

from hl7apy.core import Field
from hl7apy.exceptions import HL7apyException
from pydicom.dataset import Dataset
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from appliance.config import Analyse, Configuration, Hl7Destination
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.reading.order import read_examination
from appliance.domain.identifiers import derived_uid
from appliance.domain.order import Examination
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Predecessor
from appliance.domain.study import StudyResult
from appliance.errors import Rejected
from appliance.reporting.hl7.message import CODECS
from appliance.reporting.hl7.order_update import priority_update
from appliance.reporting.hl7.oru import oru_r01, oru_withdrawal
from appliance.service.instance_reader import Reader
from appliance.service.pipeline_assembly import pipeline_of
from provisioning.phantoms import instance_from_phantom, phantom
from provisioning.radiograph_files import find_radiograph_files, read_instance

Message = Literal["report", "revision", "withdrawal", "order"]
MESSAGES: dict[Message, Callable[[StudyResult, Examination, Hl7Destination], bytes]] = {
    "report": oru_r01,
    "revision": lambda study, examination, profile: oru_r01(_as_second_revision(study), examination, profile),
    "withdrawal": lambda study, examination, profile: oru_withdrawal(study, examination, profile, "preview"),
    "order": priority_update,
}


def preview(config: Configuration, name: str, files: list[Path], message: Message, raw: bool, console: Console) -> None:
    """Print the message that the destination `name` would receive: as a table of fields, or raw as it is sent.

    Raises
    ------
    Rejected
        If there is no such HL7 destination, or the message cannot be made; with the reason.
    """
    profile = _profile(config, name)
    if message == "order" and profile.flag not in ("orm", "omi"):
        raise Rejected(ReasonCode.NO_ORDER, f'{name} receives no order updates: set flag = "orm" or "omi"')
    study, examination = _study(config, files)
    content = MESSAGES[message](study, examination, profile)
    text = content.decode(CODECS[profile.character_set])
    if raw:
        console.out(text.replace("\r", "\n"), end="", highlight=False)
        return
    console.print(_table(text, profile.version))
    console.print(f"{len(content)} bytes, {profile.character_set}; nothing was sent")


def _profile(config: Configuration, name: str) -> Hl7Destination:
    profiles = {d.name: d for d in config.destinations if isinstance(d, Hl7Destination)}
    if name in profiles:
        return profiles[name]
    near = difflib.get_close_matches(name, profiles, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(profiles) or 'none'}"
    raise Rejected(ReasonCode.NO_DESTINATION, f"there is no HL7 destination {name!r}; {hint}")


def _study(config: Configuration, files: list[Path]) -> tuple[StudyResult, Examination]:
    """Analyse the files, or the phantoms if there are none; return the last file's study and examination."""
    loads = [partial(read_instance, file) for file in find_radiograph_files(files)]
    if files and not loads:
        raise Rejected(ReasonCode.NO_RADIOGRAPHS, "none of the files is a DICOM, JPEG or PNG file")
    given = config if loads else config.model_copy(update={"analyse": Analyse(pack="phantom")})
    reader = Reader(pipeline_of(given))
    try:
        readings = [reader.read(reader.examine(load)) for load in loads or [partial(bytes, p) for p in _phantoms()]]
    finally:
        reader.close()
    uid = readings[-1].analysis.result.study_instance_uid
    results = tuple(r.analysis.result for r in readings if r.analysis.result.study_instance_uid == uid)
    study = StudyResult(study_instance_uid=uid, created_at=datetime.now(UTC), results=results)
    return study, read_examination(readings[-1].source)


def _phantoms() -> Iterator[bytes]:
    """Yield two views of a wrist, the first fractured, of an order that has every number an order can have."""
    for seed, fracture in ((1, True), (2, False)):
        ds = instance_from_phantom(
            phantom("wrist", seed, fracture),
            patient_id="PHANTOM-1",
            accession_number="PHANTOM-A1",
            study_instance_uid=derived_uid("hl7 preview"),
        )
        ds.IssuerOfPatientID = "PHANTOM"
        request = Dataset()
        request.PlacerOrderNumberImagingServiceRequest = "PHANTOM-P1"
        request.FillerOrderNumberImagingServiceRequest = "PHANTOM-F1"
        request.RequestedProcedureID = "PHANTOM-R1"
        request.ScheduledProcedureStepID = "PHANTOM-S1"
        ds.RequestAttributesSequence = [request]
        yield part10_bytes(ds)


def _as_second_revision(study: StudyResult) -> StudyResult:
    before = Predecessor(revision=1, pack_digest=study.provenance.pack_digest)
    return replace(study, revision=2, predecessor=before)


def _table(text: str, version: str) -> Table:
    table = Table(show_lines=False)
    for heading in ("field", "name", "value"):
        table.add_column(heading, no_wrap=heading == "field", overflow="fold")
    for segment in text.removesuffix("\r").split("\r"):
        name, *fields = segment.split("|")
        for number, value in enumerate(fields, 2 if name == "MSH" else 1):
            if value:
                table.add_row(f"{name}-{number}", _field_name(name, number, version), escape(value))
        table.add_section()
    return table


def _field_name(segment: str, number: int, version: str) -> str:
    """Return the standard's name of a field; empty for a segment that the standard does not know."""
    try:
        return str(Field(f"{segment}_{number}", version=version).long_name or "").replace("_", " ").lower()
    except HL7apyException:
        return ""
