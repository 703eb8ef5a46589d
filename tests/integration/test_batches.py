"""A batch of radiographs gets the results of each alone, and the failure of one costs no other an attempt."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from sqlalchemy import Engine, Row, delete, select, update

from appliance.analysis.localiser import Localiser
from appliance.analysis.pipeline import Pipeline
from appliance.config import Analyse, Configuration
from appliance.dicom.objects.document import reference
from appliance.dicom.objects.key_objects import rejection_note
from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset
from appliance.domain.codes import REJECTED_FOR_PATIENT_SAFETY
from appliance.domain.identifiers import Site
from appliance.domain.job import Backoff, Settling
from appliance.domain.radiograph import Radiograph, StoredValues
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.errors import Fault
from appliance.ports import Analysis
from appliance.preprocessing.recipe import Cut, Prepared
from appliance.service import batching, spool_reader
from appliance.service.analyser import Analyser
from appliance.service.examined_instance import Examined
from appliance.service.instance_reader import HeaderReader
from appliance.service.isolated_pool import IsolatedPool
from appliance.service.pipeline_assembly import pack_of, pipeline_of
from appliance.service.reading import Reading
from appliance.service.rejection_notes import RejectionNotes
from appliance.service.render_pool import RendersHere
from appliance.service.spool_reader import SpooledInstance, SpoolReader
from appliance.storage.database import open_database
from appliance.storage.instances import AnalysisQueue
from appliance.storage.queue import Queue
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses, instances, results
from appliance.storage.traits import traits_of_results
from engines.runner import RunnerError
from kernels.device import OutOfMemory
from provisioning.demonstration.run import SITES
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.examining import MARK, examine_last, examine_or_die, examine_when_told
from tests.support.kept import keep
from tests.support.people import anna
from tests.support.profiles import renderer
from tests.support.results import result, study
from tests.support.waiting import wait_until

AT = datetime(2026, 11, 25, tzinfo=UTC)

CLOSE = 1e-6
"""A network's outputs for one of a batch: ONNX Runtime multiplies the matrices of a batch in another order."""

FAR = 1000
"""Factor on `CLOSE` for px of a large radiograph, and for heat maps, which are differences of many such outputs."""

ATTEMPTS = 3


CONFIG = Configuration(analyse=Analyse(pack="phantom", compute="cpu"))


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return replace(pipeline_of(CONFIG), now=lambda: AT)


@pytest.fixture(params=[None, 0.05, 0.01])
def pipeline_of_many_regions(pipeline: Pipeline, request: pytest.FixtureRequest) -> Pipeline:
    """Pipelines with three thresholds: the pack's finds one region, lower ones find regions of several sites.

    The spine has no classifier.
    """
    if request.param is None:
        return pipeline
    spec = replace(pack_of(CONFIG).localiser, score_threshold=request.param)
    classifiers: dict[Site, Any] = {site: c for site, c in pipeline.classifiers.items() if site is not Site.SPINE}
    return replace(pipeline, localiser=Localiser(pipeline.localiser._runner, spec), classifiers=classifiers)


def radiograph_of(ds: Dataset) -> Radiograph:
    return radiograph_from_dataset(ds, header_from_dataset(ds, ""))


def with_pixels(radiograph: Radiograph, pixels: NDArray[np.uint16]) -> Radiograph:
    return replace(radiograph, stored=replace(radiograph.stored, pixels=np.ascontiguousarray(pixels)))


@pytest.fixture(scope="module")
def radiographs() -> list[Radiograph]:
    """Every site twice, a uniform radiograph between them, and one of half the size."""
    each = [radiograph_of(instance_from_phantom(phantom(s.value, 5 + k, k == 0))) for k in (0, 1) for s in SITES]
    uniform = with_pixels(each[0], np.full((300, 200), 1000, np.uint16))
    return [*each[:5], uniform, *each[5:], with_pixels(each[2], each[2].stored.pixels[::2, ::2])]


