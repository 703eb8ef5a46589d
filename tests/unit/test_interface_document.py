"""`docs/hl7-fhir-interface.md` describes the code: no field more, no field less."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydicom.dataset import Dataset

from appliance.config import FhirDestination, Hl7Destination, Hl7Listener, Observations, read_configuration
from appliance.config.hl7 import LOINC
from appliance.dicom.reading.order import read_examination
from appliance.domain.codes import PRESENCES, SIDES, SITES
from appliance.domain.finding import Verdict
from appliance.domain.identifiers import Laterality
from appliance.domain.reason import ReasonCode
from appliance.domain.sentence import Sentence
from appliance.errors import Transient
from appliance.field_map import LINK_VALUES, OURS, VALUES
from appliance.reporting.fhir.bundle import transaction, withdrawal
from appliance.reporting.fhir.destination import STATUSES
from appliance.reporting.hl7.order_update import priority_update
from appliance.reporting.hl7.oru import oru_r01
from appliance.reporting.hl7.radiologist_report import REFUSALS
from appliance.reporting.hl7.segments import ACKNOWLEDGEMENTS
from tests.support.hl7_rules import Message, field
from tests.support.profiles import fhir, hl7
from tests.support.results import finding, result, revised, study, unanalysed
from tests.support.sources import variants

TEXT = (Path(__file__).parents[2] / "docs" / "hl7-fhir-interface.md").read_text()


def rows_below(heading: str, number: int = 0) -> list[list[str]]:
    """Return the rows of a table below a heading, without its head."""
    section = re.split(r"^#+ ", TEXT.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[number].splitlines()[2:]
    return [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in found]


def source_with_an_order() -> Dataset:
    """Return a source with every value that a message can carry."""
    source = copy.deepcopy(variants()["dx"])
    source.RequestAttributesSequence[0].PlacerOrderNumberImagingServiceRequest = "PL-1"
    return source


SOURCE = source_with_an_order()
MARKED = finding(mark=((12.0, 14.0), (20.0, 14.0), (20.0, 30.0)))
STUDY = study(result(SOURCE, MARKED, finding(0.1), caveats=(Sentence.of("a cast was seen"),)), unanalysed(SOURCE))
PROFILE = {"acknowledgement": "both", "link": "https://viewer.example/{study_instance_uid}"} | {
    "decision_link": "https://osteon.example"
}


def fields_with_values(*messages: bytes) -> set[str]:
    """Return the fields with a value in at least one of the messages."""
    segments = [s for m in messages for s in Message(m.decode()).segments]
    return {f"{s[0]}-{n}" for s in segments for n in range(1, len(s)) if field(s, n)} - {"MSH-1"}


def test_table_of_the_report_lists_every_field() -> None:
    messages = [oru_r01(STUDY, read_examination(SOURCE), hl7(order=order, **PROFILE)) for order in ("own", "placer")]
    messages.append(oru_r01(STUDY, read_examination(SOURCE), hl7(language="de")))
    assert fields_with_values(*messages) == {row[0] for row in rows_below("The report: ORU^R01")}


def test_table_of_the_order_update_lists_every_field() -> None:
    messages = [priority_update(STUDY, read_examination(SOURCE), hl7(flag=flag)) for flag in ("orm", "omi")]
    listed = {row[0] for row in rows_below("The flag on the worklist: ORM^O01 or OMI^O23")}
    assert {f for f in fields_with_values(*messages) if f.split("-")[0] not in ("MSH", "PID")} | {"MSH-9"} == listed


def test_table_of_observations_lists_each_with_its_default() -> None:
    listed = {row[0].strip("`"): row[1].strip("`") for row in rows_below("Its observations")}
    assert listed == Observations().model_dump()
    sent = {obx[3] for obx in Message(oru_r01(STUDY, read_examination(SOURCE), hl7(**PROFILE)).decode()).all("OBX")}
    assert sent == set(listed.values())


def test_table_of_loinc_codes_lists_each() -> None:
    rows = rows_below("Its observations", 1)
    assert {name: row[1].strip("`") for row in rows for name in re.findall(r"`([a-z_]+)`", row[0])} == LOINC
    assert set(LOINC) < set(Observations.model_fields)


def test_table_of_orders_lists_each_with_its_fields() -> None:
    orders = get_args(Hl7Destination.model_fields["order"].annotation)
    assert [row[0].split()[0].strip('`"') for row in rows_below("Its order")] == list(orders)
    for row in rows_below("Its order"):
        made = Message(oru_r01(STUDY, read_examination(SOURCE), hl7(order=row[0].split()[0].strip('`"'))).decode())
        assert [bool(made.value("OBR", number)) for number in (2, 29)] == [row[i] != "empty" for i in (1, 3)]


def test_table_of_codes_lists_each_code() -> None:
    sides = {"left": SIDES[Laterality.LEFT], "right": SIDES[Laterality.RIGHT]}
    presences = {a.value: c for a, c in PRESENCES.items() if a is not Verdict.NOT_CLEARED}  # has a reason, no code
    codes = presences | sides | {s.value: c for s, c in SITES.items()}
    listed = {row[0].strip("`"): row[1].strip("`") for row in rows_below("Its codes")}
    assert listed == {name: f"{c.code}^{c.meaning}^{c.scheme}" for name, c in codes.items()}


def test_table_of_the_map_lists_each_name_and_each_fixed_field() -> None:
    assert {row[0].strip("`"): row[1] for row in rows_below("The site's own map")} == VALUES
    fixed = re.search(r"These cannot be set: ([^.]*)\.", TEXT)
    assert fixed and re.findall(r"[A-Z]{3}-\d+", fixed[1]) == sorted(
        OURS, key=lambda f: (f.split("-")[0], int(f.split("-")[1]))
    )
    assert "`link` may name " + " and ".join(f"`{name}`" for name in LINK_VALUES) in TEXT.replace("\n", " ")


def test_tables_of_acknowledgement_list_each_mode_and_code() -> None:
    modes = {
        row[0].strip("`"): (row[1].strip("`"), row[2].strip("`")) for row in rows_below("Transport and acknowledgement")
    }
    assert modes == ACKNOWLEDGEMENTS
    codes = {code for code in ReasonCode if code.startswith("mllp_")}
    assert {row[1].strip("`") for row in rows_below("Transport and acknowledgement", 1)} == codes


def elements(value: Any, path: str) -> Iterator[str]:
    for key in value:
        yield f"{path}.{key}"


def test_tables_of_the_bundle_list_each_entry_and_element() -> None:
    found: set[str] = set()
    requests: dict[str, str] = {}
    for source in variants().values():
        for each in (study(result(source, finding(), caveats=(Sentence.of("x"),))), revised(study(unanalysed(source)))):
            for made in (
                transaction(each, read_examination(source), fhir(flag="task")),
                withdrawal(each, read_examination(source), fhir(flag="task")),
            ):
                for entry in json.loads(made)["entry"]:
                    kind = entry["resource"].pop("resourceType")
                    found.update(elements(entry["resource"], kind))
                    requests.setdefault(kind, "create" if entry["request"]["method"] == "POST" else "update")
    assert {row[0] for row in rows_below("Their elements")} == found
    listed = {row[0].strip("`"): row[1].split()[1].rstrip(";,") for row in rows_below("Its entries")}
    assert listed == requests


def test_table_of_statuses_lists_each_with_its_effect() -> None:
    listed = {row[0]: row[1] for row in rows_below("Effect of the server's status")}
    expected = {
        str(status): f"{'tried again' if issubclass(error, Transient) else 'refused'}: {remedy}"
        for status, (error, remedy) in STATUSES.items()
    }
    assert listed == expected | {"other 5xx": "tried again", "any other": "refused"}


def test_table_of_radiologist_reports_lists_each_acknowledgement() -> None:
    listed = {row[0].strip("`"): (row[1].strip("`"), row[2]) for row in rows_below("Radiologist reports")}
    assert listed.pop("any other") == ("AE", "207")
    assert listed == {code: answer[:2] for code, answer in REFUSALS.items()}


@pytest.mark.parametrize(("number", "section"), [(0, Hl7Destination), (1, FhirDestination), (2, Hl7Listener)])
def test_tables_of_settings_list_each_key(number: int, section: Any) -> None:
    listed = [name for row in rows_below("Settings", number) for name in re.findall(r"`([a-z_]+)`", row[0])]
    assert sorted(listed) == sorted(section.model_fields)


def test_shown_configuration_makes_a_valid_message(tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "osteon.toml").write_text(snippet)
    (ris,) = read_configuration(tmp_path / "osteon.toml").destinations
    assert isinstance(ris, Hl7Destination)
    assert (
        Message(oru_r01(STUDY, read_examination(SOURCE), ris).decode())
        .value("ZDS", 1)
        .startswith(STUDY.study_instance_uid)
    )
