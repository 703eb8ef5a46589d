"""The sample of a validation: who is drawn, which radiograph is read, and that nothing about it leaves."""

from __future__ import annotations

from functools import partial

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import Engine, func, select, update

from appliance.domain.identifiers import Site
from appliance.domain.job import Event, State
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import SampleKind
from appliance.errors import Rejected
from appliance.rollout.sampling import is_drawn, rank
from appliance.storage.audit import newest_entries
from appliance.storage.instances import AnalysisQueue
from appliance.storage.retention import prune_instances
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses, deliveries, draws, instances, results
from appliance.storage.validations import end_validation, newest_validation, progress, start_validation
from tests.support.outbox import radiograph
from tests.support.people import anna
from tests.support.results import unanalysed
from tests.support.validations import Hospital, begin, set_phases


@pytest.fixture
def hospital(engine: Engine, spool: FileSpool) -> Hospital:
    return Hospital(engine, spool)


def corrected(number: int) -> Dataset:
    ds = radiograph(number)
    ds.StudyDescription = "corrected"
    return ds


def drawn(engine: Engine) -> list[str]:
    """Return the SOP Instance UIDs of the sample, as their last numbers."""
    query = select(results.c.sop_instance_uid).join(draws, draws.c.result_id == results.c.id).order_by(draws.c.id)
    with engine.connect() as c:
        return [uid.rpartition(".")[2] for uid in c.execute(query).scalars()]


def leaving(engine: Engine) -> list[str]:
    """Return the deliveries that are on their way, or have left, as kind and last number of the study."""
    d = deliveries.c
    with engine.connect() as c:
        rows = c.execute(select(d.kind, d.study_instance_uid).where(d.state != State.DROPPED).order_by(d.id)).all()
    return [f"{row.kind} {row.study_instance_uid.rpartition('.')[2]}" for row in rows]


@pytest.mark.proves("SAF-26")
def test_nothing_about_a_drawn_study_leaves_the_box(engine: Engine, hospital: Hospital) -> None:
    hospital.analyse(1)
    begin(engine)
    hospital.analyse(2)
    hospital.analyse(2, ds=corrected(2))
    hospital.analyse(3, header_site=Site.HAND)
    hospital.analyse(4, header_site=None)
    hospital.report()
    assert drawn(engine) == ["2"]
    assert leaving(engine) == ["sc 1", "sc 3", "sc 4", "oru 1", "oru 3", "oru 4"]


def test_patients_are_drawn_by_the_secret_and_the_sample_ends_when_it_is_full(
    engine: Engine, hospital: Hospital
) -> None:
    validation = begin(engine, size=4, share=0.5)
    for number in range(1, 21):
        hospital.analyse(number, patient=f"P{number}")
    with engine.connect() as c:
        patients = c.execute(select(results.c.patient_digest).order_by(results.c.id)).scalars().all()
        done = progress(c, validation)
    expected = [str(n) for n, digest in enumerate(patients, 1) if is_drawn(validation.secret, digest, 0.5)]
    assert drawn(engine) == expected[:4]
    assert len(expected) > 4
    assert (done.drawn, done.read, done.unblinded, done.changed_sites) == (4, 0, 0, ())
    assert len(leaving(engine)) == 16


def test_each_patient_is_drawn_once_with_the_first_study(engine: Engine, hospital: Hospital) -> None:
    begin(engine)
    hospital.analyse(1, study=1, patient="P")
    hospital.report()
    hospital.analyse(2, study=2, patient="P")
    assert drawn(engine) == ["1"]
    assert leaving(engine) == ["sc 2"]


