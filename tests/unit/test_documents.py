"""Structured report, presentation state and key objects: content, referenced images and predecessors."""

from __future__ import annotations

import copy
import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
)

from appliance.dicom.objects.codes import BODY_PARTS
from appliance.dicom.objects.contributing_equipment import EQUIPMENT, device_uid
from appliance.dicom.objects.document import InstanceReference, reference
from appliance.dicom.objects.key_objects import KEY_ANSWERS, key_objects, key_objects_uid, rejection_note
from appliance.dicom.objects.patient_study import TYPE_2, TYPE_3
from appliance.dicom.objects.presentation_state import MARKS, REGIONS, WORDS, is_presentable, presentation_state
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.objects.series import anatomy, series_description
from appliance.dicom.objects.structured_report import structured_report
from appliance.dicom.objects.tracking import tracked
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.dicom.reading.order import read_examination
from appliance.dicom.reading.shutter import EDGES
from appliance.domain.codes import OF_INTEREST, REJECTED_FOR_QUALITY
from appliance.domain.finding import Box, Withheld
from appliance.domain.identifiers import Laterality, Site, derived_uid
from appliance.domain.radiograph import Window
from appliance.domain.result import SECOND_READER, Predecessor, Result
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.reporting.fhir.bundle import transaction
from appliance.reporting.hl7.oru import oru_r01
from tests.support import profiles
from tests.support.objects import answered, objects
from tests.support.peers import Peer
from tests.support.results import PROVENANCE, finding, result, study, unanalysed
from tests.support.sources import changed, item, received, variants

VARIANTS = variants()
LOW = Box(x0=1, y0=46, x1=20, y1=59)


def views(*names: str) -> list[Dataset]:
    """Radiographs of one study, two series."""
    made = []
    for number, name in enumerate(names):
        ds = changed(name, StudyInstanceUID=derived_uid("views"), SeriesInstanceUID=derived_uid("views", number % 2))
        made.append(received(ds))
    return made


@pytest.fixture
def sources() -> dict[str, Dataset]:
    return {ds.SOPInstanceUID: ds for ds in views("pa", "lateral", "oblique")}


@pytest.fixture
def three(sources: dict[str, Dataset]) -> StudyResult:
    """A positive view, one in doubt with a caveat, and one that was not analysed."""
    pa, lateral, oblique = sources.values()
    doubt = result(lateral, finding(0.4), caveats=(Sentence.of("a cast was seen"),))
    return study(result(pa, finding(), finding(0.1, box=LOW)), doubt, unanalysed(oblique))


def dumped(peer: Peer, folder: Path, ds: Dataset) -> str:
    """The content tree with UIDs, by DCMTK."""
    file = folder / "document.dcm"
    file.write_bytes(part10_bytes(ds))
    return subprocess.run([peer("dsrdump"), "+Pl", "+Pu", file], capture_output=True, text=True, check=True).stdout


def after(said: str, line: str) -> str:
    """Return the text that follows `line`."""
    return said.split(line, 1)[1].splitlines()[1]


def test_structured_report_covers_every_view(
    three: StudyResult, sources: dict[str, Dataset], peer: Peer, tmp_path: Path
) -> None:
    pa, lateral, oblique = sources
    said = dumped(peer, tmp_path, structured_report(three, sources))
    library = said.split("Image Library Group")[1].split("Imaging Measurements")[0]
    assert all(uid in library for uid in sources)
    assert said.count('"Measurement Group"') == said.count("SCOORD:") == 5  # three areas, and two marks
    regions = said.split("Imaging Measurements")[1].split("Qualitative Evaluations")[0]
    assert (regions.count(pa), regions.count(lateral), regions.count(oblique)) == (3, 2, 0)
    assert oblique in after(said, "Not analysed: this pack has no engine for ribs [no_engine]")
    assert lateral in after(said, "a cast was seen")
    assert '"possible >= 0.3, suspected >= 0.7"' in said


