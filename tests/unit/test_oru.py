"""ORU^R01: preliminary, coded, grouped, deterministic, and no name can break out of its field."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hl7
import pytest
from hl7apy.parser import parse_message
from pydicom.dataset import Dataset

from appliance.dicom.reading.order import read_examination
from appliance.domain.finding import Box, UnreadRegion, Withheld
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.result import SECOND_READER, Result
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.errors import Rejected
from appliance.reporting.hl7.message import CODECS, escape
from appliance.reporting.hl7.oru import oru_r01, oru_withdrawal
from appliance.reporting.hl7.segments import control_id
from appliance.reporting.hl7.values import filler_number
from appliance.reporting.wording import POPULATION, headline, limits
from tests.support.hl7_rules import Message, field, violations
from tests.support.profiles import hl7 as profile
from tests.support.results import finding, result, revised, study, unanalysed
from tests.support.sources import variants

VARIANTS = variants()
VERSIONS = ("2.3.1", "2.4", "2.5.1")


def message(source: Dataset, *given: Result, **settings: Any) -> Message:
    return said(study(*given), source, **settings)


def said(given: StudyResult, source: Dataset, **settings: Any) -> Message:
    content = oru_r01(given, read_examination(source), profile(**settings))
    return Message(content.decode(CODECS[settings.get("character_set", "UNICODE UTF-8")]))


def several(source: Dataset) -> list[Result]:
    """Two radiographs of the study: one with three regions, one that was not analysed."""
    other = replace(unanalysed(source), sop_instance_uid=f"{source.SOPInstanceUID}.1")
    return [result(source, finding(), finding(0.4), finding(0.1), caveats=(Sentence.of("a cast was seen"),)), other]


MAKERS: dict[str, Callable[[Dataset], list[Result]]] = {
    "positive": lambda ds: [result(ds)],
    "several": several,
    "no side": lambda ds: [result(ds, finding(site=Site.PELVIS, laterality=Laterality.UNKNOWN))],
    "not analysed": lambda ds: [unanalysed(ds)],
}


@pytest.mark.parametrize(("number", "variant"), list(enumerate(VARIANTS)))
def test_message_of_every_source_keeps_the_rules(number: int, variant: str) -> None:
    source = VARIANTS[variant]
    other = list(CODECS)[number % len(CODECS)]
    for version, character_set in (("2.3.1", "UNICODE UTF-8"), ("2.4", other), ("2.5.1", other)):
        made = message(source, *several(source), version=version, character_set=character_set)
        assert violations(made.text) == []
        assert made.value("MSH", 12) == version and made.value("MSH", 18) == character_set


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("make", MAKERS)
def test_message_of_every_answer_keeps_the_rules(version: str, make: str) -> None:
    made = message(VARIANTS["dx"], *MAKERS[make](VARIANTS["dx"]), version=version)
    assert violations(made.text) == []
    assert made.value("OBR", 25) == "P" and {obx[11] for obx in made.all("OBX")} == {"P"}
    assert made.value("OBR", 3).endswith("^OSTEON") and "99OSTEON" in made.value("OBR", 4)


@pytest.mark.parametrize("make", MAKERS)
def test_message_of_every_answer_is_read_by_a_second_parser(make: str) -> None:
    source = VARIANTS["japanese"]
    text = message(source, *MAKERS[make](source)).text
    parsed = hl7.parse(text)
    assert str(parsed).rstrip("\r") == text.rstrip("\r")
    assert parsed["MSH.F9.R1.C3"] == "ORU_R01" and parsed.extract_field("PID", field_num=5, repeat_num=2) == "山田"
    assert str(parsed.segments("OBX")[0][3]) == "IMPRESSION^Impression^99OSTEON"
    first = parsed.unescape(parsed.extract_field("OBX", field_num=5))
    assert first.startswith(str(study(*MAKERS[make](source)).answer.label).upper())


def test_region_of_each_radiograph_has_its_own_group() -> None:
    source = VARIANTS["dx"]
    made = message(source, *several(source))
    expected = {
        ("RADIOGRAPH", "1"): source.SOPInstanceUID,
        ("ANSWER", "1.1"): "415684004^Suspected^SCT",
        ("PROBABILITY", "1.1"): "0.870",
        ("SITE", "1.1"): "74670003^Wrist joint^SCT",
        ("SIDE", "1.1"): "7771000^Left^SCT",
        ("FOCUS", "1.1"): "0.910",
        ("ANSWER", "1.2"): "121059^Presence Undetermined^DCM",
        ("ANSWER", "1.3"): "272519000^Absent^SCT",
        ("NOT-ANALYSED", "1.4"): "not read: hand",
        ("RADIOGRAPH", "2"): f"{source.SOPInstanceUID}.1",
        ("NOT-ANALYSED", "2"): "this pack has no engine for ribs [no_engine]",
        ("IMPRESSION", "0.1"): "FRACTURE SUSPECTED - left wrist. NOT READ: hand. 1 of 2 radiographs NOT ANALYSED",
        ("IMPRESSION", "0.2"): str(SECOND_READER),
        ("IMPRESSION", "0.3"): "radiographs are numbered in order of analysis",
        ("IMPRESSION", "0.4"): "radiograph 1: left wrist: fracture suspected, probability 87%",
        ("IMPRESSION", "0.7"): "radiograph 1: not read: hand",
        ("IMPRESSION", "0.8"): "radiograph 2: not analysed: this pack has no engine for ribs",
        ("IMPRESSION", "0.9"): "a cast was seen",
        ("IMPRESSION", "0.10"): str(POPULATION),
        ("MODEL", "0"): "bones (SYNTHETIC) 1.2.0 0123456789ab",
        ("REVISION", "0"): "1",
        ("121022", "0"): "ACC-77",
        ("113014", "0"): source.StudyInstanceUID,
    }
    assert {key: made.observation(*key)[5] for key in expected} == expected
    assert not [obx for obx in made.all("OBX") if obx[4].startswith("2.")]


def test_region_without_a_side_has_no_side_observation() -> None:
    made = message(VARIANTS["dx"], *MAKERS["no side"](VARIANTS["dx"]))
    assert "SIDE^" not in made.text and made.observation("SITE", "1.1")[5] == "12921003^Pelvis^SCT"


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        ({}, ["A", "", ""]),
        ({"flagged": ["positive", "doubt"]}, ["A", "A", ""]),
        ({"flagged": []}, ["", "", ""]),
        ({"normal_flag": True}, ["A", "", ""]),
        ({"flag": "none"}, ["", "", ""]),
        ({"flag": "orm"}, ["", "", ""]),
    ],
)
def test_abnormal_flag_follows_the_sites_settings(settings: dict[str, Any], flags: list[str]) -> None:
    made = message(VARIANTS["dx"], *several(VARIANTS["dx"]), **settings)
    assert [field(made.observation("ANSWER", f"1.{n}"), 8) for n in (1, 2, 3)] == flags
    assert {field(obx, 8) for obx in made.all("OBX") if not obx[3].startswith("ANSWER")} == {""}


def first_sentence(*given: Result) -> str:
    return message(VARIANTS["dx"], *given).observation("IMPRESSION", "0.1")[5]


def negative(*unread: Site) -> Result:
    """Make a radiograph with a cleared wrist and `unread` subjects."""
    return replace(result(VARIANTS["dx"], finding(0.1)), not_read=tuple(UnreadRegion(site=site) for site in unread))


def test_first_sentence_of_an_incomplete_study_says_what_was_not_read_once() -> None:
    given = negative(Site.ELBOW, Site.FOREARM, Site.ELBOW)
    made = message(VARIANTS["dx"], given)
    expected = "INCOMPLETE - left wrist: no fracture found. NOT READ: elbow, forearm"
    assert made.all("OBX")[0][5] == expected
    assert [o[5] for o in made.all("OBX") if o[3].startswith("NOT-ANALYSED")] == [
        "not read: elbow",
        "not read: forearm",
    ]
    assert not [o for o in made.all("OBX")[1:] if o[3].startswith("IMPRESSION") and "elbow" in o[5]]


def test_first_sentence_names_each_place_with_its_gravest_verdict() -> None:
    assert first_sentence(negative()) == "NO FRACTURE FOUND - left wrist"
    other = replace(negative(), findings=(finding(0.4), finding(0.1, site=Site.KNEE)))
    assert (
        first_sentence(negative(), other)
        == "POSSIBLE FRACTURE - left wrist. left knee: no fracture found. left wrist: seen in 1 of 2 views"
    )
    assert first_sentence(unanalysed(VARIANTS["dx"])) == "NOT ANALYSED - this pack has no engine for ribs"
    dark = replace(negative(), incomplete=(Sentence.of("bone is visible outside"),))
    assert first_sentence(dark) == "INCOMPLETE - left wrist: no fracture found. bone is visible outside"


def test_first_sentence_of_a_study_with_a_radiograph_left_out_says_so_once() -> None:
    note = Sentence.of("1 of 2 radiographs name another patient")
    given = replace(study(negative()), notes=(note,), left_out=1)
    assert headline(given) == "INCOMPLETE - left wrist: no fracture found. 1 of 2 radiographs name another patient"
    assert note not in limits(given)


def test_region_that_is_not_cleared_has_a_reason_and_no_code() -> None:
    withheld = finding(0.1, withheld=(Withheld.CUT,))
    made = message(VARIANTS["dx"], replace(negative(), findings=(withheld,)), normal_flag=True)
    assert violations(made.text) == [] and "ANSWER^" not in made.text
    assert made.observation("NOT-ANALYSED", "1.1")[5] == f"not cleared: {Withheld.CUT.sentence}"
    assert made.all("OBX")[0][5] == "INCOMPLETE - NOT CLEARED: left wrist"
    assert {field(obx, 8) for obx in made.all("OBX")} == {""}


def test_normal_flag_is_for_negative_studies_on_request_only() -> None:
    given = negative()
    for settings, flag in (({}, ""), ({"normal_flag": True}, "N"), ({"normal_flag": True, "flag": "none"}, "")):
        assert field(message(VARIANTS["dx"], given, **settings).observation("ANSWER", "1.1"), 8) == flag
    incomplete = message(VARIANTS["dx"], negative(Site.ELBOW), normal_flag=True)
    assert {field(obx, 8) for obx in incomplete.all("OBX")} == {""}


def test_incomplete_study_is_flagged_on_request_only() -> None:
    made = message(VARIANTS["dx"], negative(Site.ELBOW), flagged=["positive", "incomplete"])
    assert field(made.observation("NOT-ANALYSED", "1.2"), 8) == "A"
    assert field(made.observation("ANSWER", "1.1"), 8) == ""
    assert field(message(VARIANTS["dx"], negative(Site.ELBOW)).observation("NOT-ANALYSED", "1.2"), 8) == ""


def test_region_of_uncertain_site_names_neither_site_nor_side() -> None:
    made = message(VARIANTS["dx"], replace(negative(), findings=(finding(site_is_certain=False),)))
    assert made.all("OBX")[0][5] == "FRACTURE SUSPECTED - site uncertain"
    assert "SITE^" not in made.text and "SIDE^" not in made.text and "wrist" not in made.text


@pytest.mark.parametrize(("probability", "told"), [(0.0, "0.001"), (1.0, "0.999"), (0.87, "0.870")])
def test_probability_is_never_certain(probability: float, told: str) -> None:
    given = result(VARIANTS["dx"], finding(probability))
    assert message(VARIANTS["dx"], given).observation("PROBABILITY", "1.1")[5] == told


def test_mark_is_described_by_its_place_in_the_region() -> None:
    given = finding(box=Box(x0=0, y0=0, x1=90, y1=90), mark=((61.0, 2.0), (80.0, 2.0), (80.0, 20.0)))
    made = message(VARIANTS["dx"], result(VARIANTS["dx"], given))
    expected = "mark in the upper third of the region at the right of the picture, at x 61 to 80 and y 2 to 20 px"
    assert made.observation("MARK", "1.1")[5] == expected
    assert expected in made.observation("IMPRESSION", "0.3")[5].replace("~", " ")
    assert "MARK^" not in message(VARIANTS["dx"], result(VARIANTS["dx"], replace(given, probability=0.1))).text


def test_radiograph_is_named_by_its_view() -> None:
    frontal, lateral = copy.deepcopy(VARIANTS["dx"]), copy.deepcopy(VARIANTS["dx"])
    lateral.SOPInstanceUID = f"{frontal.SOPInstanceUID}.1"
    for source, view, number in ((frontal, "PA", 1), (lateral, "LL", 2)):
        source.ViewPosition, source.InstanceNumber = view, number
    given = study(result(frontal), replace(result(lateral), findings=(finding(0.1),)))
    content = oru_r01(given, read_examination(lateral, (frontal, lateral)), profile())
    text = content.decode()
    assert "PA view, image 1: left wrist: fracture suspected" in text and "LL view, image 2: left wrist: no" in text
    assert "radiograph 2" not in text and "order of analysis" not in text


def test_each_observation_names_equipment_and_time_of_analysis_since_2_4() -> None:
    for version in VERSIONS:
        made = message(VARIANTS["dx"], result(VARIANTS["dx"]), version=version)
        equipment = "Osteon 0.1.0^OSTEON~bones (SYNTHETIC) 1.2.0 0123456789ab^OSTEON"
        told = {(field(obx, 18), field(obx, 19)) for obx in made.all("OBX")}
        assert told == ({("", "")} if version == "2.3.1" else {(equipment, made.value("MSH", 7))})


def test_report_names_the_order_and_has_its_own_filler_number() -> None:
    made = message(VARIANTS["dx"], result(VARIANTS["dx"]))
    zone = made.value("MSH", 7)[14:]
    assert made.value("OBR", 18) == "ACC-77" and made.value("OBR", 7) == f"20260102101112{zone}" and len(zone) == 5


def ordered(placer: str = "PL^1", filler: str = "FI-1") -> Dataset:
    """Return a source with the numbers of its imaging order."""
    source = copy.deepcopy(VARIANTS["dx"])
    source.RequestAttributesSequence[0].PlacerOrderNumberImagingServiceRequest = placer
    source.RequestAttributesSequence[0].FillerOrderNumberImagingServiceRequest = filler
    return source


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("profile_order", "placer", "filler", "parent"),
    [
        ("own", "", "ours", "PL\\S\\1^FI-1"),
        ("placer", "PL\\S\\1", "ours", ""),
        ("accession", "PL\\S\\1", "FI-1", ""),
    ],
)
def test_report_belongs_to_the_order_of_the_profile(
    profile_order: str, placer: str, filler: str, parent: str, version: str
) -> None:
    source = ordered()
    ours = f"{filler_number(source.StudyInstanceUID)}^OSTEON"
    made = message(source, result(source), order=profile_order, version=version)
    assert violations(made.text) == []
    assert (made.value("OBR", 2), made.value("OBR", 3)) == (placer, ours if filler == "ours" else filler)
    assert (made.value("ORC", 2), made.value("ORC", 3)) == (made.value("OBR", 2), made.value("OBR", 3))
    assert made.value("OBR", 29) == made.value("ORC", 8) == parent and made.value("OBR", 25) == "P"
    taken_back = oru_withdrawal(study(result(source)), read_examination(source), profile(order=profile_order))
    numbers = [Message(taken_back.decode()).value("OBR", number) for number in (2, 3, 25, 29)]
    assert numbers == [made.value("OBR", number) for number in (2, 3, 25, 29)], "a withdrawal names the same order"


@pytest.mark.parametrize(
    ("profile_order", "placer", "filler", "number", "parent"),
    [
        ("own", "", "", "ours", "^ACC-77"),
        ("own", "PL-1", "", "ours", "PL-1^ACC-77"),
        ("accession", "", "", "ACC-77", ""),
    ],
)
def test_accession_number_stands_in_for_a_missing_filler_number(
    profile_order: str, placer: str, filler: str, number: str, parent: str
) -> None:
    source = ordered(placer, filler)
    made = message(source, result(source), order=profile_order)
    ours = f"{filler_number(source.StudyInstanceUID)}^OSTEON"
    assert made.value("OBR", 3) == (ours if number == "ours" else number) and made.value("OBR", 29) == parent


@pytest.mark.parametrize("profile_order", ["own", "placer", "accession"])
def test_report_on_a_study_without_an_order_has_our_own_number(profile_order: str) -> None:
    source = ordered("", "")
    source.AccessionNumber = ""
    del source.RequestAttributesSequence
    made = message(source, result(source), order=profile_order)
    assert made.value("OBR", 3).endswith("^OSTEON") and made.value("OBR", 2) == made.value("OBR", 29) == ""
    assert violations(made.text) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_loinc_codes_stand_where_the_site_sets_no_code(version: str) -> None:
    source = VARIANTS["dx"]
    settings: dict[str, Any] = {"observation_codes": "loinc", "observations": {"side": "L^Seite^99KH", "focus": ""}}
    made = message(source, *several(source), version=version, **settings)
    assert violations(made.text) == []
    assert made.all("OBX")[0][3] == "19005-8^Radiology Imaging study [Impression] (narrative)^LN"
    assert made.observation("39111-0", "1.1")[5] == "74670003^Wrist joint^SCT"
    assert made.observation("59776-5", "1.4")[5] == "not read: hand"
    assert made.observation("L", "1.1")[5] == "7771000^Left^SCT" and "FOCUS^" not in made.text
    assert made.observation("ANSWER", "1.1")[5] == "415684004^Suspected^SCT", "LOINC has no code for it"
    again = profile(**profile(**settings).model_dump())
    assert again == profile(**settings), "a profile that is written and read again is the same"


def test_revision_keeps_the_order_and_has_its_own_control_id() -> None:
    source = VARIANTS["dx"]
    first = study(result(source))
    pack = replace(result(source).provenance, pack_digest="f" * 64)
    second = revised(study(replace(result(source), provenance=pack), *several(source)))
    before, after = said(first, source), said(second, source)
    assert before.value("OBR", 3) == after.value("OBR", 3) and before.value("MSH", 10) != after.value("MSH", 10)
    assert after.value("OBR", 25) == "P" and after.observation("REVISION", "0")[5] == "2"
    corrected = said(second, source, revised_status="C")
    assert corrected.value("OBR", 25) == "C" and {obx[11] for obx in corrected.all("OBX")} == {"C"}
    assert violations(corrected.text) == []
    assert said(first, source, revised_status="C").value("OBR", 25) == "P"


@pytest.mark.parametrize("version", VERSIONS)
def test_withdrawal_repeats_every_observation_as_wrong(version: str) -> None:
    source = VARIANTS["dx"]
    given, site = study(*several(source)), profile(version=version, link="https://viewer/?{study_instance_uid}")
    made = Message(oru_withdrawal(given, read_examination(source), site, "wrong patient | side").decode())
    before = Message(oru_r01(given, read_examination(source), site).decode())
    assert violations(made.text) == []
    assert made.value("OBR", 3) == before.value("OBR", 3) and made.value("MSH", 10) != before.value("MSH", 10)
    assert made.value("OBR", 25) == "P" and {obx[11] for obx in made.all("OBX")} == {"W"}
    assert made.observation("IMPRESSION", "0.0")[5] == "WITHDRAWN: wrong patient \\F\\ side"
    assert {(o[3], o[4]) for o in before.all("OBX")} < {(o[3], o[4]) for o in made.all("OBX")}
    assert {field(obx, 8) for obx in made.all("OBX")} == {""}


def test_times_are_in_the_zone_of_the_source() -> None:
    ds = copy.deepcopy(VARIANTS["dx"])
    ds.TimezoneOffsetFromUTC = "+0200"
    made = message(ds, result(ds))
    assert made.value("OBR", 7) == "20260102101112+0200" and made.value("MSH", 7).endswith("+0200")


def test_radiograph_not_analysed_has_a_reason_and_no_code() -> None:
    text = message(VARIANTS["dx"], unanalysed(VARIANTS["dx"])).text
    assert "this pack has no engine for ribs [no_engine]" in text
    assert "ANSWER^" not in text and "PROBABILITY^" not in text


def test_patient_segment_holds_number_name_birth_date_and_sex() -> None:
    made = message(VARIANTS["dx"], result(VARIANTS["dx"]))
    assert made.value("PID", 3) == "PID-4711^^^HOSP^MR" and made.value("PID", 5) == "Weiß^Änne^^^^^L^A"
    assert made.value("PID", 7) == "19700131" and made.value("PID", 8) == "F"


def test_name_in_three_scripts_is_three_repetitions() -> None:
    made = message(VARIANTS["japanese"], result(VARIANTS["japanese"]))
    assert [r.split("^")[0] for r in made.value("PID", 5).split("~")] == ["Yamada", "山田", "やまだ"]
    latin = message(VARIANTS["japanese"], result(VARIANTS["japanese"]), character_set="8859/1")
    assert latin.value("PID", 5) == "Yamada^Tarou^^^^^L^A"


def test_patient_without_a_number_gets_the_study_uid() -> None:
    source = VARIANTS["gaps"]
    assert message(source, result(source)).value("PID", 3) == f"{source.StudyInstanceUID}^^^OSTEON^U"


@pytest.mark.parametrize(("character_set", "name"), [
    ("UNICODE UTF-8", "Łukasiewicz-Ångström^Žofie Ðorđe^^^Dr."),
    ("ASCII", "?ukasiewicz-Angstrom^Zofie ?or?e^^^Dr."),
    ("8859/1", "?ukasiewicz-Ångström^Zofie Ðor?e^^^Dr."),
    ("8859/2", "Łukasiewicz-Angström^Žofie ?orđe^^^Dr."),
    ("8859/15", "?ukasiewicz-Ångström^Žofie Ðor?e^^^Dr."),
])  # fmt: skip
def test_letter_missing_in_the_character_set_loses_its_accent_or_becomes_a_question_mark(
    character_set: str, name: str
) -> None:
    source = VARIANTS["utf8"]
    assert message(source, result(source), character_set=character_set).value("PID", 5) == f"{name}^^L^A"


def test_number_missing_in_the_character_set_is_refused() -> None:
    source = copy.deepcopy(VARIANTS["utf8"])
    source.PatientID = "Ł-4711"
    with pytest.raises(Rejected) as caught:
        message(source, result(source), character_set="8859/1")
    assert caught.value.code == "oru_characters" and "4711" not in str(caught.value)
    assert message(source, result(source)).value("PID", 3).startswith("Ł-4711")


def test_letter_that_resembles_a_delimiter_stays_a_letter() -> None:
    source = copy.deepcopy(VARIANTS["utf8"])
    source.PatientName = "Full｜width＾＆～＼ligature ﬁ ½"
    made = message(source, result(source), character_set="ASCII")
    assert made.value("PID", 5).split("^")[0] == "Full?width????ligature fi 12" and violations(made.text) == []


@pytest.mark.parametrize("character_set", ["UNICODE UTF-8", "8859/1"])
@pytest.mark.parametrize("name", [
    "O|Neil~&^A\\B", "Bad\rMSH|^", "X" * 900, "A" * 70 + "^" + "B" * 70, "Größe\t^\x0b\x1cEnd",
    "^^^^", "a^b^c^d^e^f^g", "\\X0D\\MSH", "a\u2028b\x85c", "\x1b$B", "=\udc80",
])  # fmt: skip
def test_name_with_any_characters_stays_in_its_field(name: str, character_set: str) -> None:
    source = variants()["utf8"]
    source.PatientName = name
    made = message(source, result(source), character_set=character_set)
    assert [s[0] for s in made.segments][:4] == ["MSH", "PID", "ORC", "OBR"]
    assert violations(made.text) == []
    (pid,) = made.all("PID")
    assert len(pid) == 9 and pid[8] == "F"


def test_escaped_name_is_read_back_by_two_parsers() -> None:
    source = variants()["utf8"]
    source.PatientName = "O'Neil & Sons|Ltd^A~B"
    text = message(source, result(source)).text
    name = parse_message(text.rstrip("\r")).oru_r01_patient_result.oru_r01_patient.pid.pid_5
    assert name.xpn_1.to_er7() == escape("O'Neil & Sons|Ltd") and name.xpn_2.to_er7() == escape("A~B")
    parsed = hl7.parse(text)
    assert parsed.unescape(parsed.extract_field("PID", field_num=5)) == "O'Neil & Sons|Ltd"


def test_identifier_longer_than_its_field_is_refused() -> None:
    source = variants()["dx"]
    source.PatientID = "9" * 300
    with pytest.raises(Rejected) as caught:
        message(source, result(source))
    assert caught.value.code == "oru_invalid" and "999" not in str(caught.value)


def test_long_text_arrives_whole_in_lines() -> None:
    source = variants()["dx"]
    caveat = ("the film is hard to read | " * 20).strip()
    made = message(source, result(source, caveats=(Sentence(template=caveat), Sentence(template="|" * 500))))
    lines = made.observation("IMPRESSION", "0.4")[5].split("~")  # after answer, notice and the one region
    assert len(lines) > 3 and " ".join(lines) == escape(caveat)
    assert made.observation("IMPRESSION", "0.5")[5].replace("~", "") == "\\F\\" * 500
    assert violations(made.text) == []


def test_link_names_only_the_study() -> None:
    source = variants()["dx"]
    made = message(source, result(source), link="https://viewer.example/?study={study_instance_uid}&rev={revision}")
    link = made.observation("LINK", "0")
    assert link[2] == "ST"
    assert link[5] == f"https://viewer.example/?study={source.StudyInstanceUID}\\T\\rev=1"
    assert "LINK" not in message(source, result(source)).text


def test_link_for_decisions_ends_with_the_control_id() -> None:
    source = variants()["dx"]
    made = message(source, result(source), decision_link="https://osteon.example/")
    assert made.observation("DECISION", "0")[5] == f"https://osteon.example/decide/{made.value('MSH', 10)}"
    assert "DECISION" not in message(source, result(source)).text


def test_same_result_gives_the_same_message() -> None:
    source = VARIANTS["dx"]
    assert message(source, result(source)).text == message(source, result(source)).text
    assert control_id(study(result(source))) == message(source, result(source)).value("MSH", 10)


# The site's own map -------------------------------------------------------------------------------


def test_sites_own_codes_and_omitted_observations_are_respected() -> None:
    made = message(
        VARIANTS["dx"],
        *several(VARIANTS["dx"]),
        codes={"positive": "FX1^Fraktur wahrscheinlich^L", "wrist": "HG^Handgelenk^L", "left": "L^links^L"},
        observations={"focus": "", "probability": "P^Wahrscheinlichkeit^L", "impression": ""},
        service="KI-FX^KI-Zweitbefund^L",
    )
    assert made.observation("ANSWER", "1.1")[5] == "FX1^Fraktur wahrscheinlich^L"
    assert made.observation("ANSWER", "1.2")[5] == "121059^Presence Undetermined^DCM"
    assert made.observation("SITE", "1.1")[5] == "HG^Handgelenk^L"
    assert made.observation("P", "1.1")[5] == "0.870" and made.value("OBR", 4) == "KI-FX^KI-Zweitbefund^L"
    assert "FOCUS" not in made.text and "IMPRESSION" not in made.text
    assert violations(made.text) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_mapped_fields_are_filled(version: str) -> None:
    source = copy.deepcopy(VARIANTS["dx"])
    source.AdmissionID = "V|1"
    made = message(
        source,
        result(source),
        version=version,
        map={
            "MSH-8": "{{x}}",
            "PV1-2": "R",
            "PV1-19": "{admission_id}^^^HOSP",
            "OBR-18": "",
            "OBR-19": "{study_instance_uid}",
            "OBR-20": "{accession_number}",
            "OBX-16": "OSTEON^{model}",
            "ZDS-1": "{study_instance_uid}^Osteon^Application^DICOM",
        },
    )
    assert violations(made.text) == []
    assert made.value("MSH", 8) == "{x}" and made.value("PV1", 19) == "V\\F\\1^^^HOSP"
    assert (made.value("OBR", 18), made.value("OBR", 20)) == ("", "ACC-77")
    assert {obx[16] for obx in made.all("OBX")} == {"OSTEON^bones (SYNTHETIC) 1.2.0 0123456789ab"}
    assert made.value("ZDS", 1) == f"{source.StudyInstanceUID}^Osteon^Application^DICOM"


@pytest.mark.parametrize(("field", "value"), [("PID-8", "^^^^^^^^^x"), ("PID-7", "19700100"), ("OBR-36", "at noon")])
def test_map_that_breaks_the_standard_is_refused(field: str, value: str) -> None:
    with pytest.raises(Rejected) as caught:
        message(VARIANTS["dx"], result(VARIANTS["dx"]), map={field: value})
    assert caught.value.code == "oru_invalid" and "map" in caught.value.reason


@pytest.mark.parametrize("digits", [re.compile(r"^[0-9a-f]{15}\^OSTEON$")])
def test_filler_number_keeps_to_the_length_of_its_field(digits: re.Pattern[str]) -> None:
    made = message(VARIANTS["dx"], result(VARIANTS["dx"]))
    assert digits.fullmatch(made.value("OBR", 3)) and len(made.value("OBR", 3)) == 22