def test_radiograph_of_a_study_with_the_lowest_rank_is_the_one_until_the_report(
    engine: Engine, hospital: Hospital
) -> None:
    validation = begin(engine)
    made = [hospital.analyse(number, study=1) for number in range(1, 6)]
    made.append(hospital.analyse(6, study=1, header_site=Site.HAND))  # of no validated site
    ranks = {one.sop_instance_uid: rank(validation.secret, one.sop_instance_uid) for one in made[:5]}
    lowest = min(ranks, key=ranks.__getitem__).rpartition(".")[2]
    assert drawn(engine) == [lowest]
    hospital.report()
    root = made[0].sop_instance_uid.rpartition(".")[0]
    late = next(n for n in range(7, 10_000) if rank(validation.secret, f"{root}.{n}") < min(ranks.values()))
    hospital.analyse(late, study=1)
    assert drawn(engine) == [lowest]
    assert leaving(engine) == []


def test_correction_of_the_drawn_radiograph_takes_its_place_before_the_report(
    engine: Engine, hospital: Hospital
) -> None:
    begin(engine)
    hospital.analyse(1)
    hospital.analyse(1, probability=0.1, ds=corrected(1))
    with engine.connect() as c:
        assert c.execute(select(draws.c.result_id)).scalars().all() == [2]


def test_deliveries_that_wait_are_dropped_when_their_study_is_drawn(engine: Engine, hospital: Hospital) -> None:
    begin(engine)
    hospital.analyse(1, study=1, header_site=None)
    assert leaving(engine) == ["sc 1"]
    hospital.analyse(2, study=1)
    assert (drawn(engine), leaving(engine)) == (["2"], [])
    with engine.connect() as c:
        assert c.execute(select(deliveries.c.code)).scalars().all() == [ReasonCode.IN_SAMPLE]


@pytest.mark.parametrize("state", [State.LEASED, State.DONE])
@pytest.mark.proves("SAF-26")
def test_study_about_which_an_answer_has_left_is_not_drawn(engine: Engine, hospital: Hospital, state: State) -> None:
    begin(engine)
    hospital.analyse(1, study=1, header_site=None)
    with engine.begin() as c:
        c.execute(update(deliveries).values(state=state, attempts=1))
    hospital.analyse(2, study=1)
    assert drawn(engine) == []
    assert leaving(engine) == ["sc 1", "sc 1"]


def analyse_again(engine: Engine) -> list[int]:
    """End the analyses that wait; return the last numbers of their radiographs."""
    queue = AnalysisQueue(engine, "me")
    of_analysis = select(instances.c.sop_instance_uid).join(analyses, analyses.c.instance_id == instances.c.id)
    numbers = []
    while leases := queue.lease():
        with queue.ending(leases[0], Event.FINISH) as c:
            uid = c.execute(of_analysis.where(analyses.c.id == leases[0].job_id)).scalar_one()
        numbers.append(int(uid.rpartition(".")[2]))
    return numbers


def test_header_that_names_a_live_site_lets_everything_about_its_study_leave(
    engine: Engine, hospital: Hospital
) -> None:
    validation = begin(engine)
    set_phases(engine, Phase.LIVE, Site.ANKLE)
    hospital.analyse(1, study=1)
    hospital.analyse(2, study=1, header_site=None)
    assert (drawn(engine), leaving(engine), analyse_again(engine)) == (["1"], [], [])
    hospital.analyse(3, study=1, header_site=Site.ANKLE)
    assert leaving(engine) == ["sc 1"]
    assert analyse_again(engine) == [1, 2]
    hospital.analyse(4, study=1)
    hospital.analyse(5, study=5, header_site=Site.ANKLE)
    hospital.analyse(6, study=5)
    hospital.report()
    assert leaving(engine) == ["sc 1", "sc 1", "sc 5", "sc 5", "oru 1", "oru 5"]
    assert drawn(engine) == ["1"]
    with engine.connect() as c:
        done = progress(c, validation)
        assert (done.drawn, done.unblinded, done.released) == (0, 1, 1)