def test_structured_report_evidence_lists_every_view_in_its_series(
    three: StudyResult, sources: dict[str, Dataset]
) -> None:
    (evidence,) = structured_report(three, sources).CurrentRequestedProcedureEvidenceSequence
    named = {
        (series.SeriesInstanceUID, instance.ReferencedSOPInstanceUID)
        for series in evidence.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert named == {(ds.SeriesInstanceUID, uid) for uid, ds in sources.items()}
    assert len(evidence.ReferencedSeriesSequence) == 2


@pytest.mark.parametrize("sop_class", [Comprehensive3DSRStorage, ComprehensiveSRStorage])
def test_revised_report_names_its_predecessor(sop_class: str, three: StudyResult, sources: dict[str, Dataset]) -> None:
    first = structured_report(three, sources, sop_class)
    before = Predecessor(revision=1, pack_digest=PROVENANCE.pack_digest)
    second = structured_report(replace(three, revision=2, predecessor=before), sources, sop_class)
    (named,) = second.PredecessorDocumentsSequence
    (series,) = named.ReferencedSeriesSequence
    (instance,) = series.ReferencedSOPSequence
    assert named.StudyInstanceUID == first.StudyInstanceUID
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    assert instance.ReferencedSOPInstanceUID == first.SOPInstanceUID != second.SOPInstanceUID
    assert instance.ReferencedSOPClassUID == sop_class == second.SOPClassUID
    assert "PredecessorDocumentsSequence" not in first
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)
    assert "rev" not in first.SeriesDescription and "report rev 2 -" in second.SeriesDescription


def test_report_in_both_classes_has_the_same_content(three: StudyResult, sources: dict[str, Dataset]) -> None:
    best, next_best = (
        dataset_from_bytes(part10_bytes(structured_report(three, sources, c)))
        for c in (Comprehensive3DSRStorage, ComprehensiveSRStorage)
    )
    assert best.ContentSequence == next_best.ContentSequence
    different = {e.keyword for e in best if next_best[e.tag] != e}
    assert different == {"SOPClassUID", "SOPInstanceUID"}


def test_tracking_uid_survives_revision_pack_and_corrected_side() -> None:
    source = VARIANTS["dx"]
    given = result(source, finding(box=LOW), finding(0.1))
    other_pack = replace(PROVENANCE, pack_digest="f" * 64)
    turned = (finding(0.2, laterality=Laterality.RIGHT), finding(0.1, box=LOW, laterality=Laterality.RIGHT))
    again = replace(result(source, *turned), provenance=other_pack)
    first, second = ({t.finding.box: (t.uid, t.mark_uid) for t in tracked(r)} for r in (given, again))
    assert first == second and len({uid for uids in first.values() for uid in uids}) == 4
    same_place = [t.uid for t in tracked(result(source, finding(), finding(0.1)))]
    assert len(set(same_place)) == 2


def test_report_names_each_request_once(three: StudyResult, sources: dict[str, Dataset]) -> None:
    assert [r.RequestedProcedureID for r in structured_report(three, sources).ReferencedRequestSequence] == ["RP1"]
    last = list(sources.values())[-1]
    last.RequestAttributesSequence = [item(RequestedProcedureID="RP2")]
    named = structured_report(three, sources).ReferencedRequestSequence
    assert [r.RequestedProcedureID for r in named] == ["RP1", "RP2"]


def state(source: Dataset, given: Result | None = None, window: Window | None = None) -> Dataset:
    return presentation_state(source, given or result(source), window or Window(center=2048, width=4096))


@pytest.mark.parametrize(
    ("variant", "shape"), [("dx", "IDENTITY"), ("monochrome1", "INVERSE"), ("monochrome1 inverse", "INVERSE")]
)
def test_presentation_state_has_the_polarity_of_its_image(variant: str, shape: str) -> None:
    assert state(VARIANTS[variant]).PresentationLUTShape == shape


