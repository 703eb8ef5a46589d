"""Streams of recorded radiographs, written into the tables at once: hundreds in a moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import Engine, func, insert, select

from appliance.clock import now
from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.job import State
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.rollout.told import phases_to_json
from appliance.storage.tables import analyses, draws, instances, phases, results, traits, validations
from tests.support.results import finding, result
from tests.support.sources import source

FINGERPRINT = "ab" * 32


def set_phase(engine: Engine, site: Site, phase: Phase, since: datetime) -> None:
    """Write the phase of a site."""
    row = {"site": site, "phase": phase, "fingerprint": FINGERPRINT, "since": since, "person": "Anna", "reason": "test"}
    with engine.begin() as c:
        c.execute(insert(phases).values(**row))


def record_stream(
    engine: Engine, size: int, since: datetime, *, seed: int = 1, shift: float = 0.0, site: Site = Site.WRIST
) -> list[int]:
    """Record `size` radiographs of one study each, a minute apart; return the ids of their results.

    `shift` moves the mean grey value, in standard deviations.
    """
    rng = np.random.default_rng(seed)
    record = replace(result(source("one"), finding(0.1, site=site)), not_read=()).to_json()
    with engine.begin() as c:
        first = (c.execute(select(func.max(instances.c.id))).scalar() or 0) + 1
        numbers = range(first, first + size)
        at = {n: since + timedelta(minutes=n - first) for n in numbers}
        c.execute(insert(instances), [_instance(n, at[n]) for n in numbers])
        c.execute(insert(analyses), [_analysis(n, at[n]) for n in numbers])
        of_all = {"answer": Answer.NEGATIVE, "record": record, "phases": phases_to_json({site: Phase.LIVE})}
        ids = {"sop_instance_uid": "1.2.{}", "study_instance_uid": "1.3.{}"}
        rows = [
            {"id": n, "analysis_id": n, "created_at": at[n]} | of_all | {k: v.format(n) for k, v in ids.items()}
            for n in numbers
        ]
        c.execute(insert(results), rows)
        c.execute(insert(traits), [_traits(n, at[n], rng, shift, site) for n in numbers])
    return list(numbers)


def record_sample(engine: Engine, result_ids: list[int], site: Site = Site.WRIST) -> None:
    """Write a random validation that has drawn these results."""
    with engine.begin() as c:
        row = {"kind": "random", "sites": site, "size": len(result_ids), "share": 1.0, "secret": "00", "person": "Anna"}
        row |= {"fingerprints": f'{{"{site}": "{FINGERPRINT}"}}', "reason": "test", "started_at": now()}
        key = c.execute(insert(validations).values(**row).returning(validations.c.id)).scalar_one()
        of_all = {"validation_id": key, "site": site, "is_blinded": True, "drawn_at": now()}
        rows = [
            of_all | {"result_id": n, "patient_digest": str(n), "study_instance_uid": f"1.3.{n}", "rank": str(n)}
            for n in result_ids
        ]
        c.execute(insert(draws), rows)


def _instance(number: int, at: datetime) -> dict[str, object]:
    uids = {"sop_instance_uid": f"1.2.{number}", "sop_class_uid": "1.2.3", "transfer_syntax_uid": "1.2.4"}
    rest = {"digest": f"{number:064d}", "size_bytes": 1, "calling_ae_title": "ROOM1", "receipt": 1, "received_at": at}
    return {"id": number} | uids | rest


def _analysis(number: int, at: datetime) -> dict[str, object]:
    job = {"state": State.DONE, "attempts": 1, "not_before": at, "code": ReasonCode.NONE, "created_at": at}
    return {"id": number, "instance_id": number, "finished_at": at} | job


def _traits(number: int, at: datetime, rng: np.random.Generator, shift: float, site: Site) -> dict[str, object]:
    grey = {"grey_mean": rng.normal() + shift, "grey_spread": rng.gamma(2), "detail": rng.normal()}
    names = {"age_band": rng.choice(["18-39", "40-64"]), "view": rng.choice(["AP", "LAT"]), "device": "ACME 1"}
    sites = {"header_site": site, "found_site": site, "phase": Phase.LIVE}
    return {"result_id": number, "probability": rng.beta(0.3, 2), "created_at": at} | grey | names | sites
