"""Traits of results: recorded with the result, and read by site and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, insert

from appliance.clock import now
from appliance.domain.identifiers import Site
from appliance.domain.job import Event
from appliance.domain.phase import Phase
from appliance.domain.result import Result
from appliance.domain.traits import AgeBand, Traits
from appliance.storage.queue import Queue
from appliance.storage.results import record_result
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses, phases
from appliance.storage.traits import traits_between, traits_of_results
from tests.support.kept import keep
from tests.support.results import finding, result, unanalysed
from tests.support.sources import source

GIVEN = Traits(
    header_site=Site.WRIST,
    age_band=AgeBand.OLD,
    view="AP",
    device="ACME 2",
    grey_mean=0.4,
    grey_spread=0.2,
    detail=0.1,
    has_burned_in_text=True,
)


def recorded(engine: Engine, spool: FileSpool, name: str, *, analysed: bool = True) -> Result:
    """Record a result of a wrist, or of a radiograph that was not analysed."""
    ds = source(name)
    made = result(ds, finding(0.4), finding(0.6)) if analysed else unanalysed(ds)
    keep(engine, spool, ds)
    queue = Queue(engine, analyses, "me")
    (lease,) = queue.lease()
    with queue.ending(lease, Event.FINISH if analysed else Event.DECLINE) as c:
        record_result(c, lease.job_id, made, [], traits=GIVEN)
    return made


def test_traits_are_recorded_with_site_phase_and_probability(engine: Engine, spool: FileSpool) -> None:
    with engine.begin() as c:
        of_all = {"fingerprint": "f", "since": now(), "person": "Anna", "reason": "test"}
        rows = [(Site.WRIST, Phase.VALIDATE), (Site.ANKLE, Phase.LIVE)]
        c.execute(insert(phases), [of_all | {"site": site, "phase": phase} for site, phase in rows])
    made = recorded(engine, spool, "one")
    (one,) = traits_of_results(engine, [1]).values()
    assert (one.traits, one.found_site, one.phase) == (GIVEN, Site.WRIST, Phase.VALIDATE)
    assert (one.probability, one.created_at) == (0.6, made.created_at)


def test_radiograph_without_a_finding_has_the_site_of_its_header(engine: Engine, spool: FileSpool) -> None:
    recorded(engine, spool, "one", analysed=False)
    since = datetime(2026, 1, 1, tzinfo=UTC)
    (one,) = traits_between(engine, since, site=Site.WRIST)
    assert (one.found_site, one.probability, one.phase) == (None, None, Phase.SHADOW)
    assert traits_between(engine, since, site=Site.HAND) == []


def test_traits_are_read_by_time(engine: Engine, spool: FileSpool) -> None:
    at = recorded(engine, spool, "one").created_at
    recorded(engine, spool, "two")
    assert [one.result_id for one in traits_between(engine, at)] == [1, 2]
    assert [one.result_id for one in traits_between(engine, at, most=1)] == [1]
    assert traits_between(engine, at, until=at) == traits_between(engine, at + timedelta(seconds=1)) == []