def check_same(actual: Analysis, expected: Analysis) -> None:
    """Compare to the bit, except the networks' outputs, which differ by rounding, and the timings."""
    for f, g in zip(actual.result.findings, expected.result.findings, strict=True):
        assert (f.site, f.laterality, f.verdict) == (g.site, g.laterality, g.verdict)
        np.testing.assert_allclose(f.probability, g.probability, rtol=0, atol=CLOSE)
        np.testing.assert_allclose(f.region_score, g.region_score, rtol=0, atol=CLOSE)
        np.testing.assert_allclose(f.focus, g.focus, rtol=0, atol=FAR * CLOSE)
        np.testing.assert_allclose((*f.box.as_tuple(), *f.peak), (*g.box.as_tuple(), *g.peak), rtol=0, atol=FAR * CLOSE)
    for heat, other in zip(actual.heats, expected.heats, strict=True):
        np.testing.assert_allclose(heat.cells, other.cells, rtol=0, atol=FAR * CLOSE)
    rest = [replace(a.result, findings=expected.result.findings, timings_ms=()) for a in (actual, expected)]
    assert rest[0] == rest[1]


def test_batch_gets_the_results_of_each_radiograph_alone(
    pipeline_of_many_regions: Pipeline, radiographs: list[Radiograph]
) -> None:
    pipeline = pipeline_of_many_regions
    alone = [pipeline.analyse(radiograph) for radiograph in radiographs]
    together = pipeline.analyse_all(radiographs)
    if max(len({f.site for f in analysis.result.findings}) for analysis in alone) == 1:
        assert any(analysis.result.not_analysed for analysis in alone)
    else:
        assert any(analysis.result.not_read for analysis in alone)
    for actual, expected in zip(together, alone, strict=True):
        check_same(actual, expected)
    stages = [stage for stage, _ in together[0].result.timings_ms]
    assert stages == ["preprocess", "localise", "classify"]
    assert pipeline.analyse_all([]) == []


def test_stage_one_of_a_batch_equals_stage_one_of_each(pipeline: Pipeline, radiographs: list[Radiograph]) -> None:
    """To the bit, also in a batch of more than 16, for which DALI runs twice."""
    stored = [radiograph.stored for radiograph in radiographs + radiographs[:8]]
    together = pipeline.preprocessor.prepare(stored)
    assert len(together) == len(stored) > 16
    for made, values in zip(together, stored, strict=True):
        (alone,) = pipeline.preprocessor.prepare([values])
        np.testing.assert_array_equal(made.image, alone.image)
        np.testing.assert_array_equal(made.table, alone.table)
    box = np.array([10, 20, 150.5, 180.25], np.float32)
    cuts = [Cut(stored=s, table=p.table, box=box) for s, p in zip(stored, together, strict=True)]
    for region, cut in zip(pipeline.preprocessor.regions(cuts), cuts, strict=True):
        np.testing.assert_array_equal(region, pipeline.preprocessor.regions([cut])[0])


class SmallMemory:
    """Stage 1 with memory for `room` radiographs."""

    def __init__(self, pipeline: Pipeline, room: int) -> None:
        self._preprocessor = pipeline.preprocessor
        self._room = room
        self.batch_sizes: list[int] = []

    def prepare(self, several: Sequence[StoredValues]) -> list[Prepared]:
        self.batch_sizes.append(len(several))
        if len(several) > self._room:
            raise OutOfMemory("pixels find no room")
        return self._preprocessor.prepare(several)

    def regions(self, cuts: Sequence[Cut]) -> NDArray[np.uint8]:
        return self._preprocessor.regions(cuts)


def test_batch_larger_than_memory_is_halved(pipeline: Pipeline, radiographs: list[Radiograph]) -> None:
    memory = SmallMemory(pipeline, 2)
    together = replace(pipeline, preprocessor=memory).analyse_all(radiographs[:7])
    for actual, radiograph in zip(together, radiographs, strict=False):
        check_same(actual, pipeline.analyse(radiograph))
    assert memory.batch_sizes == [7, 3, 1, 2, 4, 2, 2]
    with pytest.raises(OutOfMemory):
        replace(pipeline, preprocessor=SmallMemory(pipeline, 0)).analyse_all(radiographs[:2])


