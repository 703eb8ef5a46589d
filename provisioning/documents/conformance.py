"""The DICOM conformance statement, written from the code: ``python -m provisioning.documents.conformance``.

Classes, syntaxes, statuses and codes come from the tables that the programs use. Attributes come from objects that are
made for two radiographs of different patients: a value that both objects share is a constant, a value that equals the
radiograph's is copied from it.

References
----------
DICOM PS3.2 (Conformance).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
from jinja2 import Environment, StrictUndefined
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComprehensiveSRStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from appliance.config import Configuration, Picture
from appliance.dicom.objects.codes import MODALITIES
from appliance.dicom.objects.illustrations import illustrations
from appliance.dicom.objects.key_objects import key_objects
from appliance.dicom.objects.patient_study import TYPE_2, TYPE_3
from appliance.dicom.objects.presentation_state import presentation_state
from appliance.dicom.objects.secondary_capture import sc_uid, secondary_capture
from appliance.dicom.objects.structured_report import structured_report
from appliance.dicom.objects.study_summary import study_summary
from appliance.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from appliance.dicom.scp.service import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, SOP_CLASS_NOT_SUPPORTED, SUCCESS
from appliance.dicom.scp.upper_layer import PDU_BYTES
from appliance.dicom.scu.dimse_status import STATUS_RANGES, STATUSES, StoreOutcome
from appliance.dicom.scu.peer import LONGEST_PDU
from appliance.dicom.transfer_syntaxes import ACCEPTED, KEPT, RADIOGRAPHS
from appliance.dicom.web.server import STATUSES as WEB
from appliance.domain import codes
from appliance.domain.codes import Concept
from appliance.domain.finding import Box, Finding
from appliance.domain.identifiers import Laterality, Site, derived_uid
from appliance.domain.radiograph import Window
from appliance.domain.result import Predecessor, Provenance, Result
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.errors import Transient
from appliance.network import CIPHERS

LINE = 120
"""Longest line of prose in a document."""

TEMPLATE = Path(__file__).parent / "templates" / "dicom-conformance-statement.md"

CONTENTS = {
    "Secondary Capture": ("the radiograph with heat map, region and answer", "`sc`"),
    "Study summary": ("the study at a glance: every radiograph with its answer, eight to a page", "`summary`"),
    "Grayscale Softcopy Presentation State": (
        "areas read, marks of suspicions and words in three layers, in the window and polarity of the analysis",
        "`pr`",
    ),
    "Comprehensive 3D SR": ("the report on the study, TID 1500", "`sr`"),
    "Comprehensive SR": ("the same, for an archive that accepts no Comprehensive 3D SR", '`sr = "comprehensive"`'),
    "Key Object Selection": (
        "the suspicious radiographs of the study, or withdrawn or replaced objects (IOCM)",
        "`ko`",
    ),
}
"""Content of each kind of object, and the key of the configuration that asks for it."""

RECEIVED_STATUSES = {
    SUCCESS: "the bytes and the row are on disk; of a companion: it has arrived",
    OUT_OF_RESOURCES: "the disk is low, or disk or database cannot keep it: send again",
    SOP_CLASS_NOT_SUPPORTED: "the SOP class is not that of its presentation context",
    CANNOT_UNDERSTAND: "the SOP Instance UID is no UID, or the instance is too large",
}
"""Occasion of each status that the receiver returns."""

OUTCOMES = {
    StoreOutcome.STORED: "delivered",
    StoreOutcome.EXISTS: "by `existing`: probably delivered, verified by C-FIND, or parked for a person",
    StoreOutcome.TRANSIENT: "sent again, after ever longer waits",
    StoreOutcome.REJECTED: "sent again; parked if the archive takes others and refuses it again, or after ten refusals "
    "over a day",
}
"""Behaviour after each outcome of a delivery."""

SERVICES_USED = (StorageCommitmentPushModel, StudyRootQueryRetrieveInformationModelFind)
"""Services of an archive that a profile may ask for: whether it has an object, and which patient a study is of."""

UNLISTED = {"PixelData", "StudyInstanceUID", *TYPE_2, *TYPE_3}
"""Keywords left out of the lists of attributes: those of patient and study are listed once, apart."""


def statement() -> str:
    """Return the conformance statement; ``docs/dicom-conformance-statement.md`` is a copy."""
    defaults = Configuration()
    first, second = (list(_objects(name)) for name in ("A", "B"))
    made = [(title, one, other) for (title, one, _), (_, other, _) in zip(first, second, strict=True)]
    radiograph = first[0][2]
    sop_classes = {title: UID(ds.SOPClassUID) for title, ds, _ in first}
    provided = (UID(Verification), *KEPT)
    used = (*dict.fromkeys(sop_classes.values()), *map(UID, SERVICES_USED))
    environment = Environment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  the document is Markdown
    )
    return environment.from_string(TEMPLATE.read_text()).render(
        overview=_rows(
            [
                (uid.name, uid, "yes" if uid in used else "", "yes" if uid in provided else "")
                for uid in dict.fromkeys((*provided, *used))
            ]
        ),
        receive=defaults.receive,
        study=defaults.study,
        pdu_bytes=PDU_BYTES,
        longest_pdu=LONGEST_PDU,
        web_transient=", ".join(
            str(status) for status, (error, _) in sorted(WEB.items()) if issubclass(error, Transient)
        ),
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
        radiographs=", ".join(uid.name for uid in RADIOGRAPHS),
        accepted=", ".join(f"{uid.name} ({uid})" for uid in ACCEPTED),
        received_statuses=_rows((f"{code:04X}", when) for code, when in RECEIVED_STATUSES.items()),
        sent=_rows((sop_classes[title].name, *CONTENTS[title]) for title in sop_classes),
        sent_statuses=_rows(_sent_statuses()),
        ciphers=CIPHERS,
        copied=textwrap.fill(", ".join([*(f"{keyword} (Type 2)" for keyword in TYPE_2), *TYPE_3]) + ".", LINE),
        objects="\n\n".join(_attributes(*each, radiograph) for each in made),
        codes=_rows(_codes()),
    )


def _rows(cells: Iterable[Iterable[object]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in cells)


def _sent_statuses() -> Iterator[tuple[str, str]]:
    for code, (outcome, words) in STATUSES.items():
        yield f"{code:04X}", f"{OUTCOMES[outcome]} ({words})"
    for mask, value, outcome, words in STATUS_RANGES:
        span = f"{value:04X} to {value | ~mask & 0xFFFF:04X}"
        yield span, f"{OUTCOMES[outcome]} ({words})"
    yield "any other", f"{OUTCOMES[StoreOutcome.TRANSIENT]} (unknown failure)"


def _codes() -> Iterator[tuple[str, str, str, str]]:
    """Yield name, code, scheme and meaning of every concept of `appliance.domain.codes`, and of the modalities."""
    for name, value in (vars(codes) | {"MODALITIES": MODALITIES}).items():
        title = name.replace("_", " ").lower()
        if isinstance(value, Concept):
            yield title, value.code, value.scheme, value.meaning
        elif name.isupper() and isinstance(value, dict):
            for key, concept in value.items():
                if isinstance(concept, Concept):
                    said = UID(key).name if UID(key).is_valid else getattr(key, "label", key)
                    yield f"{title}: {said}", concept.code, concept.scheme, concept.meaning


def _attributes(title: str, one: Dataset, other: Dataset, radiograph: Dataset) -> str:
    """Return the section on one object: its attributes, and the origin of each."""
    rows = (
        (f"({e.tag.group:04X},{e.tag.element:04X})", e.name, e.VR, _origin(e, other, radiograph))
        for e in one
        if e.keyword not in UNLISTED
    )
    heading = f"#### {title} ({UID(one.SOPClassUID).name})"
    return f"{heading}\n\n| tag | attribute | VR | value |\n|---|---|---|---|\n{_rows(rows)}"


def _origin(element: DataElement, other: Dataset, radiograph: Dataset) -> str:
    if element.tag in radiograph and radiograph[element.tag].value == element.value:
        return "radiograph"
    if element.VR == "SQ" or element.tag not in other or other[element.tag].value != element.value:
        return "Osteon"
    value = element.value
    shown = "\\".join(map(str, value)) if element.VM > 1 else str(value)
    return f"`{shown}`" if shown else "empty"


def _objects(name: str) -> Iterator[tuple[str, Dataset, Dataset]]:
    """Yield title, object and radiograph of every kind of object, made for patient `name`."""
    source = _radiograph(name)
    result = _result(name, source)
    is_first = name == "A"
    study = StudyResult(
        study_instance_uid=result.study_instance_uid,
        created_at=result.created_at,
        results=(result,),
        revision=2 if is_first else 3,
        predecessor=Predecessor(revision=1 if is_first else 2, pack_digest=result.provenance.pack_digest),
    )
    sources = {result.sop_instance_uid: source}
    height, width = (71, 51) if is_first else (61, 62)
    rgb = np.zeros((height, width, 3), np.uint8)
    window = Window(center=2000 + len(result.provenance.pack_name), width=3000 + result.findings[0].box.x1)
    yield "Secondary Capture", secondary_capture(source, result, rgb), source
    (page,) = study_summary(study, sources, {} if is_first else {result.sop_instance_uid: rgb})
    yield "Study summary", page, source
    yield "Grayscale Softcopy Presentation State", presentation_state(source, result, window), source
    shown = tuple(illustrations(study, sources, Picture(), {sc_uid(result, Picture()), result.uid("pr")}))
    yield "Comprehensive 3D SR", structured_report(study, sources, illustrations=shown), source
    yield "Comprehensive SR", structured_report(study, sources, ComprehensiveSRStorage, shown), source
    yield "Key Object Selection", key_objects(study, sources), source


def _radiograph(name: str) -> Dataset:
    """Return a radiograph of patient `name`; those of A and B differ in every attribute that is copied."""
    is_first = name == "A"
    ds = Dataset()
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(ds, keyword, derived_uid("conformance", name, keyword))
    ds.PatientName = f"{name}^{name}"
    ds.PatientID = ds.AccessionNumber = name
    ds.StudyDate = "20260102" if is_first else "20270304"
    ds.StudyTime = "101112" if is_first else "131415"
    ds.Manufacturer = name
    ds.BodyPartExamined = "ANKLE" if is_first else "ELBOW"
    ds.ImageLaterality = "L" if is_first else "R"
    ds.SeriesNumber = 1 if is_first else 3
    ds.InstanceNumber = 7 if is_first else 8
    ds.Rows, ds.Columns = (60, 50) if is_first else (50, 60)
    ds.PatientOrientation = ["L", "F"] if is_first else ["P", "F"]
    ds.PhotometricInterpretation = "MONOCHROME2" if is_first else "MONOCHROME1"
    ds.RescaleSlope = "1" if is_first else "2"
    ds.RescaleIntercept = "0" if is_first else "1"
    ds.RescaleType = "US" if is_first else "OD"
    ds.BurnedInAnnotation = "NO" if is_first else "YES"
    ds.ImagerPixelSpacing = [0.1, 0.1] if is_first else [0.2, 0.2]
    request = Dataset()
    request.RequestedProcedureID = name
    ds.RequestAttributesSequence = [request]
    ds.TimezoneOffsetFromUTC = "+0100" if is_first else "+0200"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _result(name: str, source: Dataset) -> Result:
    is_first = name == "A"
    finding = Finding(
        site=Site.WRIST if is_first else Site.KNEE,
        laterality=Laterality.LEFT if is_first else Laterality.RIGHT,
        box=Box(x0=1, y0=12, x1=40 if is_first else 41, y1=45),
        region_score=1.0,
        peak=(20.0, 20.0),
        probability=0.9 if is_first else 0.8,
        doubt=0.3,
        positive=0.7,
        focus=0.9,
    )
    return Result(
        sop_instance_uid=source.SOPInstanceUID,
        study_instance_uid=source.StudyInstanceUID,
        created_at=datetime(2026, 1, 2, 10, 0, 0, tzinfo=UTC)
        if is_first
        else datetime(2027, 3, 4, 13, 1, 1, tzinfo=UTC),
        provenance=Provenance(
            software_version=name,
            pack_name=name * (1 if is_first else 2),
            pack_version=name,
            pack_digest=("0" if is_first else "1") * 64,
            pack_is_synthetic=not is_first,
            compute=name,
        ),
        findings=(finding,),
        caveats=() if is_first else (Sentence.of("a caveat"),),
    )


@click.command()
def main() -> None:
    """Write the conformance statement to standard output."""
    click.echo(statement(), nl=False)


if __name__ == "__main__":
    main()
