"""The commands on deliveries: reroute, retry, hold and release."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from sqlalchemy import update

from appliance.clock import now
from appliance.config import Configuration
from appliance.dicom.part10 import dataset_from_bytes
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.codes import REJECTED_FOR_QUALITY
from appliance.domain.job import State
from appliance.errors import Rejected
from appliance.service.withdrawal import withdraw
from appliance.status.records import newest_radiographs
from appliance.storage.database import readers
from appliance.storage.interventions import release as release_hold
from appliance.storage.tables import deliveries
from provisioning.cli.main import main
from provisioning.cli.queue import queue
from provisioning.cli.status import status
from provisioning.operation.queues import hold, release, reroute, retry
from tests.support.outbox import Outbox, message, picture, radiograph
from tests.support.pacs import profile, scripted_scp
from tests.support.people import anna
from tests.support.ports import free_ports


@pytest.fixture
def config(tmp_path: Path, free_port: int) -> Configuration:
    hl7 = {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": 1}
    fhir = {"kind": "fhir", "name": "fhir", "base_url": "http://127.0.0.1:1/"}
    archives = [profile(1).model_dump(), profile(free_port, name="other").model_dump()]
    return Configuration.model_validate({"state_dir": tmp_path, "destinations": [*archives, hl7, fhir]})


def test_reroute_sends_a_delivery_to_another_destination_of_its_kind_only(
    config: Configuration, free_port: int
) -> None:
    with Outbox(config.state_dir, *config.destinations) as outbox:
        outbox.answer(radiograph(1), ("pacs", picture(radiograph(1))), ("ris", message(radiograph(1))))
        assert not outbox.carry("pacs")
        for name, to, code in [
            ("delivery:1", "ris", "other_kind"),
            ("delivery:1", "fhir", "other_kind"),
            ("delivery:2", "other", "other_kind"),
            ("delivery:2", "fhir", "other_kind"),
            ("delivery:1", "nowhere", "no_such_destination"),
            ("analysis:1", "other", "no_such_destination"),
            ("delivery:9", "other", "no_such_job"),
        ]:
            with pytest.raises(Rejected) as caught:
                reroute(config, name, to, anna())
            assert caught.value.code == code
        assert reroute(config, "delivery:1", "other", anna()) is State.QUEUED
        with scripted_scp(free_port, [0], [SecondaryCaptureImageStorage]) as calls:
            outbox.carry_until("other", done=1, queued=1)
        assert calls == [picture(radiograph(1)).identifier]
        with pytest.raises(Rejected, match="only a delivery that waits"):
            reroute(config, "delivery:1", "pacs", anna())


def archives(folder: Path, *ports: int) -> Configuration:
    named = [profile(port, name=name).model_dump() for name, port in zip(("former", "other"), ports, strict=True)]
    return Configuration.model_validate({"state_dir": folder, "destinations": named})


def withdraw_and_list_rejected(config: Configuration, outbox: Outbox, ds: Dataset) -> dict[str, set[str]]:
    """Withdraw the study of `ds` and return, by archive, the UIDs that its rejection note names."""
    withdraw(config, outbox.engine, str(ds.StudyInstanceUID), anna("a cast"), REJECTED_FOR_QUALITY)
    found = {}
    for row in outbox.rows:
        if row.kind == "rejection":
            note = dataset_from_bytes(outbox.spool.get(row.digest))
            evidence = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
            found[row.destination] = {i.ReferencedSOPInstanceUID for s in evidence for i in s.ReferencedSOPSequence}
    return found


def test_withdrawal_after_a_reroute_revokes_at_both_destinations(tmp_path: Path) -> None:
    """The former archive failed after the object was sent, so it may have it."""
    former, other = free_ports(2)
    config, ds = archives(tmp_path, former, other), radiograph(1)
    with Outbox(tmp_path, *config.destinations) as outbox:
        outbox.answer(ds, ("former", picture(ds)))
        with scripted_scp(former, [0x0110], [SecondaryCaptureImageStorage]) as calls:
            assert outbox.carry("former") and calls == [picture(ds).identifier]
        assert reroute(config, "delivery:1", "other", anna()) is State.QUEUED
        with scripted_scp(other, [0], [SecondaryCaptureImageStorage]):
            outbox.carry_until("former", "other", done=1, dropped=1)
        assert [(r.destination, r.state, r.code) for r in outbox.rows] == [
            ("other", "done", "delivered"),
            ("former", "dropped", "rerouted"),
        ]
        with readers(outbox.engine).connect() as c:
            (listed,) = newest_radiographs(c)
        assert [(s.destination, s.done, s.total) for s in listed.sent] == [("other", 1, 1)]
        uid = picture(ds).identifier
        assert withdraw_and_list_rejected(config, outbox, ds) == {"former": {uid}, "other": {uid}}
        assert {r.code for r in outbox.rows if r.kind == "sc"} == {"withdrawn"}


def test_withdrawal_after_a_reroute_skips_a_destination_that_was_never_reached(tmp_path: Path) -> None:
    former, other = free_ports(2)
    config, ds = archives(tmp_path, former, other), radiograph(1)
    with Outbox(tmp_path, *config.destinations) as outbox:
        outbox.answer(ds, ("former", picture(ds)))
        outbox.carry("former")
        assert reroute(config, "delivery:1", "other", anna()) is State.QUEUED
        with scripted_scp(other, [0], [SecondaryCaptureImageStorage]):
            outbox.carry_until("other", done=1)
        assert withdraw_and_list_rejected(config, outbox, ds) == {"other": {picture(ds).identifier}}


def test_delivery_rerouted_back_keeps_the_record_of_its_attempt(tmp_path: Path) -> None:
    former, other = free_ports(2)
    config, ds = archives(tmp_path, former, other), radiograph(1)
    with Outbox(tmp_path, *config.destinations) as outbox:
        outbox.answer(ds, ("former", picture(ds)))
        with scripted_scp(former, [0x0110], [SecondaryCaptureImageStorage]):
            assert outbox.carry("former")
        reroute(config, "delivery:1", "other", anna())
        assert reroute(config, "delivery:1", "former", anna()) is State.QUEUED
        assert [(r.id, r.destination, r.state, r.attempts) for r in outbox.rows] == [(1, "former", "queued", 1)]
        assert withdraw_and_list_rejected(config, outbox, ds) == {"former": {picture(ds).identifier}}


def test_reroute_to_a_destination_that_gets_no_such_artefact_is_refused(tmp_path: Path) -> None:
    pacs, bare = profile(1).model_dump(), profile(1, name="bare", objects=["sr"]).model_dump()
    ris = {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": 1, "flag": "orm"}
    config = Configuration.model_validate(
        {"state_dir": tmp_path, "destinations": [pacs, bare, ris, ris | {"name": "ris2", "flag": "oru"}]}
    )
    with Outbox(tmp_path, *config.destinations) as outbox:
        order = replace(message(radiograph(1)), kind=ArtefactKind.ORDER)
        outbox.answer(radiograph(1), ("pacs", picture(radiograph(1))), ("ris", order), ("ris", message(radiograph(1))))
        for name, to in (("delivery:1", "bare"), ("delivery:2", "ris2")):
            with pytest.raises(Rejected, match="not_configured"):
                reroute(config, name, to, anna())
        assert reroute(config, "delivery:3", "ris2", anna()) is State.QUEUED
        assert [r.destination for r in outbox.rows] == ["pacs", "ris", "ris2"]


def test_reroute_to_a_destination_that_has_the_artefact_is_refused(config: Configuration) -> None:
    with Outbox(config.state_dir, *config.destinations) as outbox:
        outbox.answer(radiograph(1), ("pacs", picture(radiograph(1))), ("other", picture(radiograph(1))))
        with pytest.raises(Rejected, match="already"):
            reroute(config, "delivery:1", "other", anna())
        assert [row.destination for row in outbox.rows] == ["pacs", "other"]


def test_retry_of_a_done_delivery_sends_the_same_object_again(config: Configuration, free_port: int) -> None:
    with Outbox(config.state_dir, *config.destinations) as outbox:
        outbox.answer(radiograph(1), ("other", picture(radiograph(1))))
        with scripted_scp(free_port, [0, 0x0111], [SecondaryCaptureImageStorage]) as calls:
            outbox.carry_until("other", done=1)
            assert retry(config, "delivery:1", anna()) is State.QUEUED
            assert outbox.rows[0].stored_at is None and outbox.rows[0].attempts == 1, "it was tried"
            outbox.carry_until("other", done=1)
        assert len(calls) == 2 and len(set(calls)) == 1


def test_retry_of_a_withdrawn_or_outdated_delivery_is_refused(config: Configuration) -> None:
    with Outbox(config.state_dir, *config.destinations) as outbox:
        first, again = radiograph(1), radiograph(1)
        again.PatientID = "CORRECTED"
        outbox.answer(first, ("pacs", picture(first)), ("other", picture(first)))
        outbox.answer(again, ("pacs", picture(again)))
        outbox.answer(radiograph(2), ("pacs", picture(radiograph(2))))
        with outbox.engine.begin() as c:
            c.exec_driver_sql("UPDATE deliveries SET state = 'done', code = 'delivered'")
            c.exec_driver_sql("UPDATE deliveries SET code = 'withdrawn' WHERE id = 4")
        assert "a newer artefact for the same, delivery:3" in _refusal(config, "delivery:1")
        assert "was withdrawn" in _refusal(config, "delivery:4")
        assert outbox.states == {"done": 4}
        for name in ("delivery:2", "delivery:3"):  # the only one for its destination; the latest
            assert retry(config, name, anna()) is State.QUEUED


def _refusal(config: Configuration, name: str) -> str:
    with pytest.raises(Rejected) as caught:
        retry(config, name, anna())
    return caught.value.reason


def test_held_destination_gets_nothing_until_it_is_released(config: Configuration, free_port: int) -> None:
    with Outbox(config.state_dir, *config.destinations) as outbox:
        outbox.answer(radiograph(1), ("other", picture(radiograph(1))))
        with scripted_scp(free_port, [0], [SecondaryCaptureImageStorage]) as calls:
            hold(config, "other", anna("the archive moves"))
            assert not outbox.carry("other") and calls == []
            with pytest.raises(Rejected, match=r"`osteon queue release --to other`.*not_held"):
                release(config, "*", anna())
            release(config, "other", anna())
            with pytest.raises(Rejected, match=r"nothing is held.*not_held"):
                release(config, "other", anna())
            outbox.carry_until("other", done=1)
    with pytest.raises(Rejected, match="no_such_destination"):
        hold(config, "nowhere", anna("?"))


@pytest.fixture
def four_waiting(config: Configuration) -> Iterator[Outbox]:
    """Deliveries 1 and 3 to the RIS and 2 and 4 to the FHIR server, both away; 3 and 4 are two hours old."""
    with Outbox(config.state_dir, *config.destinations) as outbox:
        for number in (1, 2):
            ds = radiograph(number)
            outbox.answer(ds, ("ris", message(ds)), ("fhir", replace(message(ds), kind=ArtefactKind.FHIR)))
        for name in ("ris", "fhir"):
            outbox.carry(name)
        with outbox.engine.begin() as c:
            older = now() - timedelta(hours=2)
            c.execute(update(deliveries).where(deliveries.c.id > 2).values(created_at=older))
        yield outbox


def queue_command(config: Configuration, *arguments: str) -> Result:
    file = config.state_dir / "osteon.toml"
    file.write_text(
        f"""state_dir = "{config.state_dir}"