def test_revised_presentation_state_has_label_series_and_description_of_the_revision() -> None:
    source = VARIANTS["dx"]
    before = Predecessor(revision=1, pack_digest=PROVENANCE.pack_digest)
    first, second = state(source), state(source, replace(result(source), revision=2, predecessor=before))
    assert (first.ContentLabel, second.ContentLabel) == ("OSTEON", "OSTEON REV 2")
    assert "rev" not in first.SeriesDescription and "regions rev 2 -" in second.SeriesDescription
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


@pytest.mark.parametrize("is_synthetic", [True, False])
@pytest.mark.parametrize("revision", [1, 2, 9999])
def test_series_description_with_all_marks_fits_its_vr(is_synthetic: bool, revision: int) -> None:
    given = result(VARIANTS["dx"])
    pack = replace(given.provenance, pack_is_synthetic=is_synthetic)
    for title in ("key views", "heat map", "rejection"):
        said = series_description(replace(given, provenance=pack, revision=revision), title)
        assert len(said) <= 64 and said.endswith("not for diagnosis")
        assert said.startswith("SYNTHETIC ") == is_synthetic


def test_presentation_state_has_regions_marks_and_text_in_layers() -> None:
    source = VARIANTS["dx"]
    corners = ((12.0, 14.0), (20.0, 14.0), (16.0, 22.0))
    made = state(
        source, result(source, finding(mark=corners), finding(0.4), finding(0.1), caveats=(Sentence.of("a cast"),))
    )
    assert [layer.GraphicLayer for layer in made.GraphicLayerSequence] == [REGIONS, MARKS, WORDS]
    regions, marks, words = made.GraphicAnnotationSequence
    assert {o.LineStyleSequence[0].LineThickness for o in regions.GraphicObjectSequence} == {1.0}
    assert [(o.GraphicType, o.LineStyleSequence[0].LineDashingStyle) for o in marks.GraphicObjectSequence] == [
        ("POLYLINE", "SOLID"),
        ("POINT", "SOLID"),
        ("POLYLINE", "DASHED"),
        ("POINT", "DASHED"),
    ]
    outline, peak = marks.GraphicObjectSequence[:2]
    assert outline.GraphicData == [12, 14, 20, 14, 16, 22, 12, 14] and peak.GraphicData == [22, 30]
    assert [o.UnformattedTextValue for o in words.TextObjectSequence] == [
        "left wrist: fracture suspected",
        "left wrist: possible fracture",
        "left wrist: no fracture found",
        str(SECOND_READER),
        "FRACTURE SUSPECTED",
        "Not read: hand (recognised in the picture, read by no engine)",
        "a cast",
    ]


def test_presentation_state_without_suspicion_has_no_marks() -> None:
    source = VARIANTS["dx"]
    made = state(source, result(source, finding(0.1, withheld=(Withheld.CUT,))))
    assert [item.GraphicLayer for item in made.GraphicAnnotationSequence] == [REGIONS, WORDS]
    said = [o.UnformattedTextValue for o in made.GraphicAnnotationSequence[1].TextObjectSequence]
    assert "INCOMPLETE" in said and any(str(Withheld.CUT.sentence) in line for line in said)


def test_text_of_a_region_stays_inside_the_image_and_off_the_region() -> None:
    source = VARIANTS["dx"]
    for box in (Box(x0=0, y0=0, x1=50, y1=10), Box(x0=49, y0=59, x1=50, y1=60), Box(x0=10, y0=30, x1=20, y1=60)):
        *_, words = state(source, result(source, finding(box=box))).GraphicAnnotationSequence
        label = words.TextObjectSequence[0]
        (x0, y0), (x1, y1) = label.BoundingBoxTopLeftHandCorner, label.BoundingBoxBottomRightHandCorner
        assert 0 <= x0 < x1 <= 50 and 0 <= y0 < y1 <= 60
        assert y1 <= box.y0 or y0 >= box.y1


