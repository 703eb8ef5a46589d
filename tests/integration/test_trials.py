"""Trials leave an answer for minutes and nothing else, whatever fails: no study, delivery, figure or file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from PIL import Image
from pydicom.uid import UID
from sqlalchemy import func, select

from appliance.analysis.pipeline import Pipeline
from appliance.config import Configuration
from appliance.dicom.part10 import part10_bytes
from appliance.domain.job import State
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.domain.trial import MOST_TRIALS, TRIAL_S, new_trial_uid
from appliance.errors import Fault, Transient
from appliance.service import trials as trials_module
from appliance.service.examined_instance import Examined
from appliance.service.pipeline_assembly import pipeline_of
from appliance.service.reading import Reading
from appliance.storage.tables import trials as table
from appliance.storage.trials import TrialStore
from engines.runner import RunnerError
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.peers import Peer
from tests.support.receiving import Receiving
from tests.support.send import storescu
from tests.support.sources import source
from tests.support.trials import RULES, Bench


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return pipeline_of(Configuration(analyse=RULES))


@pytest.fixture(scope="module")
def wrist() -> bytes:
    return part10_bytes(instance_from_phantom(phantom("wrist", 2, fracture=True)))


@pytest.fixture
def bench(tmp_path: Path, pipeline: Pipeline) -> Iterator[Bench]:
    made = Bench(tmp_path, pipeline)
    yield made
    made.trials.close()
    made.engine.dispose()


class Here:
    """Reading in the test's process, where a test is about everything else."""

    def __init__(self, function: Callable[..., Any], **_: int) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> Any:
        return self._function(*arguments)

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_module, "Isolated", Here)


def test_trial_is_answered_with_result_and_picture_and_leaves_no_trace(bench: Bench, wrist: bytes) -> None:
    before = bench.figures()
    bench.add(wrist)
    bench.run()
    trial = bench.trial()
    assert trial.state is State.DONE
    result = Result.from_json(bench.store.files.get(trial.result_digest).decode())
    assert [f.site.value for f in result.findings] == ["wrist"]
    with Image.open(io.BytesIO(bench.store.files.get(trial.picture_digest))) as picture:
        assert picture.mode == "RGB"
        assert max(picture.size) >= 1000
    assert bench.files == {trial.result_digest, trial.picture_digest}  # the file that was tried is gone
    assert bench.figures() == before
    bench.assert_no_trace()
    bench.store.remove("one")
    assert bench.files == set()
    assert bench.store.find("one") is None


@pytest.mark.usefixtures("here")
def test_picture_that_is_tried_is_answered(bench: Bench) -> None:
    file = io.BytesIO()
    Image.fromarray(phantom("wrist", 2, fracture=False).pixels // 16).convert("L").save(file, "PNG")
    bench.add(file.getvalue())
    bench.run()
    assert bench.trial().state in (State.DONE, State.NOT_ANALYSED)
    assert bench.trial().picture_digest
    bench.assert_no_trace()


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "not_dicom"), (b"GIF89a" + bytes(500), "not_dicom"), (b"\xff\xd8\xff\xe0" + bytes(500), "not_a_picture")],
)
@pytest.mark.usefixtures("here")
def test_file_that_is_no_radiograph_ends_with_its_reason(bench: Bench, content: bytes, code: str) -> None:
    bench.add(content)
    bench.run()
    assert (bench.trial().state, bench.trial().code) == (State.NOT_ANALYSED, code)
    assert bench.files == set()
    bench.assert_no_trace()


@pytest.mark.usefixtures("here")
def test_radiograph_that_the_rules_leave_out_is_answered_as_not_analysed(bench: Bench) -> None:
    ds = source()
    ds.Modality = "MG"
    bench.add(part10_bytes(ds))
    bench.run()
    assert bench.trial().state is State.NOT_ANALYSED
    assert bench.files == {bench.trial().result_digest, bench.trial().picture_digest} - {""}
    bench.assert_no_trace()


@pytest.mark.usefixtures("here")
def test_engine_failure_stops_the_role_once_and_parks_the_trial(bench: Bench, wrist: bytes) -> None:
    def fail(_: Examined) -> Reading:
        raise RunnerError("logit is not finite")

    bench.read = fail
    bench.add(wrist)
    with pytest.raises(Fault):
        bench.run()
    bench.trials = bench.restarted()
    bench.run()
    assert (bench.trial().state, bench.trial().code) == (State.PARKED, ReasonCode.LEASE_EXPIRED)
    bench.store.prune()
    assert bench.files == set()
    bench.assert_no_trace()


@pytest.mark.usefixtures("here")
def test_unexpected_error_parks_the_trial_without_its_content_in_the_log(
    bench: Bench, wrist: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Examined) -> Reading:
        raise KeyError("Doe^Jane")

    bench.read = fail
    bench.add(wrist)
    bench.run()
    assert bench.trial().state is State.PARKED
    assert "Doe" not in caplog.text + bench.trial().reason
    assert bench.files == set()
    bench.assert_no_trace()


