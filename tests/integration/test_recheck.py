"""Recheck at the start of the analyse role: kept radiographs give the recorded answers, or sites go back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from sqlalchemy import Engine, select

from appliance.dicom.part10 import part10_bytes
from appliance.domain.audit import AuditAction, Door
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.result import Result
from appliance.errors import Fault
from appliance.rollout.recheck import TOLERANCE
from appliance.service import recheck as module
from appliance.service.instance_reader import Reader
from appliance.service.pipeline_assembly import pipeline_of
from appliance.service.recheck import MOST_STARTS, recheck
from appliance.service.spool_reader import SpooledInstance, SpoolReader
from appliance.storage.audit import all_entries
from appliance.storage.phases import enter_sites, site_phases
from appliance.storage.results import record_result
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses, rechecks
from engines.runner import RunnerError
from provisioning.phantoms import instance_from_phantom, phantom
from tests.integration.test_batches import CONFIG
from tests.support.kept import keep
from tests.support.phases import set_phases

LIVE = (Site.KNEE, Site.WRIST)
ENGINES = dict.fromkeys(Site, "f")


@pytest.fixture
def reader(spool: FileSpool) -> Iterator[SpoolReader]:
    made = SpoolReader(pipeline_of(CONFIG), spool)
    yield made
    made.close()


@pytest.fixture
def recorded(engine: Engine, spool: FileSpool, reader: SpoolReader) -> list[Result]:
    """Two radiographs with their results, as another software has analysed and recorded them; two live sites."""
    set_phases(engine, Phase.SHADOW, fingerprints=ENGINES)
    set_phases(engine, Phase.LIVE, LIVE, ENGINES)
    made = []
    for number, fracture in enumerate((True, False), start=1):
        ds = instance_from_phantom(phantom("knee", 60 + number, fracture, plain=True))
        keep(engine, spool, ds)
        examined = reader.examine_spooled(SpooledInstance(spool.put(part10_bytes(ds)), "ROOM1"))
        result = reader.read(examined).analysis.result
        with engine.begin() as c:
            analysis_id = c.execute(select(analyses.c.id).order_by(analyses.c.id.desc())).scalar()
            assert analysis_id
            record_result(c, analysis_id, of_software(result, "0.0.9"), [])
        made.append(result)
    return made


def of_software(result: Result, version: str) -> Result:
    return replace(result, provenance=replace(result.provenance, software_version=version))


def run(
    engine: Engine,
    reader: SpoolReader,
    compute: str = "gpu (new, driver 600)",
    engines: Mapping[Site, str] | None = None,
    pack_digest: str = "",
) -> None:
    provenance = reader._pipeline.provenance
    provenance = replace(provenance, compute=compute, pack_digest=pack_digest or provenance.pack_digest)
    enter_sites(engine, engines or ENGINES, Phase.FAMILIARISE)
    recheck(engine, reader, provenance, engines or ENGINES, lambda _: None)


def phases(engine: Engine) -> dict[Site, Phase]:
    with engine.connect() as c:
        return {each.site: each.phase for each in site_phases(c) if each.site in (*LIVE, Site.ANKLE)}


def entries(engine: Engine) -> list[str]:
    with engine.connect() as c:
        return [
            e.detail
            for e in all_entries(c)
            if e.action is AuditAction.RECHECK and e.door is Door.APPLIANCE and e.reason
        ]


def outcomes(engine: Engine) -> list[tuple[int, bool | None]]:
    with engine.connect() as c:
        return [(row.compared, row.is_within) for row in c.execute(select(rechecks).order_by(rechecks.c.id))]


def change_networks(monkeypatch: pytest.MonkeyPatch, by: float) -> list[int]:
    """Let every new probability be off by that much; return the list that counts the analyses."""
    calls: list[int] = []
    read = Reader.read

    def read_differently(self: Reader, examined: object) -> object:
        reading = read(self, examined)  # type: ignore[arg-type]
        calls.append(1)
        result = reading.analysis.result
        findings = tuple(replace(f, probability=abs(f.probability - by)) for f in result.findings)
        return replace(reading, analysis=replace(reading.analysis, result=replace(result, findings=findings)))

    monkeypatch.setattr(Reader, "read", read_differently)
    return calls


def test_first_start_of_a_pack_is_recorded_without_an_entry(engine: Engine, reader: SpoolReader) -> None:
    run(engine, reader)
    assert outcomes(engine) == [(0, True)]
    assert entries(engine) == []


@pytest.mark.usefixtures("recorded")
def test_changed_device_with_the_same_answers_is_recorded_once_and_changes_no_phase(
    engine: Engine, reader: SpoolReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = change_networks(monkeypatch, TOLERANCE / 2)
    run(engine, reader)
    assert phases(engine) == {Site.KNEE: Phase.LIVE, Site.WRIST: Phase.LIVE, Site.ANKLE: Phase.SHADOW}
    assert outcomes(engine) == [(2, True)]
    (detail,) = entries(engine)
    assert "on gpu (new, driver 600): 2 kept radiographs analysed again: 0 with other verdicts" in detail
    assert len(calls) == 2
    run(engine, reader)  # the next start with the same device
    assert len(calls) == 2
    run(engine, reader, compute="cpu")
    assert len(calls) == 4
    assert len(entries(engine)) == 2


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("by", [TOLERANCE * 1.5, 1.0], ids=["probability", "verdict"])
@pytest.mark.proves("SAF-27")
def test_changed_device_with_other_answers_sets_live_sites_back_at_each_start(
    engine: Engine, reader: SpoolReader, monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    change_networks(monkeypatch, by)
    run(engine, reader)
    assert phases(engine) == {Site.KNEE: Phase.FAMILIARISE, Site.WRIST: Phase.FAMILIARISE, Site.ANKLE: Phase.SHADOW}
    with engine.connect() as c:
        revoked = {each.site for each in site_phases(c) if each.is_revoked}
    assert revoked == set(LIVE)
    set_phases(engine, Phase.LIVE, LIVE, ENGINES)
    run(engine, reader)
    assert phases(engine)[Site.KNEE] is Phase.FAMILIARISE
    assert [is_within for _, is_within in outcomes(engine)] == [False, False]


def test_damaged_files_are_not_compared_and_alone_set_sites_back(
    engine: Engine, spool: FileSpool, reader: SpoolReader, recorded: list[Result]
) -> None:
    digests = [d for folder in range(256) for d in spool.written(folder, -60, 3600)]
    assert len(digests) == len(recorded)
    spool.remove(digests[0])
    run(engine, reader, compute="one")
    assert phases(engine)[Site.KNEE] is Phase.LIVE
    assert "1 could not be read" in entries(engine)[-1]
    spool.remove(digests[1])
    run(engine, reader, compute="none")
    assert phases(engine)[Site.KNEE] is Phase.FAMILIARISE


@pytest.mark.usefixtures("recorded")
def test_radiograph_that_fails_now_counts_as_another_answer(
    engine: Engine, reader: SpoolReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a bug of the new version")

    monkeypatch.setattr(Reader, "read", fail)
    run(engine, reader)
    assert "2 with other verdicts" in entries(engine)[0]
    assert phases(engine)[Site.KNEE] is Phase.FAMILIARISE


@pytest.mark.usefixtures("recorded")
def test_recheck_that_ends_the_role_each_time_is_given_up_and_sets_sites_back(
    engine: Engine, reader: SpoolReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RunnerError("the device is lost")

    monkeypatch.setattr(Reader, "read", fail)
    for _ in range(MOST_STARTS):
        with pytest.raises((RunnerError, Fault)):
            run(engine, reader)
        assert phases(engine)[Site.KNEE] is Phase.LIVE
    run(engine, reader)
    assert phases(engine)[Site.KNEE] is Phase.FAMILIARISE
    assert outcomes(engine) == [(0, False)]
    assert "ended each time" in entries(engine)[0]


@pytest.mark.usefixtures("recorded")
def test_only_the_newest_radiographs_are_compared(
    engine: Engine, reader: SpoolReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 1)
    run(engine, reader)
    assert outcomes(engine) == [(1, True)]


@pytest.mark.usefixtures("recorded")
def test_pack_and_machine_that_change_together_are_compared_by_sites_of_the_same_engine(
    engine: Engine, reader: SpoolReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_networks(monkeypatch, 1.0)
    run(engine, reader, engines=ENGINES | {Site.HAND: "other"}, pack_digest="f" * 64)
    assert outcomes(engine) == [(2, False)]
    assert phases(engine)[Site.KNEE] is Phase.FAMILIARISE


@pytest.mark.usefixtures("recorded")
def test_radiographs_of_another_engine_are_not_compared_and_the_rest_proves_nothing_on_another_machine(
    engine: Engine, reader: SpoolReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(engine, reader, compute="one")
    calls = change_networks(monkeypatch, 1.0)
    run(engine, reader, compute="two", engines=ENGINES | {Site.KNEE: "other"})
    assert calls == []
    assert outcomes(engine)[-1] == (0, False)
    assert phases(engine) == {Site.KNEE: Phase.SHADOW, Site.WRIST: Phase.FAMILIARISE, Site.ANKLE: Phase.SHADOW}
    assert "no radiograph was kept" in entries(engine)[-1]