def test_big_endian_lut_is_written_little_endian() -> None:
    little = VARIANTS["voi lut"]
    big = copy.deepcopy(little)
    big.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    lut = big.VOILUTSequence[0]
    lut["LUTData"].value = bytes(bytearray(lut.LUTData)[i ^ 1] for i in range(len(lut.LUTData)))
    over_lut = Window(center=2048, width=4096, over_voi_lut=True)
    one, other = (state(ds, window=over_lut).SoftcopyVOILUTSequence[0].VOILUTSequence[0] for ds in (little, big))
    assert one.LUTData == other.LUTData


def test_rgb_radiograph_is_not_presentable() -> None:
    source = copy.deepcopy(VARIANTS["dx"])
    assert is_presentable(source)
    source.PhotometricInterpretation = "RGB"
    assert not is_presentable(source)


def test_presentation_state_of_oblong_pixels_has_their_aspect_ratio() -> None:
    assert state(VARIANTS["dx"]).DisplayedAreaSelectionSequence[0].PresentationPixelAspectRatio == [1, 1]
    (area,) = state(VARIANTS["pixel spacing"]).DisplayedAreaSelectionSequence
    assert area.PresentationPixelAspectRatio == [1400, 1500]


def test_key_objects_select_the_positive_views(three: StudyResult, sources: dict[str, Dataset]) -> None:
    made = key_objects(three, sources)
    (title,) = made.ConceptNameCodeSequence
    assert (title.CodeValue, title.CodingSchemeDesignator) == (OF_INTEREST.code, "DCM")
    images = [
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in made.ContentSequence if i.ValueType == "IMAGE"
    ]
    assert images == [three.results[0].sop_instance_uid]
    assert made.SOPInstanceUID == three.uid("ko")


def test_key_objects_of_suspicious_views_include_possible_fractures(sources: dict[str, Dataset]) -> None:
    first, second, *_ = sources.values()
    given = study(result(first, finding(0.4)), result(second))
    suspicious = KEY_ANSWERS["suspicious"]
    made = key_objects(given, sources, suspicious)
    images = [i.ReferencedSOPSequence[0] for i in made.ContentSequence if i.ValueType == "IMAGE"]
    assert [i.ReferencedSOPInstanceUID for i in images] == [first.SOPInstanceUID, second.SOPInstanceUID]
    (words,) = [i.TextValue for i in made.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "113012"]
    assert words.startswith("fracture suspected, possible fracture. ")
    assert made.SOPInstanceUID == key_objects_uid(given, suspicious) != key_objects(given, sources).SOPInstanceUID
    certain = study(result(first, finding(0.1)), result(second))
    assert key_objects(certain, sources, suspicious) == key_objects(certain, sources), "the same content is one object"
    assert key_objects_uid(study(result(first, finding(0.1))), suspicious) == ""


def test_key_objects_without_a_positive_view_raise(sources: dict[str, Dataset]) -> None:
    first = next(iter(sources.values()))
    with pytest.raises(ValueError, match="no radiograph"):
        key_objects(study(result(first, finding(0.4))), sources)


def test_rejection_note_names_the_withdrawn_instances(three: StudyResult, sources: dict[str, Dataset]) -> None:
    taken_back = [reference(structured_report(three, sources)), reference(next(iter(sources.values())))]
    at = datetime(2026, 1, 3, 9, 0, tzinfo=UTC)
    made = rejection_note(three, sources, taken_back, REJECTED_FOR_QUALITY, at=at, words="a faulty pack")
    again = rejection_note(three, sources, taken_back[::-1], REJECTED_FOR_QUALITY, at=at, words="a faulty pack")
    assert made.ConceptNameCodeSequence[0].CodeValue == "113001"
    assert [(i.ValueType) for i in made.ContentSequence[-2:]] == ["COMPOSITE", "IMAGE"]
    assert made.SOPInstanceUID == again.SOPInstanceUID
    (evidence,) = made.CurrentRequestedProcedureEvidenceSequence
    assert len(evidence.ReferencedSeriesSequence) == 2
    for reason, rejected in ((OF_INTEREST, taken_back), (REJECTED_FOR_QUALITY, [])):
        with pytest.raises(ValueError, match="rejection note"):
            rejection_note(three, sources, rejected, reason, at=at, words="")


