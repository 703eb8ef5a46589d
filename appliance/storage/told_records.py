"""Told records of results in the database, and the deliveries that tell what the present phases do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, select

from appliance.domain.artefact_kind import REVOCATIONS
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.result import Result
from appliance.rollout.told import Phases, no_further, not_in_use, phases_from_json, told

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


def outdated_deliveries(c: Connection, present: Phases, *which: ColumnElement[bool]) -> Iterator[Row[Any]]:
    """Yield those deliveries that would tell something else if no site had been further than it is in `present`.

    A delivery that takes an answer back tells nothing.
    """
    d = deliveries.c
    is_chosen = and_(d.kind.not_in(REVOCATIONS), *which)
    rows = c.execute(select(deliveries).where(is_chosen).order_by(d.id)).all()
    outdated = {i: _is_outdated(c, [i], None, present) for i in {row.result_id for row in rows} - {None}}
    reports = study_results.c.id.in_(select(d.study_result_id).where(is_chosen))  # there may be many
    outdated_reports = {
        row.id: _is_outdated(c, json.loads(row.result_ids), phases_of_parts(row.phases), present)
        for row in c.execute(select(study_results).where(reports)).all()
    }
    yield from (row for row in rows if outdated.get(row.result_id) or outdated_reports.get(row.study_result_id))


def _is_outdated(c: Connection, result_ids: list[int], used: list[dict[Site, Phase]] | None, present: Phases) -> bool:
    """Return whether an output of the results, rendered by those phases or by their own, would tell less now."""
    query = select(results.c.id, results.c.record, results.c.phases).where(results.c.id.in_(result_ids))
    rows = {row.id: row for row in c.execute(query)}
    for position, result_id in enumerate(result_ids):
        row = rows[result_id]
        before = used[position] if used is not None else phases_from_json(row.phases)
        result = Result.from_json(row.record)
        if told(result, before) != told(result, no_further(before, present)):
            return True
    return False
