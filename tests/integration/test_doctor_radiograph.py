"""The doctor's drawn radiograph: each way in which it does not arrive, or gets no answer, is a finding."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Configuration
from appliance.domain.reason import ReasonCode
from appliance.domain.received import Received
from appliance.errors import Rejected
from appliance.storage.database import open_database
from appliance.storage.instances import keep_instance
from appliance.storage.trials import TrialQueue
from provisioning.operation.doctor.finding import Finding, Level
from provisioning.operation.doctor.radiograph import check_radiograph
from tests.support.certificates import Authority
from tests.support.ports import free_ports
from tests.support.receiving import Receiving
from tests.support.waiting import wait_until


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[Receiving, Configuration]]]:
    """A function that starts a receiver and returns it with its configuration."""
    started: list[Receiving] = []

    def make(**receive: Any) -> tuple[Receiving, Configuration]:
        receive = {"port": free_ports(1)[0], "reserve_mb": 0} | receive
        started.append(Receiving(tmp_path, **receive))
        return started[-1], Configuration.model_validate({"state_dir": str(tmp_path), "receive": receive})

    yield make
    for one in started:
        one.close()


def found(config: Configuration, follow_s: float = 0.3) -> list[Finding]:
    return list(check_radiograph(config, follow_s))


def trial_files(config: Configuration) -> list[Path]:
    return [path for path in config.trials_dir.rglob("*") if path.is_file()]


def test_radiograph_that_is_not_analysed_is_a_fault_of_the_role_analyse(start: Any) -> None:
    receiving, config = start()
    received, answered = found(config)
    assert received.level is Level.GOOD
    assert (answered.level, answered.check) == (Level.ERROR, "radiograph.answered")
    assert "osteon-analyse" in answered.remedy
    assert (trial_files(config), receiving.recorded, receiving.files) == ([], [], [])


def test_radiograph_behind_others_is_a_warning(start: Any) -> None:
    receiving, config = start()
    keep_instance(
        receiving.engine,
        Received(
            sop_instance_uid="1.2",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            digest="0" * 64,
            size_bytes=1,
            calling_ae_title="ROOM1",
        ),
    )
    _, answered = found(config)
    assert answered.level is Level.WARNING
    assert "1 radiographs have precedence" in answered.seen


def test_radiograph_that_ends_without_an_answer_is_named_with_its_reason(start: Any) -> None:
    receiving, config = start()
    queue = TrialQueue(receiving.engine, "me")

    def refuse() -> None:
        wait_until(lambda: bool(queue.peek()), "a trial")
        (lease,) = queue.lease()
        queue.failed(lease, Rejected(ReasonCode.DECODER_DIED, "its process died"), for_good=True)

    thread = threading.Thread(target=refuse)
    thread.start()
    _, answered = found(config, follow_s=60)
    thread.join()
    assert answered.level is Level.ERROR
    assert "its process died (decoder_died)" in answered.seen
    assert answered.remedy == ReasonCode.DECODER_DIED.remedy


def test_sender_on_this_box_that_is_not_listed_is_named_with_its_remedy(start: Any) -> None:
    receiving, config = start(peers=[{"address": "192.0.2.1"}])
    (received,) = found(config)
    assert received.level is Level.WARNING
    assert "OSTEON-DOCTOR" in received.remedy
    assert receiving.notices == []  # the doctor is no stranger to warn about


def test_sender_on_this_box_that_is_listed_by_its_ae_title_is_used(start: Any) -> None:
    _, config = start(peers=[{"address": "127.0.0.1", "ae_title": "ROUTER"}])
    assert found(config)[0].level is Level.GOOD


def test_receiver_with_tls_alone_is_reached(start: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ours = authority.issue("localhost")
    files = {"certificate": ours.certificate, "key": ours.key, "client_ca": authority.certificate}
    tls = {"port": free_ports(1)[0]} | {key: str(file) for key, file in files.items()}
    _, config = start(plain=False, tls=tls)
    assert found(config)[0].level is Level.GOOD


def test_closed_port_is_a_fault(tmp_path: Path) -> None:
    config = Configuration.model_validate({"state_dir": str(tmp_path), "receive": {"port": free_ports(1)[0]}})
    (received,) = found(config)
    assert received.level is Level.ERROR
    assert "refuse" in received.seen


def test_receiver_with_another_database_is_a_fault(start: Any, tmp_path: Path) -> None:
    _, config = start()
    other = f"sqlite:///{tmp_path / 'other.db'}"
    open_database(other).dispose()
    answered = found(config.model_copy(update={"database_url": other}))[1]
    assert answered.level is Level.ERROR
    assert "not in this database" in answered.seen


def test_refused_radiograph_is_a_fault(start: Any) -> None:
    _, config = start(reserve_mb=10_000_000)
    (received,) = found(config)
    assert received.level is Level.ERROR
    assert "refused" in received.seen