def test_report_of_a_source_without_bytes_is_made() -> None:
    gone = Dataset()
    gone.SOPInstanceUID, gone.StudyInstanceUID = derived_uid("gone"), derived_uid("study")
    made = structured_report(study(result(gone)), {gone.SOPInstanceUID: gone})
    assert reference(gone) == InstanceReference(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        series_instance_uid=derived_uid(gone.SOPInstanceUID, "unknown series"),
        sop_instance_uid=gone.SOPInstanceUID,
    )
    assert made.PatientID == ""


def test_contributing_equipment_names_modality_and_gateway() -> None:
    source = VARIANTS["identities"]
    equipment, _ = state(source).ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
    assert (equipment.Manufacturer, equipment.StationName, equipment.DeviceSerialNumber) == (
        "Testroom",
        "ROOM1",
        "4711",
    )
    gateway, room, _ = state(VARIANTS["gateway"]).ContributingEquipmentSequence
    assert (gateway.Manufacturer, room.Manufacturer) == ("Gate", "Testroom")


def test_contributing_equipment_names_the_algorithm() -> None:
    (algorithm,) = state(VARIANTS["no manufacturer"]).ContributingEquipmentSequence
    assert algorithm.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Processing Algorithm"
    assert (algorithm.Manufacturer, algorithm.ManufacturerModelName) == ("Osteon", "bones")
    assert algorithm.SoftwareVersions == ["0.1.0", PROVENANCE.model]
    assert algorithm.DeviceUID == device_uid(PROVENANCE)


def test_patient_and_study_attributes_are_copied() -> None:
    source = VARIANTS["identities"]
    made = dataset_from_bytes(part10_bytes(state(source)))
    written_anew = {
        "SpecificCharacterSet",
        "Manufacturer",
        "ManufacturerModelName",
        "DeviceSerialNumber",
        "SoftwareVersions",
    }
    of_patient_and_study = [
        e.keyword for e in source if e.tag.group in (0x0008, 0x0010, 0x0032, 0x0038) and e.keyword in made
    ]
    for keyword in ("OtherPatientIDsSequence", "IssuerOfPatientIDQualifiersSequence", "PatientState", "AdmissionID"):
        assert keyword in of_patient_and_study
    series = {"SOPClassUID", "SOPInstanceUID", "Modality", "ContentDate", "ContentTime"}
    for keyword in set(of_patient_and_study) - written_anew - series:
        assert made[keyword].value == source[keyword].value, keyword


def test_incomplete_sequence_items_are_left_out() -> None:
    made = state(VARIANTS["hollow"])
    for keyword in ("ProcedureCodeSequence", "OtherPatientIDsSequence", "ReferencedStudySequence"):
        assert keyword not in made


@pytest.mark.parametrize("site", list(Site))
def test_body_part_and_side_come_from_the_findings(site: Site) -> None:
    source = VARIANTS["pelvis"]
    made = anatomy(source, result(source, finding(site=site)))
    assert made.BodyPartExamined == BODY_PARTS[site]
    assert made.get("Laterality") == (None if site in (Site.PELVIS, Site.SPINE) else "L")


def test_uncertain_site_leaves_body_part_absent_and_side_empty() -> None:
    source = VARIANTS["dx"]
    made = anatomy(source, result(source, finding(site_is_certain=False)))
    assert "BodyPartExamined" not in made and made.Laterality == ""


def test_laterality_of_regions_with_different_sides_is_empty() -> None:
    source = VARIANTS["dx"]
    both = result(source, finding(), finding(laterality=Laterality.RIGHT))
    assert anatomy(source, both).Laterality == ""
    assert anatomy(source, unanalysed(source)).Laterality == "L"
    assert source.SOPClassUID == DigitalXRayImageStorageForPresentation


