"""ORU^R01: preliminary, coded, deterministic, and no name can break out of its field."""

from __future__ import annotations

import copy
import re

import pytest
from hl7apy.parser import parse_message
from pydicom.dataset import Dataset

from appliance.domain.result import Result
from appliance.errors import Rejected
from appliance.reporting.oru import control_id, escape, oru_r01
from tests.support.results import finding, result, study, unanalysed
from tests.support.sources import variants

VARIANTS = variants()
TIME = re.compile(r"\d{14}[+-]\d{4}")


def message(source: Dataset, given: Result, version: str = "2.5.1") -> str:
    made = oru_r01(
        study(given),
        source,
        sending_application="OSTEON",
        sending_facility="XRAY",
        receiving_application="RIS",
        receiving_facility="HOSP",
        version=version,
    )
    return made.decode()


def fields(text: str, segment: str) -> list[list[str]]:
    """Fields of each such segment by their numbers; MSH counts its separator as MSH-1."""
    found = [line.split("|") for line in text.split("\r") if line.startswith(segment)]
    return [["MSH", "|", *row[1:]] if segment == "MSH" else row for row in found]


@pytest.mark.parametrize("version", ["2.3.1", "2.4", "2.5", "2.5.1", "2.6"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("make", [result, unanalysed])
def test_the_structure_is_that_of_the_standard(version: str, variant: str, make: object) -> None:
    text = message(VARIANTS[variant], make(VARIANTS[variant]), version)  # type: ignore[operator]
    names = " ".join(line[:3] for line in text.split("\r")[:-1])
    assert re.fullmatch(r"MSH PID ORC OBR( OBX)+", names)
    assert "\n" not in text
    (msh,), (obr,) = fields(text, "MSH"), fields(text, "OBR")
    assert msh[9] == "ORU^R01^ORU_R01" and msh[12] == version and msh[18] == "UNICODE UTF-8"
    assert TIME.fullmatch(msh[7]) and 0 < len(msh[10]) <= 20
    assert obr[25] == "P" and obr[3].endswith("^OSTEON") and "99OSTEON" in obr[4]
    for number, obx in enumerate(fields(text, "OBX"), 1):
        assert obx[1] == str(number) and obx[2] in ("CWE", "CE", "NM", "TX", "ST") and obx[11] == "P"
        assert obx[2] != "NM" or re.fullmatch(r"[01]\.\d{3}", obx[5])


def test_findings_are_coded() -> None:
    source = VARIANTS["dx"]
    text = message(source, result(source, finding(), finding(0.4)))
    said = [(obx[4], obx[3].split("^")[0], obx[5]) for obx in fields(text, "OBX")]
    assert ("1", "ANSWER", "415684004^Suspected^SCT") in said
    assert ("1", "PROBABILITY", "0.870") in said
    assert ("1", "SITE", "74670003^Wrist joint^SCT") in said
    assert ("1", "SIDE", "7771000^Left^SCT") in said
    assert ("1", "FOCUS", "0.910") in said
    assert ("2", "ANSWER", "121059^Presence Undetermined^DCM") in said
    assert ("0", "113014", source.StudyInstanceUID) in said
    assert ("0", "MODEL", "bones (SYNTHETIC) 1.2.0 0123456789ab") in said


def test_the_order_is_named() -> None:
    text = message(VARIANTS["dx"], result(VARIANTS["dx"]))
    (obr,) = fields(text, "OBR")
    zone = text.split("|")[6][14:]  # MSH-7's
    assert obr[18] == "ACC-77" and obr[7] == f"20260102101112{zone}" and len(zone) == 5


def test_times_are_in_the_zone_of_the_source() -> None:
    ds = copy.deepcopy(VARIANTS["dx"])
    ds.TimezoneOffsetFromUTC = "+0200"
    text = message(ds, result(ds))
    (obr,) = fields(text, "OBR")
    assert obr[7] == "20260102101112+0200" and text.split("|")[6].endswith("+0200")


def test_the_reason_for_no_answer_is_given_and_nothing_is_coded() -> None:
    text = message(VARIANTS["dx"], unanalysed(VARIANTS["dx"]))
    assert "this pack has no engine for ribs [unsupported_site]" in text
    assert "ANSWER^" not in text and "PROBABILITY^" not in text


def test_the_patient_is_identified() -> None:
    (pid,) = fields(message(VARIANTS["dx"], result(VARIANTS["dx"])), "PID")
    assert pid[3] == "PID-4711^^^HOSP^MR" and pid[5] == "Weiß^Änne^^^^^L^A"
    assert pid[7] == "19700131" and pid[8] == "F"


def test_a_name_in_three_scripts_is_three_repetitions() -> None:
    (pid,) = fields(message(VARIANTS["japanese"], result(VARIANTS["japanese"])), "PID")
    assert [r.split("^")[0] for r in pid[5].split("~")] == ["Yamada", "山田", "やまだ"]


def test_without_a_patient_id_no_other_patients_number_is_sent() -> None:
    source = VARIANTS["gaps"]
    (pid,) = fields(message(source, result(source)), "PID")
    assert pid[3] == f"{source.StudyInstanceUID}^^^OSTEON^U"


@pytest.mark.parametrize("name", [
    "O|Neil~&^A\\B", "Bad\rMSH|^", "X" * 900, "A" * 70 + "^" + "B" * 70, "Größe\t^\x0b\x1cEnd",
    "^^^^", "a^b^c^d^e^f^g",
])  # fmt: skip
def test_no_name_breaks_out_of_its_field(name: str) -> None:
    source = variants()["utf8"]
    source.PatientName = name
    text = message(source, result(source))
    assert [line[:3] for line in text.split("\r")][:4] == ["MSH", "PID", "ORC", "OBR"]
    (pid,) = fields(text, "PID")
    assert len(pid) == 9 and pid[8] == "F"
    assert "\x0b" not in text and "\x1c" not in text


def test_hl7apy_reads_an_escaped_name_back() -> None:
    source = variants()["utf8"]
    source.PatientName = "O'Neil & Sons|Ltd^A~B"
    parsed = parse_message(message(source, result(source)).rstrip("\r"))
    name = parsed.oru_r01_patient_result.oru_r01_patient.pid.pid_5
    assert name.xpn_1.to_er7() == escape("O'Neil & Sons|Ltd") and name.xpn_2.to_er7() == escape("A~B")


def test_an_identifier_that_would_have_to_be_cut_is_refused() -> None:
    source = variants()["dx"]
    source.PatientID = "9" * 300
    with pytest.raises(Rejected) as caught:
        message(source, result(source))
    assert caught.value.code == "oru_invalid" and "999" not in str(caught.value)


def test_the_same_result_gives_the_same_message() -> None:
    source = VARIANTS["dx"]
    assert message(source, result(source)) == message(source, result(source))
    assert control_id(study(result(source))) in message(source, result(source))
