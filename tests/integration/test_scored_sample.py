"""The score of a validation in the database: reads, results and traits become cases, and cases a gate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine, select, update

from appliance.clock import now
from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.validation import Read, ReadAnswer, ReadMark, ReadSource, SampleKind
from appliance.errors import Rejected
from appliance.rollout.gate import Need
from appliance.storage.reads import import_reads, offered
from appliance.storage.scored import (
    find_validation,
    gate_of_site,
    sampled_cases,
    scored_sample,
)
from appliance.storage.spool import FileSpool
from appliance.storage.tables import draws, results
from appliance.storage.validations import end_validation, progress, start_validation
from tests.support.outbox import radiograph
from tests.support.people import anna
from tests.support.results import finding, result, unanalysed
from tests.support.validations import Hospital, begin, set_phases

FRACTURE, NONE = ReadAnswer.FRACTURE, ReadAnswer.NONE


@pytest.fixture
def hospital(engine: Engine, spool: FileSpool) -> Hospital:
    return Hospital(engine, spool)


def read(
    engine: Engine, number: int, answer: ReadAnswer, *marks: ReadMark, kind: SampleKind = SampleKind.RANDOM
) -> None:
    """Import the read of the radiograph with that number."""
    query = select(draws.c.id).join(results, draws.c.result_id == results.c.id)
    with engine.connect() as c:
        draw = c.execute(query.where(results.c.sop_instance_uid.endswith(f".{number}"))).scalars().all()[-1]
    given = Read(reader="dr", source=ReadSource.CSV, answer=answer, marks=marks)
    assert import_reads(engine, kind, [(draw, given)], anna(""), "a table") == [""]


def test_case_holds_answer_read_marks_and_traits(engine: Engine, hospital: Hospital) -> None:
    validation = begin(engine)
    hospital.analyse(1, probability=0.87)
    hospital.analyse(2, probability=0.1)  # with an unread hand: incomplete
    hospital.analyse(3, made=unanalysed(radiograph(3)))
    read(engine, 1, FRACTURE, ReadMark.MOBILE, ReadMark.HARDWARE)
    read(engine, 2, NONE)
    with engine.connect() as c:
        first, second, third = sampled_cases(c, validation)
    assert (first.answer, first.probability, first.read) == (Answer.POSITIVE, 0.87, FRACTURE)
    assert first.marks == {ReadMark.MOBILE, ReadMark.HARDWARE}
    assert (second.answer, second.probability, second.read, second.marks) == (Answer.INCOMPLETE, 0.1, NONE, frozenset())
    assert (third.answer, third.probability, third.read) == (Answer.NOT_ANALYSED, None, None)
    assert {case.site for case in (first, second, third)} == {Site.WRIST}
    assert all(case.is_blinded for case in (first, second, third))


def test_read_after_an_answer_left_is_unblinded_and_a_released_radiograph_without_a_read_is_no_case(
    engine: Engine, hospital: Hospital
) -> None:
    validation = begin(engine)
    for number in (1, 2, 3):
        hospital.analyse(number, study=number)
    read(engine, 1, FRACTURE)
    set_phases(engine, Phase.LIVE, Site.KNEE)
    for number in (1, 2, 3):  # its study has a live site now, so that its answer leaves
        hospital.analyse(number + 10, study=number, header_site=Site.KNEE, found_site=Site.KNEE)
    read(engine, 2, FRACTURE)
    with engine.connect() as c:
        cases = sampled_cases(c, validation)
    assert [(case.read, case.is_blinded) for case in cases] == [(FRACTURE, True), (FRACTURE, False)]


def test_result_that_was_taken_back_stays_in_the_sample_and_may_still_be_imported(
    engine: Engine, hospital: Hospital
) -> None:
    validation = begin(engine)
    hospital.analyse(1)
    hospital.analyse(2)
    hospital.report()
    read(engine, 1, NONE)
    with engine.begin() as c:
        c.execute(update(results).values(taken_back_at=now()))
    assert offered(engine, "dr") is None, "nobody is asked to read it"
    with engine.connect() as c:
        assert [case.read for case in sampled_cases(c, validation)] == [NONE, None]
    read(engine, 2, FRACTURE)
    with engine.connect() as c:
        assert [case.read for case in sampled_cases(c, validation)] == [NONE, FRACTURE]


def test_unread_radiograph_whose_answer_left_is_neither_drawn_nor_sampled(engine: Engine, hospital: Hospital) -> None:
    validation = begin(engine, size=2)
    hospital.analyse(1)
    set_phases(engine, Phase.FAMILIARISE, Site.WRIST)
    hospital.report()
    set_phases(engine, Phase.VALIDATE, Site.WRIST)
    hospital.analyse(2)
    with engine.connect() as c:
        found = scored_sample(c, validation, {})
    assert (found.progress.drawn, found.score.overall.coverage.sampled) == (1, 1)
    assert (found.progress.unblinded, found.gate.passes(Site.WRIST)) == (1, False)


def test_repeated_samples_of_an_engine_are_counted(engine: Engine, hospital: Hospital) -> None:
    def tries() -> int:
        with engine.connect() as c:
            return progress(c, find_validation(c, SampleKind.RANDOM)).tries

    for number, expected in enumerate((1, 1, 2), 1):
        begin(engine, Site.WRIST, Site.HAND if number == 2 else Site.KNEE)
        if number == 2:
            hospital.analyse(number)
        assert tries() == expected, "a sample without a draw counts for nothing"
        end_validation(engine, SampleKind.RANDOM, anna("again"))
    set_phases(engine, Phase.VALIDATE, Site.WRIST, fingerprint="another")
    start_validation(engine, kind=SampleKind.RANDOM, sites=[Site.WRIST], size=9, share=1.0, by=anna("new engine"))
    assert tries() == 1


def test_enriched_sample_is_never_pooled_with_a_random_one(engine: Engine, hospital: Hospital) -> None:
    random = begin(engine, size=1)
    hospital.analyse(1)
    end_validation(engine, SampleKind.RANDOM, anna("full"))
    enriched = begin(engine, kind=SampleKind.ENRICHED)
    hospital.analyse(2)
    hospital.analyse(3)
    with engine.connect() as c:
        assert len(sampled_cases(c, random)) == 1
        assert len(sampled_cases(c, enriched)) == 2
        found = scored_sample(c, find_validation(c, SampleKind.ENRICHED), {Site.WRIST: True})
        site_gate = gate_of_site(c, Site.WRIST, clears=True)
    assert found.validation == enriched
    assert Need.RANDOM in {each.need for each in found.gate.overall if not each.passed}
    assert site_gate
    assert Need.RANDOM not in {each.need for each in site_gate.overall if not each.passed}


def test_gate_of_a_site_is_that_of_its_newest_random_validation(engine: Engine, hospital: Hospital) -> None:
    with engine.connect() as c:
        assert gate_of_site(c, Site.WRIST, clears=True) is None
    begin(engine, size=1)
    hospital.analyse(1)
    read(engine, 1, FRACTURE)
    end_validation(engine, SampleKind.RANDOM, anna(""))
    begin(engine, Site.ANKLE, Site.KNEE)
    with engine.connect() as c:
        found = gate_of_site(c, Site.WRIST, clears=True)
        later = gate_of_site(c, Site.KNEE, clears=False)
    assert found and later
    failed = {each.need for each in found.criteria(Site.WRIST) if not each.passed}
    assert failed == {Need.RADIOGRAPHS, Need.FRACTURES, Need.ACCURACY, Need.SENSITIVITY, Need.SPECIFICITY, Need.OTHERS}
    assert {each.need for each in later.criteria(Site.KNEE) if not each.passed} >= {Need.SIZE, Need.CLEARS}


def test_changed_engine_fails_the_gate_of_its_site(engine: Engine) -> None:
    begin(engine, size=1)
    set_phases(engine, Phase.VALIDATE, Site.WRIST, fingerprint="another")
    with engine.connect() as c:
        found = gate_of_site(c, Site.WRIST, clears=True)
    assert found
    assert Need.ENGINE in {each.need for each in found.sites[Site.WRIST] if not each.passed}


def test_disagreements_are_blinded(engine: Engine, hospital: Hospital) -> None:
    validation = begin(engine)
    hospital.analyse(1)
    hospital.analyse(2)
    read(engine, 1, NONE)
    read(engine, 2, FRACTURE)
    with engine.connect() as c:
        found = scored_sample(c, validation, {})
    assert [case.result_id for case in found.disagreements] == [1]
    assert found.score.overall.measures.false_positives == 1


def test_case_holds_the_findings_of_its_own_site_alone(engine: Engine, hospital: Hospital) -> None:
    set_phases(engine, Phase.SHADOW, Site.KNEE)
    validation = begin(engine, Site.WRIST, Site.HAND)
    knee = finding(0.9, site=Site.KNEE)
    for number, findings in enumerate([(finding(0.2), finding(0.4), knee), (finding(0.1), knee), (knee,)], 1):
        hospital.analyse(number, made=replace(result(radiograph(number), *findings), not_read=()))
    hospital.analyse(4, header_site=Site.HAND)
    with engine.connect() as c:
        found = [(case.answer, case.probability) for case in sampled_cases(c, validation)]
    expected = [(Answer.DOUBT, 0.4), (Answer.INCOMPLETE, 0.1), (Answer.INCOMPLETE, None), (Answer.INCOMPLETE, None)]
    assert found == expected


def test_validation_that_is_not_there_is_refused(engine: Engine) -> None:
    with engine.connect() as c:
        with pytest.raises(Rejected, match="no random validation was started"):
            find_validation(c, SampleKind.RANDOM)
        with pytest.raises(Rejected, match="there is no validation 7"):
            find_validation(c, SampleKind.RANDOM, 7)