BROKEN = sorted(
    {
        *TYPE_2, *TYPE_3, *EQUIPMENT, *(edge for edges in EDGES.values() for edge in edges),
        "SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "SpecificCharacterSet", "ImageLaterality",
        "Laterality", "BodyPartExamined", "PatientOrientation", "RequestAttributesSequence", "ShutterShape",
        "ContributingEquipmentSequence", "PixelSpacing", "ImagerPixelSpacing", "BurnedInAnnotation", "RescaleType",
        "EstimatedRadiographicMagnificationFactor", "LossyImageCompressionRatio", "PresentationLUTShape",
        "AnatomicRegionSequence",
    }
)  # fmt: skip


@pytest.mark.parametrize(
    "garbage", [b"\xff\xfe\xfd\x80/\\^=\x1b$B", b"\\\\\\", b" "], ids=["bytes", "separators", "blank"]
)
@pytest.mark.parametrize("keyword", BROKEN)
def test_attribute_of_garbage_leaves_every_object_valid(keyword: str, garbage: bytes) -> None:
    source = received(changed("garbage", ShutterShape="RECTANGULAR"))
    tag = Tag(keyword)
    source[tag] = RawDataElement(tag, dictionary_VR(tag), len(garbage), garbage, 0, False, True)
    given = answered(source)
    of_study = study(given), {given.sop_instance_uid: source}
    rgb = np.zeros((60, 50, 3), np.uint8)
    for made in (key_objects(*of_study), state(source, given), secondary_capture(source, given, rgb)):
        read = dataset_from_bytes(part10_bytes(made))
        assert read.StudyInstanceUID == source.StudyInstanceUID
        assert str(read)


NOT_COPIED = {
    # of animals
    "StrainDescription", "StrainNomenclature", "StrainStockSequence", "StrainAdditionalInformation",
    "StrainCodeSequence", "GeneticModificationsSequence", "PatientSpeciesDescription", "PatientSpeciesCodeSequence",
    "PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence", "PatientSexNeutered",
    # pairs that a gap would break, photographs, and sizes that belong to one exposure
    "PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar", "PatientAlternativeCalendar",
    "ResponsiblePerson", "ResponsiblePersonRole", "ResponsibleOrganization",
    "ReferencedPatientPhotoSequence", "MeasuredAPDimension", "MeasuredLateralDimension",
    # dciodvfy knows them in no image
    "RequestingService", "RequestingServiceCodeSequence",
    # written by its own name
    "StudyInstanceUID",
}  # fmt: skip


@pytest.mark.parametrize("module", ["patient", "general-study", "patient-study"])
def test_module_attributes_are_copied_or_listed_as_not_copied(module: str) -> None:
    """Compare with the module tables of the Standard that highdicom carries."""
    tables = Path(highdicom.__file__).parent / "_standard" / "module_attribute_map.json"
    attributes = {a["keyword"] for a in json.loads(tables.read_text())[module] if not a["path"]}
    assert attributes and attributes <= {*TYPE_2, *TYPE_3} | NOT_COPIED


def test_odd_uids_of_another_device_are_kept_in_every_output() -> None:
    """fo-dicom #859 and #1160: leading zeros and empty components name the study in the archive as they are."""
    study_uid, series_uid, instance_uid = "1.02.3", "1.2..05", "1.2.03.4."
    source = received(
        changed("dx", StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid, SOPInstanceUID=instance_uid)
    )
    made = {kind: dataset_from_bytes(part10_bytes(ds)) for kind, ds in objects(source).items() if kind != "rejection"}
    for kind, ds in made.items():
        assert ds.StudyInstanceUID == study_uid, kind
        assert instance_uid in str(ds), kind
        assert ds.SOPInstanceUID != instance_uid and ds.SeriesInstanceUID != series_uid, kind
    assert all(series_uid in str(made[kind]) for kind in ("sr", "ko", "pr"))
    given = study(answered(source))
    examination = read_examination(source)
    assert study_uid in oru_r01(given, examination, profiles.hl7()).decode()
    assert f"urn:oid:{study_uid}" in transaction(given, examination, profiles.fhir()).decode()