class WatchedReader(SpoolReader):
    """A reader that notes its batches, fails for chosen radiographs, and calls functions after an examination.

    Attributes
    ----------
    batches
        SOP Instance UIDs of each batch.
    errors
        Error that a batch with this SOP Instance UID raises.
    after_examination
        Function that is called once this SOP Instance UID has been examined.
    """

    def __init__(self, pipeline: Pipeline, spool: FileSpool, processes: int) -> None:
        super().__init__(pipeline, spool, processes)
        self.batches: list[list[str]] = []
        self.errors: dict[str, BaseException] = {}
        self.after_examination: dict[str, Callable[[], object]] = {}

    def examine_spooled(self, instance: SpooledInstance) -> Examined:
        examined = super().examine_spooled(instance)
        if act := self.after_examination.pop(examined.header.sop_instance_uid, None):
            act()
        return examined

    def read_all(self, several: Sequence[Examined]) -> list[Reading]:
        self.batches.append([examined.header.sop_instance_uid for examined in several])
        for uid in self.batches[-1]:
            if uid in self.errors:
                raise self.errors[uid]
        return super().read_all(several)


class Role:
    """An analyser with its database and spool; each step begins when everything that may be decoded ahead is."""

    def __init__(
        self,
        folder: Path,
        pipeline: Pipeline,
        headers: HeaderReader,
        batch_size: int = 4,
        attempts: int = ATTEMPTS,
        processes: int = 1,
    ) -> None:
        self.engine: Engine = open_database(Configuration(state_dir=folder).database)
        self.spool = FileSpool(folder / "spool")
        self.reader = WatchedReader(pipeline, self.spool, processes)
        backoff = Backoff(first_s=0.0, longest_s=0.0)
        self.queue = AnalysisQueue(self.engine, "me", most_attempts=attempts, backoff=backoff)
        settling = Settling()
        self.analyser = Analyser(
            self.engine,
            self.queue,
            self.reader,
            RendersHere(renderer((), self.spool.put)),
            RejectionNotes(self.queue, self.spool, headers, settling),
            settling=settling,
            batch_size=batch_size,
        )

    def examine_by(self, function: Callable[..., Examined]) -> None:
        """Let the child processes call `function` in place of `examine`."""
        self.reader._examine.close()
        self.reader._examine = IsolatedPool(function, self.reader.processes)

    def keep(self, ds: Dataset) -> str:
        return keep(self.engine, self.spool, ds)

    def decode_ahead(self) -> None:
        self.analyser._decode_ahead()
        wait(self.reader._begun.values())

    def step(self) -> bool:
        self.decode_ahead()
        return self.analyser.step()

    def run(self) -> list[list[str]]:
        """Step until the queue is empty; return the SOP Instance UIDs of each batch."""
        while self.step():
            pass
        return self.reader.batches

    def rows(self) -> list[Row[tuple[object, ...]]]:
        with self.engine.connect() as c:
            query = select(analyses, instances.c.sop_instance_uid, results.c.record)
            return list(c.execute(query.join(instances).outerjoin(results).order_by(analyses.c.id)).all())

    def close(self) -> None:
        self.reader.close()
        self.engine.dispose()


RoleOf = Callable[..., Role]


@pytest.fixture(scope="module")
def headers(pipeline: Pipeline) -> Iterator[HeaderReader]:
    made = HeaderReader(pipeline.rules)
    yield made
    made.close()


@pytest.fixture
def role_of(tmp_path: Path, pipeline: Pipeline, headers: HeaderReader) -> Iterator[RoleOf]:
    made: list[Role] = []

    def role(**settings: int) -> Role:
        made.append(Role(tmp_path / str(len(made)), pipeline, headers, **settings))
        return made[-1]

    yield role
    for each in made:
        each.close()


def instance(number: int, site: str = "wrist") -> Dataset:
    return instance_from_phantom(phantom(site, 60 + number, number % 2 == 0))