destinations = [
    {{kind = "hl7", name = "ris", host = "127.0.0.1", port = 1}},
    {{kind = "hl7", name = "new-ris", host = "127.0.0.1", port = 1}},
    {{kind = "fhir", name = "fhir", base_url = "http://127.0.0.1:1/"}},
]
"""
    )
    return CliRunner().invoke(queue, [*arguments, "--config", str(file)])


@pytest.mark.parametrize(
    ("options", "dropped"),
    [
        (("delivery:4", "delivery:1"), {1, 4}),
        (("--to", "ris"), {1, 3}),
        (("--older-than", "1h"), {3, 4}),
        (("--to", "fhir", "--older-than", "90m"), {4}),
        (("--code", "mllp_unreachable", "--to", "ris"), {1}),
        (("--all",), {1, 2, 3, 4}),
    ],
)
def test_jobs_are_changed_in_bulk(
    options: tuple[str, ...], dropped: set[int], config: Configuration, four_waiting: Outbox
) -> None:
    done = queue_command(config, "drop", *options, "--reason", "a wrong address")
    assert done.exit_code == 0, done.output
    assert {row.id for row in four_waiting.rows if row.state == State.DROPPED} == dropped
    changed = len(done.output.splitlines()) - 1
    assert len(dropped) == 1 or f"{changed} of {changed} jobs were changed" in done.output


def test_bulk_drop_leaves_withdrawals_and_a_named_one_needs_an_option(
    config: Configuration, four_waiting: Outbox
) -> None:
    with four_waiting.engine.begin() as c:
        c.exec_driver_sql("UPDATE deliveries SET kind = 'oru_withdrawal' WHERE id = 3")
    done = queue_command(config, "drop", "--to", "ris", "--reason", "a test")
    assert done.exit_code == 1
    assert "delivery:3 stays as it is" in done.output and "1 of 2 jobs were changed" in done.output
    assert queue_command(config, "drop", "--to", "ris", "--withdrawals", "--reason", "a test").exit_code == 2
    assert queue_command(config, "drop", "delivery:3", "--reason", "a test").exit_code == 1
    assert queue_command(config, "drop", "delivery:3", "--withdrawals", "--reason", "a test").exit_code == 0
    assert [row.state for row in four_waiting.rows if row.destination == "ris"] == ["dropped", "dropped"]
    assert queue_command(config, "retry", "delivery:3").exit_code == 0
    assert queue_command(config, "retry", "delivery:1").exit_code == 1
    assert [row.state for row in four_waiting.rows if row.destination == "ris"] == ["dropped", "queued"]


def test_second_hold_leaves_the_first_one_and_its_reason(config: Configuration, four_waiting: Outbox) -> None:
    assert queue_command(config, "hold", "--to", "ris", "--reason", "wrong patients").exit_code == 0
    (held,) = four_waiting.gate.holds()
    second = queue_command(config, "hold", "--to", "ris", "--reason", "it moves")
    assert second.exit_code == 1 and isinstance(second.exception, Rejected)
    assert second.exception.code == "held_already" and "wrong patients" in second.exception.reason
    with pytest.raises(Rejected, match="hold_changed"):
        release_hold(four_waiting.engine, "ris", anna(), held.since - timedelta(seconds=1))
    assert four_waiting.gate.holds() == [held]
    release_hold(four_waiting.engine, "ris", anna(), datetime.fromisoformat(held.since.isoformat()))
    assert four_waiting.gate.holds() == []


def test_bulk_goes_on_after_a_job_that_cannot_be_changed(config: Configuration, four_waiting: Outbox) -> None:
    done = queue_command(config, "retry", "delivery:1", "delivery:99", "delivery:2")
    assert done.exit_code == 1
    assert "delivery:99 stays as it is: there is no delivery:99" in done.output
    assert "2 of 3 jobs were changed" in done.output
    rerouted = queue_command(config, "reroute", "--from", "ris", "--to", "new-ris")
    assert rerouted.exit_code == 0, rerouted.output
    assert [row.destination for row in four_waiting.rows][:4] == ["new-ris", "fhir", "new-ris", "fhir"]


@pytest.mark.parametrize(
    ("options", "listed"),
    [
        ((), {1, 2, 4}),
        (("--to", "ris"), {1}),
        (("--state", "parked"), {2}),
        (("--state", "dropped"), {3}),
        (("--code", "mllp_unreachable"), {1}),
        (("--older-than", "1h"), {4}),
        (("--to", "former"), {4}),
        (("--all", "--to", "ris"), {1, 3}),
    ],
)
def test_list_shows_the_jobs_that_fit_every_option(
    options: tuple[str, ...], listed: set[int], config: Configuration, four_waiting: Outbox
) -> None:
    with four_waiting.engine.begin() as c:
        c.execute(update(deliveries).where(deliveries.c.id == 2).values(state=State.PARKED))
        c.execute(update(deliveries).where(deliveries.c.id == 3).values(state=State.DROPPED))
        c.execute(update(deliveries).where(deliveries.c.id == 4).values(destination="former"))
    done = queue_command(config, "list", *options, "--json")
    assert done.exit_code == 0, done.output
    names = [json.loads(line)["name"] for line in done.output.splitlines()]
    assert {int(name.removeprefix("delivery:")) for name in names if name.startswith("delivery:")} == listed


@pytest.mark.parametrize(
    ("options", "why"),
    [(("--to", "nowhere"), "no destination 'nowhere'"), (("--code", "typo"), "there is no code 'typo'")],
)
@pytest.mark.usefixtures("four_waiting")
def test_list_of_an_unknown_name_is_refused(options: tuple[str, ...], why: str, config: Configuration) -> None:
    done = queue_command(config, "list", *options)
    assert done.exit_code == 1
    assert why in done.output + str(done.exception)


def test_find_of_a_number_that_is_not_there_says_which_numbers_are_kept(
    config: Configuration, four_waiting: Outbox
) -> None:
    done = queue_command(config, "find", "AWR00011")
    assert done.exit_code == 1
    assert "no job has this UID" in done.output and "accession numbers are not kept" in " ".join(done.output.split())
    found = queue_command(config, "find", four_waiting.rows[0].study_instance_uid)
    assert found.exit_code == 0 and "delivery:1" in found.output


def test_list_before_the_first_start_makes_no_database(tmp_path: Path) -> None:
    empty = Configuration.model_validate({"state_dir": tmp_path})
    done = queue_command(empty, "list")
    assert done.exit_code == 0, done.output
    assert [file.name for file in tmp_path.iterdir()] == ["osteon.toml"]


def test_deliveries_to_a_destination_that_is_gone_are_dropped_together(
    config: Configuration, four_waiting: Outbox
) -> None:
    with four_waiting.engine.begin() as c:
        c.execute(update(deliveries).where(deliveries.c.destination == "fhir").values(destination="former"))
    done = queue_command(config, "drop", "--to", "former", "--reason", "the server is gone")
    assert done.exit_code == 0, done.output
    assert {row.destination for row in four_waiting.rows if row.state == State.DROPPED} == {"former"}


@pytest.mark.proves("MIS-10")
def test_status_names_reason_and_next_command_of_each_point(config: Configuration, four_waiting: Outbox) -> None:
    with four_waiting.engine.begin() as c:
        parked = {"state": State.PARKED, "code": "mllp_refused", "reason": "ris refuses the message of Doe^Jane (AR)"}
        c.execute(update(deliveries).where(deliveries.c.id == 1).values(**parked))
        c.execute(update(deliveries).where(deliveries.c.destination == "fhir").values(destination="former site"))
    file = config.state_dir / "osteon.toml"
    queue_command(config, "list")  # writes the file
    done = CliRunner().invoke(status, ["--config", str(file)])
    assert done.exit_code == 2  # no role runs
    lines = [line.strip() for line in done.output.splitlines()]
    assert lines[0] == "Osteon is not working."
    assert "reason: ris refuses the message of [name](AR) (mllp_refused)" in lines
    assert "next: osteon queue retry --to ris, once the reason is mended" in lines
    assert any(line.startswith('next: osteon queue reroute --from "former site" --to OTHER') for line in lines)
    assert any("systemctl status osteon-receive" in line for line in lines)
    shown = json.loads(CliRunner().invoke(status, ["--json", "--config", str(file)]).output)
    assert shown["ready"] is False
    assert [p["severity"] for p in shown["points"]] == sorted(p["severity"] for p in shown["points"])
    assert {c["name"] for c in shown["conditions"]} >= {"disk", "clock", "role.deliver", "destination.ris"}


def test_status_before_the_first_start_names_the_start(tmp_path: Path) -> None:
    file = tmp_path / "osteon.toml"
    file.write_text(f'state_dir = "{tmp_path}/state"\n')
    done = CliRunner().invoke(status, ["--config", str(file)])
    assert done.exit_code == 2
    assert "systemctl start osteon.target" in done.output
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("queue", "retry", "delivery:1"),
        ("queue", "drop", "delivery:1", "--reason", "x"),
        ("queue", "hold", "--reason", "x"),
        ("queue", "release"),
        ("withdraw", "1.2", "--reason", "x"),
        ("run", "deliver"),
        ("pack", "install", "/"),
        ("engines", "build"),
    ],
)
def test_command_that_writes_is_refused_as_root_beside_another_user(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, file = tmp_path / "state", tmp_path / "osteon.toml"
    state.mkdir()
    if os.geteuid() == 0:
        os.chown(state, 12345, -1)
    # a role that is not refused ends at once: its database cannot be made
    file.write_text(f'state_dir = "{state}"\ndatabase_url = "sqlite:////dev/null/osteon.db"\n')
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    done = CliRunner().invoke(main, [*arguments, "--config", str(file)])
    assert done.exit_code == 1
    assert f"as root this would leave files of root in {state}" in done.output
    assert "runuser -u" in done.output
    assert shlex.join([sys.executable, *sys.orig_argv[1:]]) in done.output, "the same command, whatever the PATH"
    assert list(state.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "name each JOB, or select them"),
        (("delivery:1", "--all"), "name each JOB, or select them"),
        (("--to", "nowhere"), "no destination 'nowhere'"),
        (("--code", "typo"), "there is no code 'typo'"),
        (("--code", "fhir_refused"), "no job that waits or is parked fits"),
        (("--older-than", "soon"), "'soon' is not a duration such as 90s, 30m, 1h or 2d"),
    ],
)
def test_selection_that_means_nothing_is_refused(
    options: tuple[str, ...], why: str, config: Configuration, four_waiting: Outbox
) -> None:
    done = queue_command(config, "retry", *options)
    assert done.exit_code != 0
    assert why in done.output + str(done.exception)
    assert all(row.state == State.QUEUED for row in four_waiting.rows)
