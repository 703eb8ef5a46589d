"""The radiographs of each site that came lately: their number, ages and devices, and the share that was answered."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site

from .tables import results, traits

ANSWERED = (Answer.POSITIVE, Answer.DOUBT, Answer.NEGATIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The radiographs whose header names one site.

    Attributes
    ----------
    patients
        Those of different patients; a radiograph without a patient's number counts as one.
    answered, suspicious
        Those with a positive or negative answer, and those with a positive one.
    ages, devices
        Radiographs by age band, and by manufacturer and model; the empty name stands for an unknown one.
    """

    radiographs: int
    patients: int
    answered: int
    suspicious: int
    ages: dict[str, int]
    devices: dict[str, int]


def site_mix(c: Connection, since: datetime) -> dict[Site, Mix]:
    """Return the mix of each site that a header names, from the newest result of each radiograph since then."""
    newest = select(func.max(results.c.id)).where(results.c.created_at >= since).group_by(results.c.sop_instance_uid)
    query = (
        select(traits.c.header_site, traits.c.age_band, traits.c.device, results.c.answer, results.c.patient_digest)
        .join(results, traits.c.result_id == results.c.id)
        .where(traits.c.header_site != "", results.c.id.in_(newest))
    )
    by_site = defaultdict(list)
    for row in c.execute(query):
        by_site[Site(row.header_site)].append(row)
    return {site: _mix(by_site[site]) for site in Site if site in by_site}


def first_result_at(c: Connection) -> datetime | None:
    """Return the time of the first result; None without any."""
    return c.execute(select(results.c.created_at).order_by(results.c.id).limit(1)).scalar()


def _mix(rows: Sequence[Any]) -> Mix:
    patients = Counter(row.patient_digest for row in rows)
    unnamed = patients.pop("", 0)
    return Mix(
        radiographs=len(rows),
        patients=len(patients) + unnamed,
        answered=sum(row.answer in ANSWERED for row in rows),
        suspicious=sum(row.answer.is_suspicious for row in rows),
        ages=dict(Counter(row.age_band for row in rows)),
        devices=dict(Counter(row.device for row in rows)),
    )
