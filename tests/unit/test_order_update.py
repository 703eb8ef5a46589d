"""The priority update of an order: by the numbers that the RIS gave it, and never without one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydicom.dataset import Dataset

from appliance.dicom.objects.codes import code_item
from appliance.dicom.reading.order import read_examination
from appliance.domain.codes import Concept
from appliance.errors import Rejected
from appliance.reporting.hl7.order_update import ORDER, is_flagged, priority_update, priority_withdrawal
from appliance.reporting.hl7.segments import control_id
from tests.support.hl7_rules import Message, violations
from tests.support.profiles import hl7
from tests.support.results import finding, result, study, unanalysed
from tests.support.sources import variants

SOURCE = variants()["dx"]
KINDS = [("2.3.1", "orm"), ("2.4", "orm"), ("2.5.1", "orm"), ("2.5.1", "omi")]


def update(source: Dataset = SOURCE, **settings: Any) -> Message:
    return Message(
        priority_update(study(result(source)), read_examination(source), hl7(**{"flag": "orm"} | settings)).decode()
    )


def ordered() -> Dataset:
    """A source with a request that names the order in full."""
    source = copy.deepcopy(SOURCE)
    request = source.RequestAttributesSequence[0]
    request.PlacerOrderNumberImagingServiceRequest = "PL-1"
    request.FillerOrderNumberImagingServiceRequest = "FI-1"
    request.RequestedProcedureCodeSequence = [code_item(Concept("XR-W", "99HOSP", "Wrist & hand"))]
    return source


@pytest.mark.parametrize(("version", "flag"), KINDS)
@pytest.mark.parametrize("variant", [name for name, ds in variants().items() if ds.get("AccessionNumber")])
def test_update_of_every_source_keeps_the_rules(version: str, flag: str, variant: str) -> None:
    made = update(variants()[variant], version=version, flag=flag)
    assert violations(made.text) == []
    assert not made.all("OBX") and made.value("OBR", 25) == ""  # an update holds no result


@pytest.mark.parametrize(("version", "flag"), KINDS)
def test_update_names_the_order_as_the_ris_knows_it(version: str, flag: str) -> None:
    made = update(ordered(), version=version, flag=flag)
    assert violations(made.text) == []
    assert made.value("ORC", 1) == "XO"
    assert (made.value("OBR", 2), made.value("OBR", 3)) == ("PL-1", "FI-1")
    assert made.value("OBR", 4) == "XR-W^Wrist \\T\\ hand^99HOSP"
    if flag == "omi":
        assert made.value("TQ1", 9) == "S"
        assert made.all("IPC") == [["IPC", "ACC-77", "RP1", SOURCE.StudyInstanceUID, "SPS1"]]
    else:
        assert made.value("ORC", 7) == made.value("OBR", 27) == "^^^^^S"


@pytest.mark.parametrize(("version", "flag"), KINDS)
def test_withdrawal_gives_the_usual_priority_under_the_same_numbers(version: str, flag: str) -> None:
    profile = hl7(version=version, flag=flag, usual_priority="R")
    given = study(result(ordered(), finding(0.1)))
    made = Message(priority_withdrawal(given, read_examination(ordered()), profile).decode())
    before = Message(priority_update(given, read_examination(ordered()), profile).decode())
    assert violations(made.text) == []
    assert (
        made.text.replace(made.value("MSH", 10), before.value("MSH", 10))
        .replace("^^^^^R", "^^^^^S")
        .replace("||||||||R\r", "||||||||S\r")
        == before.text
    )
    assert (made.value("TQ1", 9) if flag == "omi" else made.value("ORC", 7)).endswith("R")
    assert len({made.value("MSH", 10), before.value("MSH", 10), control_id(given)}) == 3


def test_update_without_a_filler_number_names_the_accession_number() -> None:
    assert update().value("OBR", 3) == "ACC-77"


def test_update_uses_the_sites_priority_and_map() -> None:
    made = update(priority="A", map={"PV1-2": "E", "ORC-16": "AI^{answer}^L"})
    assert made.value("OBR", 27) == "^^^^^A" and made.value("ORC", 16) == "AI^fracture suspected^L"
    assert violations(made.text) == []


def test_update_without_an_order_is_refused() -> None:
    with pytest.raises(Rejected) as caught:
        update(variants()["gaps"])
    assert caught.value.code == "no_order"


def test_flag_is_set_for_the_sites_answers_only() -> None:
    said = {"positive": 0.87, "doubt": 0.4, "incomplete": 0.1}
    given = {name: study(result(SOURCE, finding(p))) for name, p in said.items()} | {"none": study(unanalysed(SOURCE))}
    flagged = {name for name, one in given.items() if is_flagged(one, hl7(flag="orm"))}
    assert flagged == {"positive"}
    assert {n for n, one in given.items() if is_flagged(one, hl7(flag="omi", flagged=["positive", "doubt"]))} == {
        "positive", "doubt",
    }  # fmt: skip
    assert {n for n, one in given.items() if is_flagged(one, hl7(flag="omi", flagged=["incomplete"]))} == {"incomplete"}
    assert not any(is_flagged(one, hl7(flag=flag)) for one in given.values() for flag in ("oru", "none"))


def test_update_has_another_control_id_than_the_report() -> None:
    given = study(result(SOURCE))
    assert update().value("MSH", 10) == control_id(given, ORDER) != control_id(given)
