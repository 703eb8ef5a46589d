"""Radiographs that are analysed together get the answers that each gets alone, and pay for no other's failure."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from sqlalchemy import Engine, Row, delete, select, update

from appliance.analysis.localiser import Localiser
from appliance.analysis.pipeline import Analysis, Pipeline
from appliance.config import Analyse, Configuration
from appliance.dicom.objects.codes import REJECTED_FOR_PATIENT_SAFETY
from appliance.dicom.objects.document import reference
from appliance.dicom.objects.key_objects import rejection_note
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset
from appliance.domain.identifiers import Site
from appliance.domain.job import Backoff, Settling
from appliance.domain.radiograph import Radiograph, StoredValues
from appliance.domain.received import Received
from appliance.domain.result import Result
from appliance.errors import Fault
from appliance.preprocessing.recipe import Cut, Prepared
from appliance.service import analyser as handlers
from appliance.service import instance_reader as reading
from appliance.service.analyser import Analyser
from appliance.service.instance_reader import Examined, Headers, Load, Reader, Reading, examine
from appliance.service.isolation import Isolated
from appliance.service.pipeline_assembly import pack_of, pipeline_of
from appliance.storage.database import open_database
from appliance.storage.instances import AnalysisQueue, keep_instance
from appliance.storage.queue import Queue
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses, instances, results
from engines.runner import RunnerError
from kernels.device import OutOfMemory
from provisioning.demonstration.run import SITES
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.profiles import renderer
from tests.support.results import result, study

AT = datetime(2026, 11, 25, tzinfo=UTC)

CLOSE = 1e-6
"""A network's outputs for one of a batch: ONNX Runtime multiplies the matrices of a batch in another order."""

FAR = 1000
"""So many times that in px of a large film, and in maps, which are differences of many such outputs."""

ATTEMPTS = 3


CONFIG = Configuration(analyse=Analyse(pack="phantom", compute="cpu"))


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return replace(pipeline_of(CONFIG), now=lambda: AT)


@pytest.fixture(params=[None, 0.05, 0.01])
def seeing(pipeline: Pipeline, request: pytest.FixtureRequest) -> Pipeline:
    """With the pack's threshold, which finds one region; with lower ones, which find several of several sites.

    Not all of these have a classifier.
    """
    if request.param is None:
        return pipeline
    spec = replace(pack_of(CONFIG).localiser, score_threshold=request.param)
    classifiers = {site: c for site, c in pipeline.classifiers.items() if site is not Site.SPINE}
    return replace(pipeline, localiser=Localiser(pipeline.localiser._runner, spec), classifiers=classifiers)


def radiograph(ds: Dataset) -> Radiograph:
    return radiograph_from_dataset(ds, header_from_dataset(ds, ""))


def shown(made: Radiograph, pixels: NDArray[np.uint16]) -> Radiograph:
    return replace(made, stored=replace(made.stored, pixels=np.ascontiguousarray(pixels)))


@pytest.fixture(scope="module")
def films() -> list[Radiograph]:
    """Every site twice, one that shows nothing between them, and one that is smaller."""
    each = [radiograph(instance_from_phantom(phantom(s.value, 5 + k, k == 0))) for k in (0, 1) for s in SITES]
    nothing = shown(each[0], np.full((300, 200), 1000, np.uint16))
    return [*each[:5], nothing, *each[5:], shown(each[2], each[2].stored.pixels[::2, ::2])]


def same(actual: Analysis, expected: Analysis) -> None:
    """To the bit, but for what networks say, and how long it took."""
    for f, g in zip(actual.result.findings, expected.result.findings, strict=True):
        assert (f.site, f.laterality, f.answer) == (g.site, g.laterality, g.answer)
        np.testing.assert_allclose(f.probability, g.probability, rtol=0, atol=CLOSE)
        np.testing.assert_allclose(f.region_score, g.region_score, rtol=0, atol=CLOSE)
        np.testing.assert_allclose(f.focus, g.focus, rtol=0, atol=FAR * CLOSE)
        np.testing.assert_allclose((*f.box.as_tuple(), *f.peak), (*g.box.as_tuple(), *g.peak), rtol=0, atol=FAR * CLOSE)
    for heat, other in zip(actual.heats, expected.heats, strict=True):
        np.testing.assert_allclose(heat.cells, other.cells, rtol=0, atol=FAR * CLOSE)
    rest = [replace(a.result, findings=expected.result.findings, timings_ms=()) for a in (actual, expected)]
    assert rest[0] == rest[1]


