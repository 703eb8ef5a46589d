"""Drift of live sites: windows of the newest radiographs, each compared once with the reference of its site.

The reference is the sample of the validation that let the site go live. Where that holds too few radiographs of the
site, it is the first `FIRST` since the site went live.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, func, insert, select

from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.validation import SampleKind
from appliance.rollout.drift import LEAST_REFERENCE, WINDOW, Comparison, Figures, compare

from .database import readers
from .tables import draws, drift_windows, phases, results, traits, validations

FIRST: Final = 500
"""Radiographs of a reference without a validation."""

MOST_WINDOWS: Final = 3
"""Windows of a site that are compared in one go: a role that was stopped for long catches up in steps."""

_NUMBERS: Final = ("grey_mean", "grey_spread", "detail", "probability")
_CATEGORIES: Final = ("age_band", "view", "device")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftWindow:
    """A window of a site with its comparisons.

    Attributes
    ----------
    started_at, ended_at
        Times of its first and last result.
    reference_size
        Radiographs of the reference.
    last_result_id
        Its last result, which identifies it.
    """

    site: Site
    started_at: datetime
    ended_at: datetime
    size: int
    reference_size: int
    last_result_id: int
    comparisons: tuple[Comparison, ...]

    @property
    def drifting(self) -> tuple[str, ...]:
        """Figures that drift."""
        return tuple(one.figure for one in self.comparisons if one.is_drift)


def advance_drift(engine: Engine) -> list[DriftWindow]:
    """Compare the windows of live sites that are full and were not compared yet, some a site; write and return them.

    They are read and compared without the write lock, for which every other role waits.
    """
    made = []
    with readers(engine).connect() as c:
        live = c.execute(select(phases).where(phases.c.phase == Phase.LIVE)).all()
    for row in live:
        for _ in range(MOST_WINDOWS):
            with readers(engine).connect() as c:
                newest = _newest_window(c, row)
                window = _next_window(c, row, newest)
            if window is None or not _write(engine, row, newest, window):
                break
            made.append(window)
    return made


def drift_of_sites(c: Connection, windows: int = 1) -> dict[Site, list[DriftWindow]]:
    """Return the newest windows of each live site since it went live, newest first."""
    found = {}
    for row in c.execute(select(phases).where(phases.c.phase == Phase.LIVE)).all():
        w = drift_windows.c
        of_site = (w.site == row.site) & (w.started_at >= row.since)
        ends = select(w.last_result_id).where(of_site).distinct().order_by(w.last_result_id.desc()).limit(windows)
        last_ids = list(c.execute(ends).scalars())
        rows = c.execute(select(drift_windows).where(of_site, w.last_result_id.in_(last_ids)).order_by(w.figure)).all()
        found[row.site] = [_window([one for one in rows if one.last_result_id == last]) for last in last_ids]
    return found


def _newest_window(c: Connection, site: Row[Any]) -> int:
    """Return the last result of the newest window since a site went live; 0 without one."""
    newest = select(func.max(drift_windows.c.last_result_id)).where(
        drift_windows.c.site == site.site, drift_windows.c.started_at >= site.since
    )
    return c.execute(newest).scalar() or 0


def _next_window(c: Connection, site: Row[Any], after: int) -> DriftWindow | None:
    """Compare the window of a site after a result; None if none is full, or there is no reference yet."""
    of_site = _is_of(site.site) & (traits.c.created_at >= site.since)
    reference = c.execute(_validated(c, site)).all()
    if len(reference) < LEAST_REFERENCE:
        reference = _first_of_studies(c.execute(_RADIOGRAPHS.where(of_site).limit(4 * FIRST)).all(), FIRST)
        if len(reference) < FIRST:
            return None
        after = max(after, reference[-1].result_id)
    rows = c.execute(_RADIOGRAPHS.where(of_site, results.c.id > after).limit(6 * WINDOW)).all()
    window = _first_of_studies(rows, WINDOW)
    if len(window) < WINDOW:
        return None
    ended_at = window[-1].created_at
    found = compare(_figures(reference), _figures(window), _windows_of_week(c, site.site, ended_at) + 1)
    return DriftWindow(
        site=site.site,
        started_at=window[0].created_at,
        ended_at=ended_at,
        size=len(window),
        reference_size=len(reference),
        last_result_id=window[-1].result_id,
        comparisons=tuple(found),
    )


def _write(engine: Engine, site: Row[Any], newest: int, made: DriftWindow) -> bool:
    """Write a window; return False if another was written, or the site changed its phase, since it was read."""
    of_all = {"site": made.site, "last_result_id": made.last_result_id, "size": made.size}
    of_all |= {"reference_size": made.reference_size, "started_at": made.started_at, "ended_at": made.ended_at}
    with engine.begin() as c:
        is_same = (phases.c.site == site.site) & (phases.c.phase == site.phase) & (phases.c.since == site.since)
        if _newest_window(c, site) != newest or c.execute(select(phases.c.site).where(is_same)).first() is None:
            return False
        rows = [
            of_all | {"figure": one.figure, "psi": one.psi, "p_value": one.p_value, "is_drift": one.is_drift}
            for one in made.comparisons
        ]
        c.execute(insert(drift_windows), rows)
    return True


_RADIOGRAPHS: Final[Select[Any]] = (
    select(traits, results.c.answer, results.c.sop_instance_uid, results.c.study_instance_uid)
    .join(results, traits.c.result_id == results.c.id)
    .where(results.c.taken_back_at.is_(None))
    .order_by(results.c.id)
)


def _is_of(site: Site) -> ColumnElement[bool]:
    """Return the condition of a radiograph on which the site was found, or whose header names it if nothing was."""
    return (traits.c.found_site == site) | ((traits.c.found_site == "") & (traits.c.header_site == site))


def _validated(c: Connection, site: Row[Any]) -> Select[Any]:
    """Return the query of the site's radiographs in the newest random sample of its present engine."""
    samples = c.execute(
        select(validations.c.id, validations.c.fingerprints)
        .where(validations.c.kind == SampleKind.RANDOM, validations.c.fingerprints.contains(site.fingerprint))
        .order_by(validations.c.id.desc())
    ).first()
    of_sample = select(draws.c.result_id).where(draws.c.validation_id == (samples.id if samples else None))
    return _RADIOGRAPHS.where(results.c.id.in_(of_sample), _is_of(site.site))


