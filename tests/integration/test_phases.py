"""Phases in the database: who sets them, what they let out, and what a change drops."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import Engine, insert, select, update

from appliance.config import Analyse, Configuration, Hl7Destination
from appliance.domain.audit import Door
from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.job import Event
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.domain.study import StudyResult
from appliance.errors import Rejected, Transient
from appliance.preprocessing.recipe import DIGEST
from appliance.service.examined_instance import examine
from appliance.service.pipeline_assembly import SHIPPED, fingerprints_of
from appliance.service.reporter import Reporter
from appliance.storage.audit import newest_entries
from appliance.storage.outbox import DeliveryQueue
from appliance.storage.phases import PhaseBook, enter_sites, set_back, set_phase, site_phases
from appliance.storage.shadow import AT_ONCE
from appliance.storage.studies import StudyQueue, latest_study_result
from appliance.storage.tables import analyses, deliveries, studies
from engines.fingerprint import fingerprints
from engines.pack import read_pack
from tests.support.outbox import Outbox, message, picture, radiograph
from tests.support.people import anna
from tests.support.phases import set_phases
from tests.support.profiles import renderer
from tests.support.results import finding, result

SHADOW, FAMILIARISE, VALIDATE, LIVE = Phase
RIS = Hl7Destination(kind="hl7", name="ris", host="127.0.0.1", port=1, flag="orm")
ELBOW = finding(0.9, site=Site.ELBOW)


@pytest.fixture(autouse=True)
def _live(engine: Engine) -> None:
    set_phases(engine)


class HeaderReader:
    """Reads headers in this process instead of a child."""

    def source(self, load: Callable[[], bytes], calling_ae_title: str = "") -> Dataset:
        return examine(load, calling_ae_title, Analyse()).source


def phase_of(engine: Engine, site: Site = Site.WRIST) -> Phase:
    with engine.connect() as c:
        return next(each.phase for each in site_phases(c) if each.site is site)


def rows(engine: Engine) -> list[tuple[str, str, str]]:
    with engine.connect() as c:
        return [(r.kind, r.state, r.code) for r in c.execute(select(deliveries).order_by(deliveries.c.id))]


def study_of(engine: Engine, uid: str) -> StudyResult | None:
    with engine.connect() as c:
        found = latest_study_result(c, uid)
    return found[1] if found else None


def report(box: Outbox, book: PhaseBook | None = None) -> bool:
    headers = HeaderReader()
    queue = StudyQueue(box.engine, "me", most_attempts=3)
    made = renderer((RIS,), box.spool.put)
    return Reporter(box.engine, queue, box.spool, headers, made, book).step()  # type: ignore[arg-type]


def test_new_sites_begin_in_the_first_phase_and_stay_at_the_next_start(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        set_phases(box.engine, sites=())
        with box.engine.begin() as c:
            c.exec_driver_sql("DELETE FROM phases")
        assert enter_sites(box.engine, {Site.WRIST: "a"}, FAMILIARISE) == []
        set_phase(box.engine, [Site.WRIST], LIVE, anna("enough"), passed="validation 1")
        assert enter_sites(box.engine, {Site.WRIST: "a", Site.KNEE: "b"}, SHADOW) == []
        assert (phase_of(box.engine), phase_of(box.engine, Site.KNEE)) == (LIVE, SHADOW)


@pytest.mark.proves("SAF-27")
def test_changed_engine_sets_its_site_back_to_shadow_until_a_person_looks(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        set_phases(box.engine, fingerprints={Site.WRIST: "a", Site.KNEE: "b"}, sites=[Site.WRIST, Site.KNEE])
        assert enter_sites(box.engine, {Site.WRIST: "other", Site.KNEE: "b"}, FAMILIARISE) == [Site.WRIST]
        with box.engine.connect() as c:
            found = {each.site: each for each in site_phases(c)}
            (entry,) = newest_entries(c, 1)
        assert (found[Site.WRIST].phase, found[Site.WRIST].is_revoked) == (SHADOW, True)
        assert (found[Site.KNEE].phase, found[Site.KNEE].is_revoked) == (LIVE, False)
        assert (entry.door, entry.subject) == (Door.APPLIANCE, "site wrist")
        set_phase(box.engine, [Site.WRIST], FAMILIARISE, anna("read the notes"))
        with box.engine.connect() as c:
            assert not any(each.is_revoked for each in site_phases(c))


def test_rule_of_the_appliance_sets_sites_back_and_never_forward(engine: Engine) -> None:
    set_phases(engine, SHADOW, [Site.KNEE])
    assert set_back(engine, [Site.WRIST, Site.KNEE], FAMILIARISE, "another device computes") == [Site.WRIST]
    assert (phase_of(engine), phase_of(engine, Site.KNEE)) == (FAMILIARISE, SHADOW)


@pytest.mark.proves("SAF-25")
def test_site_goes_live_with_a_proof_only(engine: Engine) -> None:
    with pytest.raises(Rejected, match="gate"):
        set_phase(engine, [Site.WRIST], LIVE, anna("trust me"))
    set_phase(engine, [Site.WRIST], LIVE, anna("validated"), passed="validation 7: 297 of 300")
    with engine.connect() as c:
        assert "validation 7: 297 of 300" in newest_entries(c, 1)[0].detail


def test_unknown_site_has_no_phase_to_set(engine: Engine) -> None:
    with engine.begin() as c:
        c.exec_driver_sql("DELETE FROM phases WHERE site = 'hand'")
    with pytest.raises(Rejected, match="hand"):
        set_phase(engine, [Site.WRIST, Site.HAND], SHADOW, anna("all"))
    assert phase_of(engine) is LIVE


def test_engine_of_another_fingerprint_is_in_shadow_for_its_process(engine: Engine) -> None:
    set_phases(engine, LIVE, [Site.WRIST], {Site.WRIST: "a"})
    own, other = (PhaseBook(engine=engine, fingerprints={Site.WRIST: each}) for each in ("a", "b"))
    assert (own.now(), other.now()) == ({Site.WRIST: LIVE}, {Site.WRIST: SHADOW})


def test_rendering_by_phases_that_changed_is_not_recorded(engine: Engine) -> None:
    book = PhaseBook(engine=engine)
    used = book.now()
    with engine.begin() as c:
        book.require(c, used)
    set_phase(engine, [Site.WRIST], FAMILIARISE, anna("again"))
    with engine.begin() as c, pytest.raises(Transient) as caught:
        book.require(c, used)
    assert caught.value.code is ReasonCode.PHASE_CHANGED


def test_shadow_drops_the_unsent_answers_of_its_site_alone(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        wrist, elbow = radiograph(1), radiograph(2)
        box.answer(wrist, ("pacs", picture(wrist)))
        given = result(elbow, ELBOW)
        box.answer(elbow, ("pacs", picture(elbow, given)), given=given)
        assert set_phase(box.engine, [Site.WRIST], SHADOW, anna("not now")) == 1
        assert rows(box.engine) == [("sc", "dropped", "in_shadow"), ("sc", "queued", "")]
        with pytest.raises(Rejected) as caught:
            DeliveryQueue(box.engine, "me").reroute(1, "other", anna("send it after all"))
        assert caught.value.code is ReasonCode.IN_SHADOW
        with box.engine.connect() as c:
            assert "deliveries dropped: 1" in newest_entries(c, 1)[0].detail


@pytest.mark.parametrize("phase", [FAMILIARISE, VALIDATE])
@pytest.mark.proves("SAF-28")
def test_step_back_from_live_drops_unsent_flags_and_answers_again_by_the_new_phase(
    tmp_path: Path, phase: Phase
) -> None:
    with Outbox(tmp_path) as box:
        wrist, elbow = radiograph(1), radiograph(2)
        wrist.AccessionNumber = elbow.AccessionNumber = "A-1"
        box.answer(wrist, ("pacs", picture(wrist)))
        given = result(elbow, ELBOW)
        box.answer(elbow, ("pacs", picture(elbow, given)), given=given)
        assert report(box)
        assert report(box)
        kept = [row.id for row in box.rows if row.study_instance_uid == elbow.StudyInstanceUID]
        assert set_phase(box.engine, [Site.WRIST], phase, anna("false alarms")) == 3
        found = {row.id: (row.state, row.code) for row in box.rows}
        assert {found[i] for i in kept} == {("queued", "")}
        assert {found[i] for i in found if i not in kept} == {("dropped", "phase_changed")}
        with box.engine.connect() as c:
            states = [row.state for row in c.execute(select(analyses).order_by(analyses.c.id))]
        assert states == ["queued", "done"]
        with box.engine.begin() as c:
            c.execute(update(analyses).values(state="done"))
        assert report(box)
        told = study_of(box.engine, str(wrist.StudyInstanceUID))
        assert told is not None and told.is_evaluation and told.revision == 2
        assert [row.kind for row in box.rows if row.state == "queued" and row.id not in kept] == ["oru"]


def test_delivery_rendered_before_a_step_back_is_not_sent_again(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        ds = radiograph(1)
        box.answer(ds, ("pacs", picture(ds)))
        _deliver(box.engine)
        set_phase(box.engine, [Site.WRIST], FAMILIARISE, anna("false alarms"))
        with pytest.raises(Rejected) as caught:
            DeliveryQueue(box.engine, "me").retry(1, anna("send it again"))
        assert caught.value.code is ReasonCode.OUTDATED
        set_phase(box.engine, [Site.WRIST], LIVE, anna("validated"), passed="validation 1")
        DeliveryQueue(box.engine, "me").retry(1, anna("send it again"))


def test_radiograph_with_another_site_is_told_of_that_after_one_goes_into_shadow(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        ds = radiograph(1)
        given = result(ds, finding(0.1), ELBOW)
        box.answer(ds, ("pacs", picture(ds, given)), given=given)
        assert set_phase(box.engine, [Site.WRIST], SHADOW, anna("not now")) == 1
        with box.engine.connect() as c:
            assert c.execute(select(analyses.c.state)).scalar_one() == "queued"


def test_shadow_drops_more_deliveries_than_one_statement_takes(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        ds = radiograph(1)
        box.answer(ds, ("pacs", picture(ds)))
        with box.engine.begin() as c:
            given = dict(c.execute(select(deliveries)).one()._mapping)
            del given["id"]
            c.execute(insert(deliveries), [given | {"page": page} for page in range(2, 2 * AT_ONCE + 4)])
        assert set_phase(box.engine, [Site.WRIST], SHADOW, anna("not now")) == 2 * AT_ONCE + 3
        assert {row[1:] for row in rows(box.engine)} == {("dropped", "in_shadow")}


def test_study_tells_of_live_sites_and_counts_the_rest_as_left_out(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        set_phases(box.engine, SHADOW, [Site.ELBOW])
        first, second = radiograph(1), radiograph(2, 1)
        box.answer(first, given=replace(result(first, finding(0.1)), not_read=()))
        box.answer(second, given=result(second, ELBOW))
        assert report(box)
        told = study_of(box.engine, str(first.StudyInstanceUID))
        assert told is not None and [r.sop_instance_uid for r in told.results] == [str(first.SOPInstanceUID)]
        assert (told.left_out, told.answer) == (1, Answer.INCOMPLETE)
        (row,) = rows(box.engine)
        assert row[:2] == ("oru", "queued")
        with box.engine.connect() as c:
            text = box.spool.get(c.execute(select(deliveries.c.digest)).scalar_one()).decode()
        assert "1 of 2 radiographs: not in use at this hospital" in text
        assert "elbow" not in text.lower() and "0.900" not in text


def test_study_in_shadow_has_no_report(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        set_phases(box.engine, SHADOW)
        ds = radiograph(1)
        box.answer(ds)
        assert report(box)
        assert study_of(box.engine, str(ds.StudyInstanceUID)) is None and rows(box.engine) == []
        with box.engine.connect() as c:
            assert c.execute(select(studies.c.state)).scalar_one() == "done"


@pytest.mark.proves("SAF-28")
def test_study_in_evaluation_raises_no_order(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        set_phases(box.engine, FAMILIARISE)
        ds = radiograph(1)
        ds.AccessionNumber = "A-1"
        box.answer(ds)
        assert report(box)
        assert rows(box.engine) == [("oru", "queued", "")]


def test_report_that_left_is_taken_back_when_its_site_is_in_shadow(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        first, second = radiograph(1), radiograph(2, 1)
        box.answer(first)
        assert report(box)
        _deliver(box.engine)
        set_phase(box.engine, [Site.WRIST], SHADOW, anna("not now"))
        box.answer(second, given=result(second, finding(0.1)))
        assert report(box)
        told = study_of(box.engine, str(first.StudyInstanceUID))
        assert told is not None and told.answer is Answer.NOT_ANALYSED and told.revision == 2
        assert [r.not_analysed.code for r in told.results if r.not_analysed] == [ReasonCode.NOT_IN_USE]
        assert told.left_out == 1


def test_correction_dropped_by_shadow_is_followed_by_one_that_takes_the_answer_back(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        first, second = radiograph(1), radiograph(2, 1)
        box.answer(first, given=result(first, finding(0.1)))
        assert report(box)
        _deliver(box.engine)
        box.answer(second)
        assert report(box)
        assert set_phase(box.engine, [Site.WRIST], SHADOW, anna("not now")) == 1 + (RIS.flag == "orm")
        assert report(box)
        told = study_of(box.engine, str(first.StudyInstanceUID))
        assert told is not None and told.answer is Answer.NOT_ANALYSED and told.revision == 3


def test_radiograph_is_never_told_by_a_later_phase_than_at_its_analysis(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        set_phases(box.engine, FAMILIARISE)
        ds = radiograph(1)
        box.answer(ds)
        set_phase(box.engine, [Site.WRIST], LIVE, anna("validated"), passed="validation 1")
        assert report(box)
        told = study_of(box.engine, str(ds.StudyInstanceUID))
        assert told is not None and told.is_evaluation


def test_withdrawal_of_a_report_names_what_it_told_and_nothing_else(tmp_path: Path) -> None:
    with Outbox(tmp_path) as box:
        set_phases(box.engine, SHADOW, [Site.ELBOW])
        ds = radiograph(1)
        full: Result = replace(result(ds, finding(0.1), ELBOW), not_read=())
        box.answer(ds, ("ris", message(ds)), given=full)
        assert report(box)
        told = study_of(box.engine, str(ds.StudyInstanceUID))
        assert told is not None and [f.site for f in told.results[0].findings] == [Site.WRIST]
        set_phases(box.engine, LIVE)  # a later phase does not change what an earlier report has told
        assert study_of(box.engine, str(ds.StudyInstanceUID)) == told


def test_fingerprint_follows_what_a_site_computes_with_and_nothing_else(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "phantom", tmp_path / "pack")
    pack = read_pack(tmp_path / "pack", DIGEST)
    before = fingerprints(pack)
    wrist = pack.classifiers["wrist"]

    def changed(**fields: object) -> set[str]:
        after = fingerprints(replace(pack, **fields))  # type: ignore[arg-type]  # the caller's names are the fields'
        return {site for site in before if before[site] != after.get(site)}

    assert changed(name="renamed", version="9", digest="other") == set()
    assert changed(preprocessing="other") == set(before)
    assert changed(localiser=replace(pack.localiser, score_threshold=0.01)) == set(before)
    assert changed(classifiers=pack.classifiers | {"wrist": replace(wrist, doubt=wrist.doubt / 2)}) == {"wrist"}
    assert changed(classifiers=pack.classifiers | {"wrist": replace(wrist, offset=wrist.offset + 1)}) == {"wrist"}
    assert changed(classifiers=pack.classifiers | {"wrist": replace(wrist, finds=False)}) == {"wrist"}
    assert changed(classifiers=pack.classifiers | {"wrist": replace(wrist, performance={"n": 1})}) == set()
    (tmp_path / "pack" / "wrist.onnx").write_bytes(b"another network")
    assert changed() == {"wrist"}


@pytest.mark.parametrize(
    "option",
    [
        {"windows": [{"center": 100, "width": 40}]},
        {"for_processing": True},
        {"modalities": ["DX"]},
        {"ages": {"youngest_years": 18}},
    ],
)
@pytest.mark.proves("SAF-27")
def test_options_that_change_pixels_or_population_change_every_fingerprint(
    tmp_path: Path, option: dict[str, object]
) -> None:
    def of(**more: object) -> dict[Site, str]:
        analyse = {"pack": "phantom", **more}
        return fingerprints_of(Configuration.model_validate({"state_dir": tmp_path, "analyse": analyse}))

    before = of()
    assert of(threads=7, modalities=["", "RG", "DR", "DX", "CR"]) == before
    assert all(digest != before[site] for site, digest in of(**option).items())


def _deliver(engine: Engine) -> None:
    """Record that every queued delivery was taken by its peer."""
    queue = DeliveryQueue(engine, "me")
    while leases := queue.lease():
        for lease in leases:
            with queue.ending(lease, Event.FINISH):
                pass