def test_together_they_are_answered_as_each_alone(seeing: Pipeline, films: list[Radiograph]) -> None:
    alone = [seeing.analyse(film) for film in films]
    together = seeing.analyse_all(films)
    if max(len({f.site for f in analysis.result.findings}) for analysis in alone) == 1:
        assert any(analysis.result.not_analysed for analysis in alone)
    else:
        assert any(analysis.result.unread_regions for analysis in alone)
    for actual, expected in zip(together, alone, strict=True):
        same(actual, expected)
    stages = [stage for stage, _ in together[0].result.timings_ms]
    assert stages == ["preprocess", "localise", "classify"]
    assert seeing.analyse_all([]) == []


def test_stage_one_of_a_batch_is_that_of_each(pipeline: Pipeline, films: list[Radiograph]) -> None:
    """To the bit, also where it takes DALI two runs."""
    stored = [film.stored for film in films + films[:8]]
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


class Short:
    """Stage 1 where there is room for so many films."""

    def __init__(self, pipeline: Pipeline, room: int) -> None:
        self._whole, self._room = pipeline.preprocessor, room
        self.seen: list[int] = []

    def prepare(self, films: Sequence[StoredValues]) -> list[Prepared]:
        self.seen.append(len(films))
        if len(films) > self._room:
            raise OutOfMemory("pixels find no room")
        return self._whole.prepare(films)

    def regions(self, cuts: Sequence[Cut]) -> NDArray[np.uint8]:
        return self._whole.regions(cuts)


def test_where_memory_is_short_half_goes_at_a_time(pipeline: Pipeline, films: list[Radiograph]) -> None:
    short = Short(pipeline, 2)
    for actual, film in zip(replace(pipeline, preprocessor=short).analyse_all(films[:7]), films, strict=False):
        same(actual, pipeline.analyse(film))
    assert short.seen == [7, 3, 1, 2, 4, 2, 2]
    with pytest.raises(OutOfMemory):
        replace(pipeline, preprocessor=Short(pipeline, 0)).analyse_all(films[:2])


DEADLY = b"DEADLY"


def examine_or_die(load: Load, *others: object) -> Examined:
    """As a decoder with a flaw: what bears a mark ends its process, unless the pixels are left alone."""
    if DEADLY in load() and len(others) < 3:
        ctypes.string_at(0)
    return examine(load, *others)  # type: ignore[arg-type]


class Watched(Reader):
    """Notes what goes together, has engines that some radiographs bring down, and time for others to interfere."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(pipeline)
        self.batches: list[list[str]] = []
        self.harmful: dict[str, BaseException] = {}
        self.meanwhile: dict[str, Callable[[], object]] = {}

    def examine(self, load: Load, calling_ae_title: str = "") -> Examined:
        examined = super().examine(load, calling_ae_title)
        if interfere := self.meanwhile.pop(examined.header.sop_instance_uid, None):
            interfere()
        return examined

    def read_all(self, several: Sequence[Examined]) -> list[Reading]:
        self.batches.append([examined.header.sop_instance_uid for examined in several])
        for uid in self.batches[-1]:
            if uid in self.harmful:
                raise self.harmful[uid]
        return super().read_all(several)


class Role:
    """The analyse role's part of it, stopped between two steps until all that may be read ahead is."""

    def __init__(
        self, folder: Path, pipeline: Pipeline, headers: Headers, most: int = 4, attempts: int = ATTEMPTS
    ) -> None:
        self.engine: Engine = open_database(Configuration(state_dir=folder).database)
        self.spool, self.reader = FileSpool(folder / "spool"), Watched(pipeline)
        backoff = Backoff(first_s=0.0, longest_s=0.0)
        self.queue = AnalysisQueue(self.engine, "me", most_attempts=attempts, backoff=backoff)
        readers, settling = (self.reader, headers), Settling()
        self.analyser = Analyser(
            self.engine, self.queue, self.spool, *readers, renderer((), self.spool.put), settling, most
        )

    def keep(self, ds: Dataset) -> str:
        received = Received(
            sop_instance_uid=ds.SOPInstanceUID,
            sop_class_uid=ds.SOPClassUID,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            digest=self.spool.put(part10_bytes(ds)),
            size_bytes=1,
            calling_ae_title="ROOM1",
        )
        keep_instance(self.engine, received)
        return str(ds.SOPInstanceUID)

    def read_ahead(self) -> None:
        self.analyser._look_ahead()
        wait(self.reader._ahead.values())

    def step(self) -> bool:
        self.read_ahead()
        return self.analyser.step()

    def run(self) -> list[list[str]]:
        """Until the queue is empty; what went together."""
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
def headers(pipeline: Pipeline) -> Iterator[Headers]:
    made = Headers(pipeline.rules)
    yield made
    made.close()