@pytest.mark.parametrize("found_site", [Site.WRIST, Site.ANKLE])
@pytest.mark.proves("SAF-26")
def test_random_draw_does_not_depend_on_the_findings(engine: Engine, hospital: Hospital, found_site: Site) -> None:
    begin(engine)
    set_phases(engine, Phase.LIVE, Site.ANKLE)
    hospital.analyse(1, found_site=found_site)
    hospital.analyse(2, found_site=found_site, probability=0.1)
    hospital.report()
    assert (drawn(engine), leaving(engine)) == (["1", "2"], [])


def moved(number: int, study: int) -> Dataset:
    ds = radiograph(number, study)
    ds.StudyDescription = "moved to its own study"
    return ds


@pytest.mark.parametrize("is_drawn_already", [False, True])
def test_correction_of_an_answer_that_has_left_is_not_held_back_in_another_study(
    engine: Engine, hospital: Hospital, *, is_drawn_already: bool
) -> None:
    set_phases(engine, Phase.FAMILIARISE, Site.WRIST)
    hospital.analyse(1, probability=0.1)
    with engine.begin() as c:
        c.execute(update(deliveries).values(state=State.DONE, attempts=1))
    validation = begin(engine)
    if is_drawn_already:
        hospital.analyse(2, study=99)
    hospital.analyse(1, study=99, probability=0.95, ds=moved(1, 99))
    assert analyse_again(engine) == [2] * is_drawn_already
    hospital.report()
    assert leaving(engine) == ["sc 1", "sc 99", "oru 99"]
    with engine.connect() as c:
        done = progress(c, validation)
    assert (done.drawn, done.released) == (0, int(is_drawn_already))


def test_drawn_radiograph_of_another_patient_after_a_correction_stays_one_in_the_sample(
    engine: Engine, hospital: Hospital
) -> None:
    begin(engine)
    hospital.analyse(1, patient="unknown")
    hospital.analyse(1, patient="known", ds=corrected(1))
    hospital.analyse(2, study=1, patient="known")
    hospital.report()
    assert len(drawn(engine)) == 1
    assert leaving(engine) == []


@pytest.mark.parametrize(("header_site", "study"), [(Site.WRIST, "9"), (None, "1")])
def test_drawn_radiograph_that_moves_to_another_study_stays_one_in_the_sample_and_in_the_box(
    engine: Engine, hospital: Hospital, header_site: Site | None, study: str
) -> None:
    validation = begin(engine)
    hospital.analyse(1)
    hospital.report()
    hospital.analyse(1, study=9, header_site=header_site, ds=moved(1, 9))
    hospital.report()
    assert (drawn(engine), leaving(engine)) == (["1"], [])
    with engine.connect() as c:
        assert progress(c, validation).drawn == 1
        assert c.execute(select(draws.c.study_instance_uid)).scalar_one().rpartition(".")[2] == study


def test_radiograph_that_was_not_analysed_is_drawn_and_one_without_a_patient_stands_for_one(
    engine: Engine, hospital: Hospital
) -> None:
    begin(engine)
    hospital.analyse(1, made=unanalysed(radiograph(1)))
    hospital.analyse(2, study=2, patient="")
    hospital.analyse(3, study=3, patient="")
    hospital.report()
    assert drawn(engine) == ["1", "2", "3"]
    assert leaving(engine) == []


def test_enriched_sample_has_suspicious_answers_alone_beside_a_random_one_of_other_sites(
    engine: Engine, hospital: Hospital
) -> None:
    begin(engine, Site.HAND)
    with pytest.raises(Rejected, match="a random validation of one of the sites is open") as refused:
        begin(engine, Site.WRIST, Site.HAND, kind=SampleKind.ENRICHED)
    assert refused.value.code is ReasonCode.VALIDATION_OPEN
    enriched = begin(engine, kind=SampleKind.ENRICHED)
    hospital.analyse(1, probability=0.1)
    hospital.analyse(2, probability=0.4)
    hospital.analyse(3, probability=0.9)
    assert drawn(engine) == ["2", "3"]
    with engine.connect() as c:
        assert set(c.execute(select(draws.c.validation_id)).scalars()) == {enriched.validation_id}
    assert leaving(engine) == ["sc 1"]


