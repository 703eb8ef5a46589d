"""Rules for our messages: each notices a defect that hl7apy's STRICT validation overlooks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.dicom.reading.order import read_examination
from appliance.reporting.hl7.oru import oru_r01
from tests.support.hl7_rules import violations
from tests.support.profiles import hl7
from tests.support.results import finding, result, study
from tests.support.sources import variants

SOURCE = variants()["dx"]
GOOD = oru_r01(study(result(SOURCE, finding(), finding(0.4))), read_examination(SOURCE), hl7()).decode()


def swapped(text: str) -> str:
    lines = text.split("\r")
    return "\r".join([*lines[:3], lines[4], lines[3], *lines[5:]])


def without(name: str) -> Callable[[str], str]:
    return lambda text: "".join(f"{line}\r" for line in text.split("\r")[:-1] if not line.startswith(name))


def put(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


DEFECTS: dict[str, Callable[[str], str]] = {
    "no PID": without("PID"),
    "no OBR": without("OBR"),
    "no OBX": without("OBX"),
    "OBX before OBR": swapped,
    "another structure": put("ORU^R01^ORU_R01", "ORU^R30^ORU_R30"),
    "no structure": put("ORU^R01^ORU_R01", "ORU^R01"),
    "no control id": lambda text: text.replace(text.split("|")[9], "", 1),
    "processing id": put("|T|2.5.1", "|Q|2.5.1"),
    "version": put("|T|2.5.1", "|T|9.9"),
    "date": put("20260102101112", "2026-01-02"),
    "birth date": put("19700131", "31.01.1970"),
    "sex": put("|F\r", "|XX\r"),
    "OBX-1": put("OBX|1|", "OBX|one|"),
    "OBX-1 twice": put("OBX|2|", "OBX|1|"),
    "OBX-2": put("|CWE|", "|ZZ|"),
    "OBX-2 missing": put("|CWE|", "||"),
    "OBX-5 no number": put("|0.870|", "|high|"),
    "OBX-5 missing": put("|0.870|", "||"),
    "OBX-8": put("|A|||P|", "|ZZ|||P|"),
    "OBX-11": put("|A|||P|", "|A|||ZZ|"),
    "OBX-11 final": put("|A|||P|", "|A|||F|"),
    "OBX-11 missing": put("|A|||P|", "|A||||"),
    "OBR-4 missing": put("OSTEON-FX^Fracture second reading by AI^99OSTEON", ""),
    "OBR-25": put("|RAD|P", "|RAD|F"),
    "a group twice": put("|1.2|", "|1.1|"),
    "line feed": lambda text: text.replace("\r", "\n"),
    "line end in text": put("not for", "not\rfor"),
    "bar in text": put("not for diagnosis", "not|for|diagnosis|||||||||||||||||||||||||"),
    "ampersand in text": put("not for", "not & for"),
    "unfinished escape": put("not for", "not \\T for"),
    "character set": put("UNICODE UTF-8", "UTF-8"),
    "half an acknowledgement": put("||||UNICODE", "|AL||UNICODE"),
    "filler number": put("^OSTEON|OSTEON-FX", "0123456789^OSTEON|OSTEON-FX"),
}


def test_good_message_breaks_no_rule() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize("name", DEFECTS)
def test_message_with_a_defect_breaks_a_rule(name: str) -> None:
    spoiled = DEFECTS[name](GOOD)
    assert spoiled != GOOD
    assert violations(spoiled) != []