def results_of(role: Role) -> list[Result]:
    return [replace(Result.from_json(row.record), timings_ms=(), created_at=AT) for row in role.rows()]


def test_decoded_radiographs_are_batched_in_the_order_of_the_queue(role_of: RoleOf) -> None:
    together, one_by_one = role_of(), role_of(batch_size=1)
    sites = ["wrist", "knee", "wrist", "ankle", "wrist", "knee", "wrist"]
    uids = [together.keep(instance(number, site)) for number, site in enumerate(sites)]
    for number, site in enumerate(sites):
        one_by_one.keep(instance(number, site))
    assert together.run() == [uids[:4], uids[4:]]
    assert one_by_one.run() == [[uid] for uid in uids]
    assert [(row.state, row.attempts) for row in together.rows()] == [("done", 1)] * 7
    for actual, expected in zip(results_of(together), results_of(one_by_one), strict=True):
        check_same(Analysis(result=actual), Analysis(result=expected))


def test_single_radiograph_is_analysed_at_once(role_of: RoleOf) -> None:
    role = role_of()
    uid = role.keep(instance(1))
    assert role.analyser.step()
    assert role.reader.batches == [[uid]]
    assert role.rows()[0].state == "done"
    assert not role.analyser.step()
    (made,) = traits_of_results(role.engine, [1]).values()
    assert (made.traits.header_site, made.found_site, made.traits.device) == (Site.WRIST, Site.WRIST, "OSTEON PHANTOM")
    assert 0 < (made.traits.grey_mean or 0) < 1 and made.probability == results_of(role)[0].findings[0].probability


def test_first_radiograph_does_not_wait_for_the_decoding_of_others(role_of: RoleOf) -> None:
    """None is decoded before the first step: the first radiograph is analysed while the others are decoded."""
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(3)]
    assert role.analyser.step()
    assert role.reader.batches == [uids[:1]]
    role.run()
    assert role.reader.batches == [uids[:1], uids[1:]]


def test_batch_holds_at_most_batch_px_pixels(role_of: RoleOf, monkeypatch: pytest.MonkeyPatch) -> None:
    role = role_of()
    instances = [instance(number) for number in range(5)]
    uids = [role.keep(ds) for ds in instances]
    most = sum(ds.Rows * ds.Columns for ds in instances[:2])
    for module in (batching, spool_reader):
        monkeypatch.setattr(module, "BATCH_PX", most)
    assert all(len(batch) <= 2 for batch in role.run())
    assert [uid for batch in role.reader.batches for uid in batch] == uids


def test_decoding_ahead_covers_every_process(role_of: RoleOf) -> None:
    role = role_of(batch_size=1, processes=3)
    for number in range(5):
        role.keep(instance(number))
    role.decode_ahead()
    assert len(role.reader._begun) == 3


def test_decoding_ahead_stops_at_batch_px_pixels(role_of: RoleOf, monkeypatch: pytest.MonkeyPatch) -> None:
    role = role_of()
    for number in range(4):
        role.keep(instance(number))
    monkeypatch.setattr(spool_reader, "BATCH_PX", 1)
    role.decode_ahead()
    decoded = [begun.result() is not None for begun in role.reader._begun.values()]
    assert decoded == [True, False, False, False]
    role.run()
    assert [row.state for row in role.rows()] == ["done"] * 4


def test_decoded_radiograph_leased_by_another_process_is_forgotten(role_of: RoleOf) -> None:
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(3)]
    role.decode_ahead()
    assert len(role.reader._begun) == 3
    Queue(role.engine, analyses, "another").lease(most=2)
    role.run()
    assert role.reader.batches == [uids[2:]]
    assert not role.reader._begun