@pytest.mark.usefixtures("here")
def test_full_disk_puts_the_trial_off(bench: Bench, wrist: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> str:
        raise Transient(ReasonCode.DISK_FULL, "full")

    bench.add(wrist)
    monkeypatch.setattr(bench.store.files, "put", fail)
    bench.run()
    assert (bench.trial().state, bench.trial().code) == (State.QUEUED, ReasonCode.DISK_FULL)
    assert 0 < bench.trials.rest_s < 60
    assert len(bench.files) == 1
    bench.assert_no_trace()


@pytest.mark.parametrize("moment", ["before it is read", "while it is read", "while it is analysed"])
@pytest.mark.usefixtures("here")
def test_trial_that_is_removed_leaves_no_file_and_no_answer(bench: Bench, wrist: bytes, moment: str) -> None:
    read = bench.read

    def read_after_removal(examined: Examined) -> Reading:
        bench.store.remove("one")
        return read(examined)

    bench.add(wrist)
    if moment == "while it is read":
        assert bench.trials.step()
    if moment == "while it is analysed":
        bench.read = read_after_removal
    else:
        bench.store.remove("one")
    bench.run()
    assert bench.store.find("one") is None
    assert bench.files == set()
    bench.assert_no_trace()


def test_role_that_stops_gives_its_trial_back(bench: Bench, wrist: bytes) -> None:
    bench.add(wrist)
    assert bench.trials.step()
    bench.trials.close()
    assert bench.trial().state is State.QUEUED
    bench.trials = bench.restarted()
    bench.run()
    assert bench.trial().state is State.DONE


@pytest.mark.parametrize("state", [State.QUEUED, State.DONE])
@pytest.mark.usefixtures("here")
def test_trial_is_gone_after_its_time_also_after_a_crash(bench: Bench, wrist: bytes, state: State) -> None:
    bench.add(wrist)
    if state is State.DONE:
        bench.run()
    assert bench.trial().state is state
    half_written = bench.store.incoming()
    half_written.write(b"left by a writer that died")
    bench.store.files.put(b"kept by a writer that died before it wrote its row")
    bench.age(TRIAL_S - 30)
    bench.store.prune()
    assert bench.store.find("one")
    bench.age(TRIAL_S + 1)
    assert bench.store.find("one") is None
    bench.store.prune()
    assert bench.files == set()
    with bench.engine.connect() as c:
        assert c.execute(select(func.count()).select_from(table)).scalar() == 0


def test_trial_from_before_the_clock_was_set_back_is_removed(bench: Bench, wrist: bytes) -> None:
    bench.add(wrist)
    bench.age(-3600)
    assert bench.store.find("one") is None
    bench.store.prune()
    assert bench.files == set()


def test_trials_of_the_same_bytes_share_a_file_until_the_last_is_removed(bench: Bench) -> None:
    bench.add(b"same", "one")
    bench.add(b"same", "two")
    bench.store.remove("one")
    assert len(bench.files) == 1
    bench.store.remove("two")
    assert bench.files == set()


def test_trial_whose_file_was_removed_meanwhile_is_refused(bench: Bench) -> None:
    bench.add(b"same", "one")
    file = bench.store.incoming()
    file.write(b"same")
    digest = file.keep()
    bench.store.remove("one")
    with pytest.raises(Transient, match="try it again"):
        bench.store.add("two", digest)


def test_trial_beyond_the_most_is_refused(bench: Bench) -> None:
    for number in range(MOST_TRIALS):
        bench.add(b"%d" % number, f"{number}")
    with pytest.raises(Transient) as caught:
        bench.add(b"one more", "more")
    assert caught.value.code is ReasonCode.TOO_MANY_TRIALS


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Receiving]:
    made = Receiving(tmp_path)
    yield made
    made.close()


def trial_file(folder: Path) -> tuple[Path, str]:
    """Write a drawn radiograph with the UID of a trial; return its path and UID."""
    ds = instance_from_phantom(phantom("wrist", 2, fracture=True))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(new_trial_uid())
    path = folder / "trial.dcm"
    path.write_bytes(part10_bytes(ds))
    return path, str(ds.SOPInstanceUID)


def test_received_trial_is_kept_apart_and_is_no_radiograph(receiving: Receiving, tmp_path: Path, peer: Peer) -> None:
    path, uid = trial_file(tmp_path)
    store = TrialStore(receiving.engine, tmp_path / "trials")
    storescu(peer, receiving.port, path)
    storescu(peer, receiving.port, path)
    trial = store.find(uid)
    assert trial
    assert trial.state is State.QUEUED
    (file,) = (p for p in (tmp_path / "trials").rglob("*") if p.is_file())
    assert pydicom.dcmread(file).SOPInstanceUID == uid
    assert (receiving.recorded, receiving.files, receiving.receiver.received) == ([], [], 0)
    store.remove(uid)
    storescu(peer, receiving.port, path)  # after its trial was removed it is none of a patient's either
    assert (receiving.recorded, receiving.files, receiving.receiver.received) == ([], [], 0)


def test_received_trial_beyond_the_most_is_refused_and_noted(receiving: Receiving, tmp_path: Path, peer: Peer) -> None:
    store = TrialStore(receiving.engine, tmp_path / "trials")
    digest = store.files.put(b"1")
    for number in range(MOST_TRIALS):
        store.add(f"{number}", digest)
    output, _ = storescu.start(peer, receiving.port, trial_file(tmp_path)[0]).communicate(timeout=60)
    assert "Refused: OutOfResources" in output
    assert [notice.code for notice in receiving.notices] == [ReasonCode.TOO_MANY_TRIALS]
    assert receiving.recorded == []


def test_trial_of_another_owner_is_not_found_and_not_removed(bench: Bench) -> None:
    digest = bench.store.files.put(b"1")
    bench.store.add("one", digest, owner="a")
    assert bench.store.find("one", owner="b") is None
    bench.store.remove("one", owner="b")
    bench.store.remove_of("b")
    assert bench.store.find("one", owner="a")
    bench.store.remove_of("a")
    assert bench.store.find("one", owner="a") is None
    assert bench.files == set()
