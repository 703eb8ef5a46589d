"""Figures of the watch: agreement with final reports, answers by week, turnaround."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, update

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.finding import Answer, Finding
from appliance.domain.identifiers import Site
from appliance.domain.job import State
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import ConcludedBy, Conclusion
from appliance.rollout.told import phases_to_json
from appliance.status.facts import observe
from appliance.storage.monitoring import Agreement, agreement, turnaround, weeks
from appliance.storage.tables import analyses, conclusions, deliveries, radiologist_reports, results, studies
from tests.support.results import finding, result
from tests.support.sources import source
from tests.support.streams import record_stream, set_phase

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def report(engine: Engine, number: int, conclusion: Conclusion, at: datetime = MONDAY) -> None:
    """Write a concluded final report about the study of a recorded radiograph."""
    with engine.begin() as c:
        uid = c.execute(select(results.c.study_instance_uid).where(results.c.id == number)).scalar_one()
        if c.execute(select(studies.c.id).where(studies.c.study_instance_uid == uid)).first() is None:
            job = {"state": State.DONE, "not_before": at, "created_at": at}
            c.execute(insert(studies).values(study_instance_uid=uid, **job))
        names = {"sending_application": "RIS", "sending_facility": "", "accession_number": "", "result_status": "F"}
        row = {"control_id": str(now()), "digest": "0", "study_instance_uid": uid, "received_at": at}
        table = radiologist_reports
        key = c.execute(insert(table).values(**names, **row).returning(table.c.id)).scalar_one()
        told = {"report_id": key, "conclusion": conclusion, "concluded_by": ConcludedBy.PATTERNS, "at": at}
        c.execute(insert(conclusions).values(**told))


GIVEN = {Answer.POSITIVE: 0.9, Answer.DOUBT: 0.4, Answer.NEGATIVE: 0.1, Answer.INCOMPLETE: 0.1}


def answer(engine: Engine, number: int, given: Answer, *also: Finding) -> None:
    made = result(source("one"), finding(GIVEN[given]), *also)
    made = made if given is Answer.INCOMPLETE else replace(made, not_read=())
    with engine.begin() as c:
        c.execute(update(results).where(results.c.id == number).values(record=made.to_json()))


def test_agreement_counts_studies_of_live_sites_by_who_says_fracture(engine: Engine) -> None:
    record_stream(engine, 10, MONDAY)
    given = [Answer.POSITIVE, Answer.DOUBT, Answer.NEGATIVE, Answer.NEGATIVE, Answer.INCOMPLETE, Answer.POSITIVE]
    told = ["fracture", "none", "fracture", "none", "none", "unsure"]
    for number, (one, conclusion) in enumerate(zip(given, told, strict=True), 1):
        answer(engine, number, one)
        report(engine, number, Conclusion(conclusion))
    report(engine, 1, Conclusion.NONE)  # a later report corrects the first one
    report(engine, 7, Conclusion.FRACTURE, MONDAY - timedelta(days=99))
    report(engine, 8, Conclusion.FRACTURE)
    report(engine, 9, Conclusion.NONE)
    with engine.begin() as c:
        in_evaluation = phases_to_json({Site.WRIST: Phase.VALIDATE})
        c.execute(update(results).where(results.c.id == 8).values(phases=in_evaluation))
        # 9 and 10 are one study: the second of its radiographs is a hand
        hand = result(source("one"), finding(0.1, site=Site.HAND)).to_json()
        live = phases_to_json({Site.HAND: Phase.LIVE})
        c.execute(
            update(results).where(results.c.id == 10).values(study_instance_uid="1.3.9", record=hand, phases=live)
        )
        (found,) = agreement(c, MONDAY, most=99)
        assert [one.compared for one in agreement(c, MONDAY, most=4)] == [1], (
            "of the newest four, one is of a live site"
        )
    expected = Agreement(site=Site.WRIST, only_appliance=2, only_radiologist=1, neither=1, not_answered=1, open=1)
    assert found == expected
    assert (found.agreeing, found.compared) == (1, 4)


def test_agreement_compares_what_was_told(engine: Engine) -> None:
    """A hand in shadow makes a negative wrist incomplete, and a positive hand is not told at all."""
    record_stream(engine, 2, MONDAY)
    answer(engine, 1, Answer.NEGATIVE, finding(0.1, site=Site.HAND))
    answer(engine, 2, Answer.NEGATIVE, finding(0.9, site=Site.HAND))
    report(engine, 1, Conclusion.NONE)
    report(engine, 2, Conclusion.FRACTURE)
    with engine.connect() as c:
        assert agreement(c, MONDAY, most=99) == [Agreement(site=Site.WRIST, not_answered=2)]


def test_agreement_of_a_site_is_a_fact_while_the_site_is_live(engine: Engine, tmp_path: Path) -> None:
    record_stream(engine, 1, MONDAY)
    report(engine, 1, Conclusion.NONE)
    config, at = Configuration(state_dir=tmp_path), MONDAY + timedelta(days=1)
    assert observe(engine, config, at).agreement == ()
    set_phase(engine, Site.WRIST, Phase.LIVE, MONDAY)
    assert observe(engine, config, at).agreement == (Agreement(site=Site.WRIST, neither=1),)
    assert observe(engine, config, at + timedelta(days=90)).agreement == ()


def test_study_is_negative_only_if_each_radiograph_is(engine: Engine) -> None:
    record_stream(engine, 2, MONDAY)
    with engine.begin() as c:
        c.execute(update(results).where(results.c.id == 2).values(study_instance_uid="1.3.1"))
    answer(engine, 2, Answer.INCOMPLETE)
    report(engine, 1, Conclusion.NONE)
    with engine.connect() as c:
        assert [one.not_answered for one in agreement(c, MONDAY, most=99)] == [1]


def test_weeks_begin_on_monday_and_name_the_reasons(engine: Engine) -> None:
    record_stream(engine, 2, MONDAY - timedelta(minutes=1))
    record_stream(engine, 1, MONDAY + timedelta(days=7, seconds=-1))
    with engine.begin() as c:
        c.execute(update(results).where(results.c.id == 2).values(answer=Answer.NOT_ANALYSED))
        c.execute(update(analyses).where(analyses.c.id == 2).values(code=ReasonCode.NO_ENGINE))
        before, running = weeks(c, MONDAY)
        assert weeks(c, MONDAY, number=1) == [running]
    assert (before.begin, before.answers, before.total) == (MONDAY - timedelta(days=7), {Answer.NEGATIVE: 1}, 1)
    assert (running.begin, running.total) == (MONDAY, 2)
    assert running.answers == {Answer.NEGATIVE: 1, Answer.NOT_ANALYSED: 1}
    assert running.reasons == {ReasonCode.NO_ENGINE: 1}


def test_turnaround_is_that_of_each_destination(engine: Engine) -> None:
    record_stream(engine, 100, MONDAY)
    with engine.begin() as c:
        of_all = {"destination": "pacs", "kind": ArtefactKind.SECONDARY_CAPTURE, "identifier": "1", "digest": "0"}
        for number in range(1, 101):
            at = MONDAY + timedelta(minutes=number - 1)
            job = {"state": State.DONE, "not_before": at, "created_at": at, "stored_at": at + timedelta(seconds=number)}
            uid = {"result_id": number, "study_instance_uid": f"1.3.{number}"}
            c.execute(insert(deliveries).values(**of_all, **job, **uid))
        found = turnaround(c, MONDAY, MONDAY + timedelta(days=1))
        assert turnaround(c, MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)) == {}
    assert set(found) == {"pacs"}
    one = found["pacs"]
    assert one.delivered == 100
    assert [one.p50, one.p95, one.p99] == pytest.approx([50.5, 95.05, 99.01])