@pytest.fixture
def role_of(tmp_path: Path, pipeline: Pipeline, headers: Headers) -> Iterator[RoleOf]:
    made: list[Role] = []

    def role(**settings: int) -> Role:
        made.append(Role(tmp_path / str(len(made)), pipeline, headers, **settings))
        return made[-1]

    yield role
    for each in made:
        each.close()


def instance(number: int, site: str = "wrist") -> Dataset:
    return instance_from_phantom(phantom(site, 60 + number, number % 2 == 0))


def answers(role: Role) -> list[Result]:
    return [replace(Result.from_json(row.record), timings_ms=(), created_at=AT) for row in role.rows()]


def test_what_is_read_goes_together_and_in_order(role_of: RoleOf) -> None:
    together, one_by_one = role_of(), role_of(most=1)
    sites = ["wrist", "knee", "wrist", "ankle", "wrist", "knee", "wrist"]
    uids = [together.keep(instance(number, site)) for number, site in enumerate(sites)]
    for number, site in enumerate(sites):
        one_by_one.keep(instance(number, site))
    assert together.run() == [uids[:4], uids[4:]]
    assert one_by_one.run() == [[uid] for uid in uids]
    assert [(row.state, row.attempts) for row in together.rows()] == [("done", 1)] * 7
    for actual, expected in zip(answers(together), answers(one_by_one), strict=True):
        same(Analysis(result=actual), Analysis(result=expected))


def test_one_that_is_alone_waits_for_nothing(role_of: RoleOf) -> None:
    role = role_of()
    uid = role.keep(instance(1))
    assert role.analyser.step()
    assert role.reader.batches == [[uid]]
    assert role.rows()[0].state == "done"
    assert not role.analyser.step()


def test_one_is_not_held_up_by_what_is_still_read(role_of: RoleOf) -> None:
    """Nothing was read before the first step: the first goes at once, while the others are."""
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(3)]
    assert role.analyser.step()
    assert role.reader.batches == [uids[:1]]
    role.run()
    assert role.reader.batches == [uids[:1], uids[1:]]


def test_large_ones_go_by_themselves(role_of: RoleOf, monkeypatch: pytest.MonkeyPatch) -> None:
    role = role_of()
    films = [instance(number) for number in range(5)]
    uids = [role.keep(ds) for ds in films]
    most = sum(ds.Rows * ds.Columns for ds in films[:2])
    for module in (handlers, reading):
        monkeypatch.setattr(module, "TOGETHER_PX", most)
    assert all(len(batch) <= 2 for batch in role.run())
    assert [uid for batch in role.reader.batches for uid in batch] == uids


def test_what_is_read_ahead_is_bounded(role_of: RoleOf, monkeypatch: pytest.MonkeyPatch) -> None:
    role = role_of()
    for number in range(4):
        role.keep(instance(number))
    monkeypatch.setattr(reading, "TOGETHER_PX", 1)
    role.read_ahead()
    read = [begun.result() is not None for begun in role.reader._ahead.values()]
    assert read == [True, False, False, False]
    role.run()
    assert [row.state for row in role.rows()] == ["done"] * 4


def test_what_somebody_else_took_is_forgotten(role_of: RoleOf) -> None:
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(3)]
    role.read_ahead()
    assert len(role.reader._ahead) == 3
    Queue(role.engine, analyses, "another").lease(most=2)
    role.run()
    assert role.reader.batches == [uids[2:]]
    assert not role.reader._ahead


def test_a_later_version_is_answered_after_the_earlier_one(role_of: RoleOf) -> None:
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


def test_a_rejection_is_heard_in_its_turn(role_of: RoleOf) -> None:
    role = role_of()
    ds = instance(1)
    said = study(result(ds))
    first = role.keep(ds)
    sources = {first: ds}
    note = rejection_note(said, sources, [reference(ds)], REJECTED_FOR_PATIENT_SAFETY, at=AT, words="wrong side")
    role.keep(note)
    after = [role.keep(instance(number)) for number in (2, 3)]
    assert role.run() == [[first], after]
    assert [row.code for row in role.rows()] == ["", "rejection_note", "", ""]


