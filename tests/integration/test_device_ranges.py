"""The range of devices of a live site comes from the sample by which it went live."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, update

from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.validation import Read, ReadAnswer, ReadSource, SampleKind
from appliance.errors import Transient
from appliance.storage.phases import PhaseBook, set_phase
from appliance.storage.reads import drawn_of, record_read
from appliance.storage.spool import FileSpool
from appliance.storage.tables import traits
from appliance.storage.validations import end_validation
from tests.support.people import anna
from tests.support.validations import Hospital, begin, set_phases


def validate_on(engine: Engine, spool: FileSpool, answers: dict[str, ReadAnswer]) -> None:
    """Let the wrist go live by a sample with one radiograph of each device."""
    hospital = Hospital(engine, spool)
    started = begin(engine, Site.WRIST)
    for number in range(1, len(answers) + 1):
        hospital.analyse(number)
    hospital.report()
    with engine.begin() as c:
        sample = drawn_of(c, started.validation_id)
        for one, device in zip(sample, answers, strict=True):
            c.execute(update(traits).where(traits.c.result_id == one.result_id).values(device=device))
    for one, answer in zip(sample, answers.values(), strict=True):
        read = Read(reader="anna", source=ReadSource.PAGE, answer=answer)
        record_read(engine, one.draw_id, one.result_id, read, anna("read"))
    end_validation(engine, SampleKind.RANDOM, anna("read"))
    set_phase(engine, [Site.WRIST], Phase.LIVE, anna("passed"), passed="validation 1")


def test_live_site_lags_on_a_device_that_its_passed_sample_does_not_hold(engine: Engine, spool: FileSpool) -> None:
    set_phases(engine, Phase.LIVE, Site.KNEE)
    validate_on(engine, spool, {"MAKER A": ReadAnswer.NONE, "MAKER B": ReadAnswer.UNUSABLE})
    book = PhaseBook(engine=engine)
    live = {Site.WRIST: Phase.LIVE, Site.KNEE: Phase.LIVE}
    assert book.now() == book.now("MAKER A") == live
    lagging = live | {Site.WRIST: Phase.FAMILIARISE}  # the knee went live without a sample
    assert book.now("MAKER B") == book.now("MAKER C") == lagging
    with engine.begin() as c:
        book.require(c, lagging, "MAKER C")
        with pytest.raises(Transient, match="changed"):
            book.require(c, live, "MAKER C")


def test_sample_of_another_engine_is_no_range(engine: Engine, spool: FileSpool) -> None:
    validate_on(engine, spool, {"MAKER A": ReadAnswer.FRACTURE})
    set_phases(engine, Phase.LIVE, Site.WRIST, fingerprint="newer")
    assert PhaseBook(engine=engine).now("MAKER C") == {Site.WRIST: Phase.LIVE}