def _first_of_studies(rows: list[Row[Any]] | Any, most: int) -> list[Row[Any]]:
    """Return one radiograph of each of the first `most` studies, drawn by a hash, since those of a study are alike.

    A radiograph that comes long after its study may count again, in the next window.
    """
    chosen: dict[str, Row[Any]] = {}
    for row in rows:
        if row.study_instance_uid not in chosen and len(chosen) == most:
            break
        before = chosen.get(row.study_instance_uid)
        if before is None or _rank(row) < _rank(before):
            chosen[row.study_instance_uid] = row
    return sorted(chosen.values(), key=lambda row: row.result_id)


def _rank(row: Row[Any]) -> bytes:
    return hashlib.sha256(row.sop_instance_uid.encode()).digest()


def _windows_of_week(c: Connection, site: Site, at: datetime) -> int:
    """Return the number of windows of a site that closed in the week of `at`, before it."""
    monday = at.date() - timedelta(days=at.weekday())
    begin = datetime.combine(monday, datetime.min.time(), at.tzinfo)
    w = drift_windows.c
    query = select(func.count(w.last_result_id.distinct())).where(w.site == site, w.ended_at.between(begin, at))
    return int(c.execute(query).scalar_one())


def _figures(rows: list[Row[Any]] | Any) -> Figures:
    found: dict[str, list[float | str | None]] = {
        name: [row._mapping[name] for row in rows] for name in (*_NUMBERS, *_CATEGORIES)
    }
    return found | {"answer": [str(row.answer) for row in rows]}


def _window(rows: list[Row[Any]]) -> DriftWindow:
    first = rows[0]
    return DriftWindow(
        site=first.site,
        started_at=first.started_at,
        ended_at=first.ended_at,
        size=first.size,
        reference_size=first.reference_size,
        last_result_id=first.last_result_id,
        comparisons=tuple(
            Comparison(figure=row.figure, psi=row.psi, p_value=row.p_value, is_drift=row.is_drift) for row in rows
        ),
    )
