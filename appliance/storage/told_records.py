"""Told records of results in the database, and the deliveries that tell of a site in shadow."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, select

from appliance.domain.artefact_kind import REVOCATIONS
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.result import Result
from appliance.rollout.told import Phases, not_in_use, phases_from_json, told

from .tables import deliveries, phases, results, study_results


def told_or_taken_back(record: str, used: Phases) -> Result:
    """Return the record that an output was rendered from: that of an answer taken back where nothing was told."""
    result = Result.from_json(record)
    return told(result, used) or not_in_use(result)


def phases_of_parts(text: str) -> list[dict[Site, Phase]]:
    """Decode `study_results.phases`."""
    return [phases_from_json(json.dumps(each)) for each in json.loads(text)]


def current_phases(c: Connection) -> dict[Site, Phase]:
    """Return the phase of every site that an engine has served."""
    return dict(c.execute(select(phases.c.site, phases.c.phase)).tuples().all())


def deliveries_about(c: Connection, sites: Collection[Site], *which: ColumnElement[bool]) -> Iterator[Row[Any]]:
    """Yield those deliveries that tell something which they would not if `sites` had been in shadow.

    A delivery that takes an answer back tells nothing.
    """
    d = deliveries.c
    is_chosen = and_(d.kind.not_in(REVOCATIONS), *which)
    rows = c.execute(select(deliveries).where(is_chosen).order_by(d.id)).all()
    tells = {i: _tells(c, [i], None, sites) for i in {row.result_id for row in rows} - {None}}
    reports = study_results.c.id.in_(select(d.study_result_id).where(is_chosen))  # there may be many
    report_tells = {
        row.id: _tells(c, json.loads(row.result_ids), phases_of_parts(row.phases), sites)
        for row in c.execute(select(study_results).where(reports)).all()
    }
    yield from (row for row in rows if tells.get(row.result_id) or report_tells.get(row.study_result_id))


def _tells(c: Connection, result_ids: list[int], used: list[dict[Site, Phase]] | None, sites: Collection[Site]) -> bool:
    """Return whether an output of the results, rendered by those phases or by their own, tells of one of `sites`."""
    query = select(results.c.id, results.c.record, results.c.phases).where(results.c.id.in_(result_ids))
    rows = {row.id: row for row in c.execute(query)}
    for position, result_id in enumerate(result_ids):
        row = rows[result_id]
        before = used[position] if used is not None else phases_from_json(row.phases)
        result = Result.from_json(row.record)
        if told(result, before) != told(result, before | dict.fromkeys(sites, Phase.SHADOW)):
            return True
    return False