@pytest.mark.parametrize("phase", [Phase.FAMILIARISE, Phase.LIVE])
def test_site_in_another_phase_is_not_drawn_and_its_answers_leave(
    engine: Engine, hospital: Hospital, phase: Phase
) -> None:
    begin(engine)
    hospital.analyse(1)
    set_phases(engine, phase, Site.WRIST)
    hospital.analyse(2)
    hospital.report()
    assert drawn(engine) == ["1"]
    assert leaving(engine) == ["sc 2", "oru 1", "oru 2"]


def test_other_engine_ends_the_draw_of_its_site(engine: Engine, hospital: Hospital) -> None:
    validation = begin(engine, Site.WRIST, Site.HAND)
    hospital.analyse(1)
    set_phases(engine, Phase.VALIDATE, Site.WRIST, fingerprint="g")
    hospital.analyse(2)
    hospital.analyse(3, header_site=Site.HAND)
    assert drawn(engine) == ["1", "3"]
    with engine.connect() as c:
        assert progress(c, validation).changed_sites == (Site.WRIST,)


def test_end_of_a_validation_lets_later_answers_leave(engine: Engine, hospital: Hospital) -> None:
    begin(engine)
    hospital.analyse(1)
    hospital.report()
    ended, done = end_validation(engine, SampleKind.RANDOM, anna("enough"))
    assert not ended.is_open and (done.drawn, done.read) == (1, 0)
    hospital.analyse(2)
    hospital.report()
    assert leaving(engine) == ["sc 2", "oru 2"]
    with engine.connect() as c:
        assert newest_validation(c, SampleKind.RANDOM) == ended
        last, first = newest_entries(c, 2)
    assert (first.action, first.subject, first.person) == ("start validation", "validation:1", "anna")
    assert first.detail == "random sample of 10, share 1: wrist"
    assert (last.action, last.reason, last.detail) == (
        "end validation",
        "enough",
        "random sample: 1 of 10 drawn, 0 read",
    )
    with pytest.raises(Rejected, match="no random validation is open"):
        end_validation(engine, SampleKind.RANDOM, anna())


def test_validation_that_cannot_start_is_refused_with_its_reason(engine: Engine) -> None:
    begin(engine)
    start = partial(start_validation, engine, kind=SampleKind.RANDOM, size=10, share=1.0, by=anna("again"))
    with pytest.raises(Rejected, match="is open") as open_one:
        start(sites=[Site.WRIST])
    assert open_one.value.code is ReasonCode.VALIDATION_OPEN
    end_validation(engine, SampleKind.RANDOM, anna())
    set_phases(engine, Phase.FAMILIARISE, Site.WRIST)
    with pytest.raises(Rejected, match="phase familiarise: osteon phase set wrist validate"):
        start(sites=[Site.WRIST])
    with pytest.raises(Rejected, match="no engine of the pack serves foot"):
        start(sites=[Site.FOOT])
    set_phases(engine, Phase.SHADOW, Site.WRIST)
    assert start(sites=[Site.WRIST]).is_open


def test_files_of_a_drawn_study_stay_until_the_validation_ends(
    engine: Engine, hospital: Hospital, spool: FileSpool
) -> None:
    begin(engine)
    hospital.analyse(1)
    hospital.analyse(2, study=1, header_site=None)
    hospital.report()
    assert prune_instances(engine, spool, days=0.0, prune_below_bytes=2**63) == 0
    end_validation(engine, SampleKind.RANDOM, anna())
    assert prune_instances(engine, spool, days=0.0, prune_below_bytes=2**63) == 2
    with engine.connect() as c:
        assert (
            c.execute(select(func.count()).select_from(instances).where(instances.c.pruned_at.is_(None))).scalar() == 0
        )
