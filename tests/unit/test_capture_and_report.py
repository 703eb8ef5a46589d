"""Secondary Capture and Structured Report: in the source's study, deterministic, read by other programs."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from appliance.config import Picture
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.objects.structured_report import CODED, structured_report
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.domain.codes import PRESENCES, SITES
from appliance.domain.finding import Answer, Finding, UnreadRegion, Verdict, Withheld
from appliance.domain.identifiers import Laterality, Site, is_valid_uid
from appliance.domain.result import SECOND_READER, Result
from appliance.domain.sentence import Sentence
from tests.support.peers import Peer
from tests.support.results import finding, result, study, unanalysed
from tests.support.sources import changed, variants

VARIANTS = variants()
RESULTS: dict[str, Callable[[Dataset], Result]] = {
    "positive": result,
    "several": lambda ds: result(ds, finding(), finding(0.4), finding(0.1), caveats=(Sentence.of("a cast was seen"),)),
    "no side": lambda ds: result(ds, finding(site=Site.PELVIS, laterality=Laterality.UNKNOWN)),
    "not analysed": unanalysed,
}
RGB = np.random.default_rng(3).integers(0, 256, (61, 51, 3), np.uint8)


def sc(source: Dataset, given: Result) -> Dataset:
    return secondary_capture(source, given, RGB)


def sr(source: Dataset, given: Result) -> Dataset:
    return structured_report(study(given), {given.sop_instance_uid: source})


MAKERS = {"sc": sc, "sr": sr}
SAID = {"sc": lambda given: given, "sr": study}


@pytest.fixture(params=VARIANTS)
def source(request: pytest.FixtureRequest) -> Dataset:
    return VARIANTS[request.param]


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_capture_copies_burned_in_annotation_of_its_source() -> None:
    source = copy.deepcopy(VARIANTS["dx"])
    for value in ("YES", "NO"):
        source.BurnedInAnnotation = value
        assert dataset_from_bytes(part10_bytes(sc(source, result(source)))).BurnedInAnnotation == value
    del source.BurnedInAnnotation
    assert "BurnedInAnnotation" not in dataset_from_bytes(part10_bytes(sc(source, result(source))))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {
                "PixelSpacing": [0.1, 0.2],
                "PixelSpacingCalibrationType": "FIDUCIAL",
                "PixelSpacingCalibrationDescription": "ball",
                "ImagerPixelSpacing": [0.3, 0.3],
            },
            {"PixelSpacing": [0.1, 0.2], "PixelSpacingCalibrationType": "FIDUCIAL"},
        ),
        ({"PixelSpacing": [0.1, 0.2], "PixelSpacingCalibrationType": "FIDUCIAL"}, {"PixelSpacing": [0.1, 0.2]}),
        (
            {"ImagerPixelSpacing": [0.15, 0.15], "EstimatedRadiographicMagnificationFactor": 1.25},
            {"PixelSpacing": [0.12, 0.12], "PixelSpacingCalibrationType": "GEOMETRY"},
        ),
        ({"ImagerPixelSpacing": [0.15, 0.15]}, {"NominalScannedPixelSpacing": [0.15, 0.15]}),
        ({"ImagerPixelSpacing": [0, 0.15]}, {}),
        ({}, {}),
    ],
)
def test_capture_has_the_pixel_spacing_of_its_source(
    given: dict[str, object], expected: dict[str, object], peer: Peer, tmp_path: Path
) -> None:
    source = copy.deepcopy(VARIANTS["dx"])
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        source.pop(keyword, None)
    for keyword, value in given.items():
        setattr(source, keyword, value)
    file = tmp_path / "sc.dcm"
    file.write_bytes(part10_bytes(sc(source, result(source))))
    made = dataset_from_bytes(file.read_bytes())
    keywords = ("PixelSpacing", "PixelSpacingCalibrationType", "NominalScannedPixelSpacing")
    assert {k: made[k].value for k in keywords if k in made} == expected
    said = subprocess.run([peer("dciodvfy"), file], check=False, capture_output=True, text=True, errors="replace")
    assert "Spacing" not in said.stdout + said.stderr


@pytest.mark.parametrize("outcome", RESULTS)
@pytest.mark.proves("MIS-5")
def test_object_passes_dciodvfy(
    source: Dataset,
    kind: str,
    outcome: str,
    peer: Peer,
    tmp_path: Path,
) -> None:
    file = tmp_path / "answer.dcm"
    file.write_bytes(part10_bytes(MAKERS[kind](source, RESULTS[outcome](source))))
    judged = subprocess.run([peer("dciodvfy"), file], check=False, capture_output=True, text=True, errors="replace")
    said = judged.stdout + judged.stderr
    assert "SCImage" in said or "Comprehensive3DSR" in said, said
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_same_result_gives_the_same_bytes(source: Dataset, kind: str) -> None:
    once, again = (part10_bytes(MAKERS[kind](source, result(source))) for _ in range(2))
    assert once == again


def test_every_date_comes_from_source_or_result(source: Dataset, kind: str) -> None:
    later = replace(result(source), created_at=result(source).created_at + timedelta(days=400))
    made = dataset_from_bytes(part10_bytes(MAKERS[kind](source, later)))
    dates = {str(e.value) for e in made.iterall() if e.VR == "DA" and e.value}
    assert dates <= {"20260102", "20270206", "19700131"}


@pytest.mark.proves("SAF-9")
def test_patient_study_and_order_are_copied_from_the_source(kind: str) -> None:
    source = VARIANTS["dx"]
    made = dataset_from_bytes(part10_bytes(MAKERS[kind](source, result(source))))
    for keyword in (
        "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
        "StudyTime", "StudyID", "AccessionNumber", "StudyDescription",
    ):  # fmt: skip
        assert made[keyword].value == source[keyword].value, keyword
    assert str(made.PatientName) == "Weiß^Änne"
    assert str(made.ReferringPhysicianName) == "Müller^Jörg"
    assert made.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "RIS"


def test_names_in_other_scripts_are_copied_unchanged(kind: str) -> None:
    for name in ("japanese", "utf8"):
        source = VARIANTS[name]
        made = dataset_from_bytes(part10_bytes(MAKERS[kind](source, result(source))))
        assert str(made.PatientName) == str(source.PatientName)
    assert "山田" in str(VARIANTS["japanese"].PatientName)


def test_attributes_missing_in_the_source_are_empty(kind: str) -> None:
    source = VARIANTS["gaps"]
    made = MAKERS[kind](source, result(source))
    assert made.PatientID == "" and made.AccessionNumber == "" and made.StudyDate == ""


def test_unusable_values_of_the_source_are_left_out(kind: str) -> None:
    source = VARIANTS["broken"]
    made = MAKERS[kind](source, result(source))
    assert made.PatientSex == "" and made.PatientBirthDate == "" and "PatientSize" not in made
    assert made.PatientID == "PID-4711"


def test_object_has_a_series_and_a_description_of_its_own(kind: str) -> None:
    source = VARIANTS["dx"]
    made = MAKERS[kind](source, result(source))
    other = MAKERS["sr" if kind == "sc" else "sc"](source, result(source))
    assert len({made.SeriesNumber, other.SeriesNumber, source.SeriesNumber}) == 3
    assert len({made.SeriesInstanceUID, other.SeriesInstanceUID, source.SeriesInstanceUID}) == 3
    assert "AI second reader" in made.SeriesDescription and "SYNTHETIC" in made.SeriesDescription
    assert len(made.SeriesDescription) <= 64
    assert made.ManufacturerModelName == "Osteon"
    assert is_valid_uid(made.SOPInstanceUID) and made.SOPInstanceUID == SAID[kind](result(source)).uid(kind)


def test_real_pack_is_not_called_synthetic(kind: str) -> None:
    source = VARIANTS["dx"]
    real = replace(result(source), provenance=replace(result(source).provenance, pack_is_synthetic=False))
    assert b"SYNTHETIC" not in part10_bytes(MAKERS[kind](source, real))


def test_series_number_differs_from_that_of_the_source(kind: str) -> None:
    source = variants()["dx"]
    own_number = MAKERS[kind](source, result(source)).SeriesNumber
    source.SeriesNumber = own_number
    assert MAKERS[kind](source, result(source)).SeriesNumber != own_number


def test_times_are_in_the_time_zone_of_the_source(kind: str) -> None:
    source = VARIANTS["cr"]
    assert MAKERS[kind](source, result(source)).ContentTime == "154530"  # 10:15:30 UTC at +05:30


def test_capture_holds_the_pixels_and_refers_to_its_source() -> None:
    source = VARIANTS["monochrome1"]
    made = dataset_from_bytes(part10_bytes(secondary_capture(source, result(source), RGB, Picture(compression="none"))))
    np.testing.assert_array_equal(made.pixel_array, RGB)
    assert made.Laterality == "L"
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert str(SECOND_READER) in made.ImageComments


@pytest.mark.parametrize("rgb", [RGB[0, 0], RGB.astype(np.uint16), RGB[..., :2]])
def test_capture_of_pixels_that_are_no_rgb_is_refused(rgb: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        secondary_capture(VARIANTS["dx"], result(VARIANTS["dx"]), rgb)


def test_structured_report_is_preliminary_and_unverified() -> None:
    made = sr(VARIANTS["dx"], result(VARIANTS["dx"]))
    assert made.PreliminaryFlag == "PRELIMINARY" and made.VerificationFlag == "UNVERIFIED"
    assert made.ReferencedRequestSequence[0].RequestedProcedureID == "RP1"


def dumped(peer: Peer, tmp_path: Path, given: Result, source: Dataset) -> str:
    file = tmp_path / "sr.dcm"
    file.write_bytes(part10_bytes(sr(source, given)))
    read = subprocess.run([peer("dsrdump"), "+Pl", file], capture_output=True, text=True, check=True)
    return read.stdout


def test_dsrdump_reads_each_finding_of_a_structured_report(peer: Peer, tmp_path: Path) -> None:
    source = VARIANTS["dx"]
    given = result(source, finding(), finding(0.4, laterality=Laterality.RIGHT))
    said = dumped(peer, tmp_path, given, source)
    assert said.count('CODE:(,,"Finding")=(125605004,SCT,"Fracture of bone")') == 2
    assert said.count('CODE:(,,"Finding")=(74670003,SCT,"Wrist joint")') == 2
    assert '"wrist L: fracture suspected (region 1)"' in said and '"wrist R: possible fracture (region 2)"' in said
    assert '(74670003,SCT,"Wrist joint")' in said
    assert '(7771000,SCT,"Left")' in said and '(24028007,SCT,"Right")' in said
    assert 'NUM:(,,"Probability of a fracture")="0.87" (1,UCUM,"no units")' in said
    assert '(415684004,SCT,"Suspected")' in said and '(121059,DCM,"Presence Undetermined")' in said
    assert "POLYLINE,10/12.5,40/12.5,40/45,10/45,10/12.5" in said
    assert '"bones (SYNTHETIC)"' in said and '"1.2.0"' in said


def test_dsrdump_reads_the_reason_of_a_radiograph_not_analysed(peer: Peer, tmp_path: Path) -> None:
    said = dumped(peer, tmp_path, unanalysed(VARIANTS["cr"]), VARIANTS["cr"])
    assert "Not analysed: this pack has no engine for ribs [no_engine]" in said
    assert "Measurement Group" not in said and "CR image" in said
    assert '"Fracture of bone"' not in said


MARK = ((12.0, 14.0), (20.0, 14.0), (16.0, 22.0))


def measured(made: Dataset) -> list[Dataset]:
    """Return the measurement groups of a report."""
    return [
        group for container in named(made, "Imaging Measurements") for group in named(container, "Measurement Group")
    ]


def named(parent: Dataset, meaning: str) -> list[Dataset]:
    """Return the content items of `parent` whose name has that `meaning`."""
    items = parent.get("ContentSequence") or ()
    return [item for item in items if item.ConceptNameCodeSequence[0].CodeMeaning == meaning]


def coded(item: Dataset) -> str:
    return str(item.ConceptCodeSequence[0].CodeMeaning)


def answers_of(made: Dataset) -> list[tuple[str, set[str], bool]]:
    """Return each coded answer of a report: its value, its sites, and whether it is about one image."""
    (evaluations,) = named(made, "Qualitative Evaluations")
    return [
        (
            coded(item),
            {coded(site) for site in named(item, "Finding Site")},
            any(child.ValueType == "IMAGE" for child in item.ContentSequence),
        )
        for item in named(evaluations, "Fracture of bone")
    ]


def comments(made: Dataset) -> list[str]:
    (evaluations,) = named(made, "Qualitative Evaluations")
    return [str(item.TextValue) for item in named(evaluations, "Comment")]


def only(source: Dataset, *findings: Finding, **changes: object) -> Result:
    """Return a result that leaves no subject unread, with `changes`."""
    return replace(result(source, *findings), **({"not_read": ()} | changes))  # type: ignore[arg-type]  # names of fields


def test_mark_is_the_only_image_region_of_a_suspected_fracture() -> None:
    source = VARIANTS["dx"]
    fracture, area = measured(sr(source, only(source, finding(mark=MARK))))
    (region,) = named(fracture, "Image Region")
    assert region.GraphicType == "POLYLINE"
    assert list(region.GraphicData) == [12, 14, 20, 14, 16, 22, 12, 14]
    assert coded(named(fracture, "Finding")[0]) == "Fracture of bone"
    assert named(fracture, "Tracking Identifier")[0].TextValue == "wrist L: fracture suspected"
    (region,) = named(area, "Image Region")
    assert list(region.GraphicData) == [10, 12.5, 40, 12.5, 40, 45, 10, 45, 10, 12.5]
    assert coded(named(area, "Finding")[0]) == "Wrist joint"


def test_mark_outside_the_image_is_clipped() -> None:
    source = VARIANTS["dx"]
    fracture, _ = measured(sr(source, only(source, finding(mark=((-3.0, 14.0), (70.0, 14.0), (16.0, 80.0))))))
    (region,) = named(fracture, "Image Region")
    assert list(region.GraphicData) == [0, 14, 50, 14, 16, 60, 0, 14]


@pytest.mark.parametrize("withheld", [(), (Withheld.CUT,)])
def test_region_without_suspicion_is_no_group_of_a_fracture(withheld: tuple[Withheld, ...]) -> None:
    source = VARIANTS["dx"]
    (area,) = measured(sr(source, only(source, finding(0.1, withheld=withheld))))
    assert coded(named(area, "Finding")[0]) == "Wrist joint"
    assert named(area, "Presence of property") == []
    assert float(named(area, "Probability of a fracture")[0].MeasuredValueSequence[0].NumericValue) == 0.1


@pytest.mark.parametrize(("probability", "stated"), [(0.0, 0.001), (1.0, 0.999), (0.12345, 0.123)])
def test_probability_is_never_zero_or_one(probability: float, stated: float) -> None:
    assert finding(probability).stated_probability == stated
    said = comments(sr(VARIANTS["dx"], result(VARIANTS["dx"], finding(probability, fracture_share=0.13))))
    assert any(f"Probability of a fracture {stated:.3f}, calibrated on" in line for line in said)
    assert any("of which 13% show a fracture" in line for line in said)


def test_complete_negative_is_coded_absent_with_its_site() -> None:
    source = VARIANTS["dx"]
    assert answers_of(sr(source, only(source, finding(0.1)))) == [
        ("Absent", {"Wrist joint"}, False),
        ("Absent", {"Wrist joint"}, True),
    ]


INCOMPLETE: dict[str, Callable[[Dataset], Result]] = {
    "subject not read": lambda ds: result(ds, finding(0.1)),
    "named by the header": lambda ds: only(ds, finding(0.1), not_read=(UnreadRegion(site=Site.ELBOW),)),
    "bone outside": lambda ds: only(ds, finding(0.1), incomplete=(Sentence.of("bone is visible outside the regions"),)),
    "not cleared": lambda ds: only(ds, finding(0.1, withheld=(Withheld.CUT,))),
    "not analysed": unanalysed,
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_incomplete_answer_has_no_code(case: str) -> None:
    source = VARIANTS["dx"]
    made = sr(source, INCOMPLETE[case](source))
    assert answers_of(made) == []
    assert "Absent" not in str(made)


def test_study_with_a_radiograph_not_analysed_is_not_coded_absent() -> None:
    first, second = VARIANTS["dx"], changed("second", StudyInstanceUID=VARIANTS["dx"].StudyInstanceUID)
    sources = {ds.SOPInstanceUID: ds for ds in (first, second)}
    made = structured_report(study(only(first, finding(0.1)), unanalysed(second)), sources)
    assert answers_of(made) == [("Absent", {"Wrist joint"}, True)]
    assert any(line.startswith("Study: incomplete") for line in comments(made))


def test_report_names_everything_that_was_not_read_and_the_reason() -> None:
    source = VARIANTS["dx"]
    given = only(
        source,
        finding(0.1, withheld=(Withheld.CUT, Withheld.POLARITY)),
        not_read=(UnreadRegion(site=Site.ELBOW), UnreadRegion(site=Site.FOREARM, box=finding().box)),
        not_assessed=(UnreadRegion(site=Site.HAND, box=finding().box),),
        incomplete=(Sentence.of("bone is visible outside the regions that were recognised"),),
    )
    said = comments(sr(source, given))
    assert "Radiograph: incomplete; NOT READ OR NOT CLEARED: elbow, forearm, left wrist" in said
    assert "Not read: elbow (named by the header, not recognised in the picture)" in said
    assert "Not read: forearm (recognised in the picture, read by no engine)" in said
    assert "Incomplete: bone is visible outside the regions that were recognised" in said
    assert "Not assessed, at the margin of the picture: hand" in said
    (line,) = (line for line in said if line.startswith("left wrist: not cleared"))
    assert str(Withheld.CUT.sentence) in line and str(Withheld.POLARITY.sentence) in line


def test_notes_on_a_study_are_comments() -> None:
    source = VARIANTS["dx"]
    given = study(result(source), notes=(Sentence.of("two radiographs came late"),))
    assert "two radiographs came late" in comments(structured_report(given, {source.SOPInstanceUID: source}))


def test_suspicion_at_an_uncertain_site_has_a_mark_but_neither_site_nor_side() -> None:
    source = VARIANTS["dx"]
    made = sr(source, only(source, finding(site_is_certain=False, mark=MARK)))
    assert answers_of(made) == []
    fracture, area = measured(made)
    assert coded(named(fracture, "Presence of property")[0]) == "Suspected"
    assert coded(named(area, "Finding")[0]) == "Body structure"
    for group in (fracture, area):
        assert named(group, "Finding Site") == []
        assert named(group, "Tracking Identifier")[0].TextValue.startswith("site uncertain: ")


def test_pelvis_is_coded_as_pelvis_and_hip() -> None:
    source = VARIANTS["pelvis"]
    made = sr(source, only(source, finding(0.1, site=Site.PELVIS, laterality=Laterality.UNKNOWN)))
    assert [sites for _, sites, _ in answers_of(made)] == [{"Pelvis", "Hip joint"}] * 2
    (area,) = measured(made)
    assert {coded(site) for site in named(area, "Finding Site")} == {"Pelvis", "Hip joint"}
    assert str(Site.PELVIS.label) == "pelvis and hip"


def test_image_library_names_body_part_side_and_view() -> None:
    source = copy.deepcopy(VARIANTS["dx"])
    source.ViewPosition = "PA"
    (library,) = named(sr(source, result(source)), "Image Library")
    (group,) = named(library, "Image Library Group")
    (entry,) = group.ContentSequence
    assert {item.ConceptNameCodeSequence[0].CodeMeaning: coded(item) for item in entry.ContentSequence} == {
        "Modality": "Digital Radiography",
        "Target Region": "Wrist joint",
        "Image Laterality": "Left",
        "Image View": "postero-anterior",
    }


def test_each_site_and_each_answer_that_is_coded_has_a_code() -> None:
    assert set(SITES) == set(Site)
    assert {*Verdict} == {Verdict(value) for value in PRESENCES}
    assert set(CODED) == set(Answer) - {Answer.NOT_ANALYSED, Answer.INCOMPLETE}