def test_later_version_of_an_instance_is_analysed_after_the_earlier_one(role_of: RoleOf) -> None:
    role = role_of()
    ds = instance(1)
    first = role.keep(ds)
    ds.PatientName = "CORRECTED^NAME"
    ds.PatientID = "CORRECTED"
    role.keep(ds)
    ds.SeriesDescription = "SENT AGAIN"
    role.keep(ds)
    other = role.keep(instance(2))
    assert role.run() == [[first], [first], [other]]
    assert [(row.state, row.code) for row in role.rows()] == [
        ("done", ""),
        ("done", ""),
        ("not_analysed", "unchanged"),
        ("done", ""),
    ]
    revisions = [Result.from_json(row.record).revision for row in role.rows() if row.record]
    assert revisions == [1, 2, 1]


def test_rejection_note_between_radiographs_is_applied_in_its_turn(role_of: RoleOf) -> None:
    role = role_of()
    ds = instance(1)
    study_result = study(result(ds))
    first = role.keep(ds)
    sources = {first: ds}
    note = rejection_note(
        study_result, sources, [reference(ds)], REJECTED_FOR_PATIENT_SAFETY, at=AT, words="wrong side"
    )
    role.keep(note)
    after = [role.keep(instance(number)) for number in (2, 3)]
    assert role.run() == [[first], after]
    assert [row.code for row in role.rows()] == ["", "rejection_note", "", ""]


@pytest.mark.parametrize("processes", [1, 2])
def test_radiograph_that_ends_the_decoder_costs_no_other_radiograph(role_of: RoleOf, processes: int) -> None:
    role = role_of(processes=processes)
    role.examine_by(examine_or_die)
    instances = [instance(number) for number in range(4)]
    instances[1].ImageComments = MARK.decode()
    uids = [role.keep(ds) for ds in instances]
    role.run()
    assert [uid for batch in role.reader.batches for uid in batch] == uids
    rows = role.rows()
    assert [(row.state, row.code) for row in rows] == [
        ("done", ""),
        ("not_analysed", "decoder_died"),
        *[("done", "")] * 2,
    ]
    assert {row.attempts for row in rows} == {1}


def test_radiographs_decoded_out_of_order_are_analysed_in_the_order_of_the_queue(
    role_of: RoleOf, tmp_path: Path
) -> None:
    role = role_of(batch_size=1, processes=3)
    (tmp_path / "decoded").mkdir()
    role.examine_by(partial(examine_last, tmp_path / "decoded"))
    instances = [instance(number) for number in range(5)]
    instances[0].ImageComments = MARK.decode()
    uids = [role.keep(ds) for ds in instances]
    assert role.run() == [[uid] for uid in uids]
    assert [(row.state, row.attempts) for row in role.rows()] == [("done", 1)] * 5


def test_killed_decoder_costs_only_the_radiograph_that_it_was_at(role_of: RoleOf, tmp_path: Path) -> None:
    role = role_of(batch_size=1, processes=2)
    role.examine_by(partial(examine_when_told, tmp_path))
    uids = [role.keep(instance(number)) for number in range(3)]
    role.analyser._decode_ahead()
    files = [tmp_path / uid for uid in uids[:2]]
    wait_until(lambda: all(file.exists() and file.read_text() for file in files), "two to be under way")
    os.kill(int(files[0].read_text()), signal.SIGKILL)
    (tmp_path / "go").touch()
    role.run()
    assert sorted(role.reader.batches) == sorted([uid] for uid in uids)
    assert [(row.state, row.code) for row in role.rows()] == [("done", "")] * 3
    assert [row.attempts for row in role.rows()] == [1, 1, 1]  # the one that was ended from outside does not count


def test_job_dropped_during_its_examination_leaves_the_batch_intact(role_of: RoleOf) -> None:
    role = role_of()
    ds = instance(1)
    first = role.keep(ds)
    role.run()
    other = role.keep(instance(2))
    ds.SeriesDescription = "SENT AGAIN"  # which would not be analysed: it is unchanged
    role.keep(ds)
    role.reader.after_examination[first] = lambda: role.queue.drop(role.rows()[2].id, anna("sent by mistake"))
    assert role.step()
    assert role.reader.batches == [[first], [other]]
    assert [(row.state, row.code) for row in role.rows()] == [("done", ""), ("done", ""), ("dropped", "dropped")]