def test_one_that_ends_the_reading_process_takes_nobody_with_it(role_of: RoleOf) -> None:
    role = role_of()
    role.reader._examine.close()
    role.reader._examine = Isolated(examine_or_die)
    films = [instance(number) for number in range(4)]
    films[1].ImageComments = DEADLY.decode()
    uids = [role.keep(ds) for ds in films]
    role.run()
    assert [uid for batch in role.reader.batches for uid in batch] == uids
    rows = role.rows()
    assert [(row.state, row.code) for row in rows] == [
        ("done", ""),
        ("not_analysed", "decoder_died"),
        *[("done", "")] * 2,
    ]
    assert {row.attempts for row in rows} == {1}


def test_one_that_is_dropped_while_it_is_examined_costs_the_others_nothing(role_of: RoleOf) -> None:
    role = role_of()
    ds = instance(1)
    first = role.keep(ds)
    role.run()
    other = role.keep(instance(2))
    ds.SeriesDescription = "SENT AGAIN"  # which would not be analysed: it is unchanged
    role.keep(ds)
    role.reader.meanwhile[first] = lambda: role.queue.drop(role.rows()[2].id, "sent by mistake")
    assert role.step()
    assert role.reader.batches == [[first], [other]]
    assert [(row.state, row.code) for row in role.rows()] == [("done", ""), ("done", ""), ("dropped", "dropped")]


def test_whatever_ends_a_batch_the_rest_is_put_back(role_of: RoleOf) -> None:
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(3)]

    def forget() -> None:
        with role.engine.begin() as c:
            c.execute(delete(analyses).where(analyses.c.id == 1))

    role.reader.meanwhile[uids[0]] = forget
    with pytest.raises(KeyError):
        role.step()
    assert [(row.state, row.attempts, row.code) for row in role.rows()] == [("queued", 0, handlers.ALONE)] * 2
    assert role.run() == [uids, *([uid] for uid in uids[1:])]
    assert [(row.state, row.attempts) for row in role.rows()] == [("done", 1)] * 2


def test_an_engine_that_fails_for_one_costs_the_others_nothing(
    role_of: RoleOf, caplog: pytest.LogCaptureFixture
) -> None:
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(4)]
    role.reader.harmful = {uids[1]: RunnerError("logit is not finite")}
    with pytest.raises(Fault, match="not finite"):
        role.step()
    assert role.reader.batches == [uids, uids[:1], uids[1:2]]
    assert "4 analyses together failed, and each is tried by itself: logit is not finite" in caplog.messages
    rows = role.rows()
    assert [(row.state, row.attempts) for row in rows] == [("done", 1), ("leased", 1), *[("queued", 0)] * 2]
    assert [row.code for row in rows[2:]] == [handlers.ALONE] * 2
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


def test_a_bug_that_one_meets_costs_that_one(role_of: RoleOf, caplog: pytest.LogCaptureFixture) -> None:
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(3)]
    role.reader.harmful = {uids[1]: KeyError("Doe^Jane")}
    assert role.step()
    assert role.reader.batches == [uids, *([uid] for uid in uids)]
    assert "3 analyses together failed: KeyError" in caplog.text
    assert "Doe" not in caplog.text
    assert [(row.state, row.attempts) for row in role.rows()] == [("done", 1), ("queued", 1), ("done", 1)]
    role.run()
    assert role.rows()[1].state == "parked"


class Killed(BaseException):
    """The end of the process."""


def test_after_the_death_of_the_role_each_is_tried_alone(role_of: RoleOf) -> None:
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(4)]
    role.reader.harmful = {uids[2]: Killed()}
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


def test_one_that_has_failed_before_joins_nobody(role_of: RoleOf) -> None:
    role = role_of()
    uids = [role.keep(instance(number)) for number in range(4)]
    with role.engine.begin() as c:
        c.execute(update(analyses).where(analyses.c.id == 2).values(code="bug"))
    assert role.run() == [uids[:1], uids[1:2], uids[2:]]


def test_who_has_one_attempt_alone_spends_it_alone(role_of: RoleOf) -> None:
    role = role_of(attempts=1)
    uids = [role.keep(instance(number)) for number in range(3)]
    assert role.run() == [[uid] for uid in uids]