def test_unexpected_error_in_a_step_puts_the_rest_of_the_batch_back(role_of: RoleOf) -> None:
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(3)]

    def forget() -> None:
        with role.engine.begin() as c:
            c.execute(delete(analyses).where(analyses.c.id == 1))

    role.reader.after_examination[uids[0]] = forget
    with pytest.raises(KeyError):
        role.step()
    assert [(row.state, row.attempts, row.code) for row in role.rows()] == [
        ("queued", 0, ReasonCode.ANALYSED_ALONE)
    ] * 2
    assert role.run() == [uids, *([uid] for uid in uids[1:])]
    assert [(row.state, row.attempts) for row in role.rows()] == [("done", 1)] * 2


def test_engine_failure_for_one_radiograph_costs_the_others_no_attempt(
    role_of: RoleOf, caplog: pytest.LogCaptureFixture
) -> None:
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(4)]
    role.reader.errors = {uids[1]: RunnerError("logit is not finite")}
    with pytest.raises(Fault, match="not finite"):
        role.step()
    assert role.reader.batches == [uids, uids[:1], uids[1:2]]
    assert "a batch of 4 failed, each is analysed alone: logit is not finite" in caplog.messages
    rows = role.rows()
    assert [(row.state, row.attempts) for row in rows] == [("done", 1), ("leased", 1), *[("queued", 0)] * 2]
    assert [row.code for row in rows[2:]] == [ReasonCode.ANALYSED_ALONE] * 2
    for _ in range(ATTEMPTS - 1):  # as systemd does
        role.queue.release()
        with pytest.raises(Fault):
            role.run()
    role.queue.release()
    role.run()
    assert all(len(batch) == 1 for batch in role.reader.batches[1:])
    rows = role.rows()
    assert [(row.state, row.attempts) for row in rows] == [("done", 1), ("parked", ATTEMPTS), *[("done", 1)] * 2]
    assert [row.code for row in rows] == ["", "lease_expired", "", ""]


def test_unexpected_error_for_one_radiograph_costs_only_that_radiograph(
    role_of: RoleOf, caplog: pytest.LogCaptureFixture
) -> None:
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(3)]
    role.reader.errors = {uids[1]: KeyError("Doe^Jane")}
    assert role.step()
    assert role.reader.batches == [uids, *([uid] for uid in uids)]
    assert "a batch of 3 failed, each is analysed alone: KeyError at test_batches.py" in caplog.text
    assert "Doe" not in caplog.text
    assert [(row.state, row.attempts) for row in role.rows()] == [("done", 1), ("queued", 1), ("done", 1)]
    role.run()
    assert role.rows()[1].state == "parked"


class Killed(BaseException):
    """Stands for the death of the process."""


def test_batch_of_a_role_that_died_is_analysed_one_by_one(role_of: RoleOf) -> None:
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(4)]
    role.reader.errors = {uids[2]: Killed()}
    with pytest.raises(Killed):
        role.step()
    for _ in range(ATTEMPTS - 1):
        role.queue.release()
        with pytest.raises(Killed):
            role.run()
    role.queue.release()
    role.run()
    assert role.reader.batches[0] == uids
    assert all(len(batch) == 1 for batch in role.reader.batches[1:])
    assert [(row.state, row.attempts) for row in role.rows()] == [
        *[("done", 2)] * 2,
        ("parked", ATTEMPTS),
        ("done", 2),
    ]


def test_radiograph_that_failed_before_is_analysed_alone(role_of: RoleOf) -> None:
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(4)]
    with role.engine.begin() as c:
        c.execute(update(analyses).where(analyses.c.id == 2).values(code="bug"))
    assert role.run() == [uids[:1], uids[1:2], uids[2:]]


def test_radiograph_with_a_single_attempt_is_analysed_alone(role_of: RoleOf) -> None:
    role = role_of(attempts=1)
    uids = [role.keep(instance(number)) for number in range(3)]
    assert role.run() == [[uid] for uid in uids]
