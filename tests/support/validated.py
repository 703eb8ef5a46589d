"""A validation in the database: drawn radiographs with results, traits, reads and pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from PIL import Image
from sqlalchemy import Engine, insert

from appliance.clock import now
from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import ReadAnswer, ReadMark, ReadSource, SampleKind, Validation
from appliance.rollout.scoring import Case
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses, draws, instances, phases, reads, results, traits
from appliance.storage.validations import end_validation, start_validation
from tests.support.people import anna
from tests.support.results import finding, result, unanalysed
from tests.support.sources import source

SITES = (Site.WRIST, Site.ANKLE)

PATIENT = "Doe^Jane"
"""Name that no report may hold; the sample's patients have digests of such names."""

READER = "dr-berta"


def sample(size: int = 260, errors: int = 3, fractures: float = 0.25) -> tuple[Case, ...]:
    """Return a sample of two sites in which the appliance misses `errors` fractures, and is right about all others.

    One radiograph of forty is incomplete, one not analysed, one read as unsure, and one read that is not blinded.
    """
    return tuple(_cases(size, errors, fractures))


def clear_cases(size: int = 240) -> tuple[Case, ...]:
    """Return a sample of two sites in which the appliance is right about all; a quarter show a fracture."""
    return tuple(
        Case(
            result_id=number,
            site=SITES[number % 2],
            answer=Answer.POSITIVE if number % 8 < 2 else Answer.NEGATIVE,
            probability=0.9 if number % 8 < 2 else 0.1,
            read=ReadAnswer.FRACTURE if number % 8 < 2 else ReadAnswer.NONE,
        )
        for number in range(1, size + 1)
    )


def _cases(size: int, errors: int, fractures: float) -> Iterator[Case]:
    chance = Random(11)
    missed = 0
    for number in range(1, size + 1):
        truth = chance.random() < fractures
        is_missed = truth and missed < errors and number % 40 > 4
        missed += is_missed
        suspicious = truth and not is_missed
        answer = {1: Answer.INCOMPLETE, 2: Answer.NOT_ANALYSED}.get(number % 40)
        if answer is None:
            answer = Answer.NEGATIVE if not suspicious else Answer.DOUBT if number % 7 == 0 else Answer.POSITIVE
        yield Case(
            result_id=number,
            site=SITES[number % 2],
            answer=answer,
            probability=_probability(answer, chance),
            read=ReadAnswer.UNSURE if number % 40 == 3 else ReadAnswer.FRACTURE if truth else ReadAnswer.NONE,
            is_blinded=number % 40 != 4,
            marks=frozenset({ReadMark.HARDWARE}) if number % 9 == 0 else frozenset(),
            age_band=("0-17", "18-39", "40-64", "65-79")[number % 4],
            view=("PA", "LL")[number % 2],
            device=("ACME DX", "Roentgen & Sons <1>")[number % 2],
        )


def _probability(answer: Answer, chance: Random) -> float | None:
    low, high = {
        Answer.POSITIVE: (0.71, 0.99),
        Answer.DOUBT: (0.31, 0.69),
        Answer.NEGATIVE: (0.01, 0.29),
        Answer.INCOMPLETE: (0.01, 0.29),
    }.get(answer, (0.0, 0.0))
    return None if answer is Answer.NOT_ANALYSED else round(low + chance.random() * (high - low), 3)


def fill_validation(
    engine: Engine,
    spool: FileSpool,
    cases: Sequence[Case],
    *,
    kind: SampleKind = SampleKind.RANDOM,
    phase: Phase = Phase.VALIDATE,
    is_ended: bool = True,
) -> Validation:
    """Write a validation whose sample is `cases`; each disagreement has a picture of its own in the spool."""
    with engine.begin() as c:
        phase_row = {"phase": phase, "since": now(), "person": "anna", "reason": "a test"}
        c.execute(insert(phases), [{"site": s, "fingerprint": f"{n}" * 64, **phase_row} for n, s in enumerate(SITES)])
    by = anna("first validation")
    size = sum(case.is_blinded for case in cases)
    begun = start_validation(engine, kind=kind, sites=SITES, size=size, share=0.2, by=by)
    pictures = {case.result_id: spool.put(_picture(case.result_id)) for case in cases if case.is_disagreement}
    rows = [_rows(case, begun.validation_id, pictures.get(case.result_id, "")) for case in cases]
    with engine.begin() as c:
        for table in (instances, analyses, results, traits, draws, reads):
            if of_table := [row[table.name] for row in rows if table.name in row]:
                c.execute(insert(table), of_table)
    return end_validation(engine, kind, by)[0] if is_ended else begun


def _picture(number: int) -> bytes:
    """Return a drawn picture as PNG, another one for each number."""
    file = io.BytesIO()
    Image.new("RGB", (24, 32), (number % 256, number // 256, 90)).save(file, "PNG")
    return file.getvalue()


def _rows(case: Case, validation_id: int, picture_digest: str) -> dict[str, Any]:
    """Return the rows about a case by table."""
    n, at = case.result_id, now()
    made = unanalysed(source())
    if case.probability is not None:
        found = finding(case.probability, site=case.site)
        made = replace(result(source(), found), not_read=result(source()).not_read)
        if case.answer is not Answer.INCOMPLETE:
            made = replace(made, not_read=())
    made = replace(made, sop_instance_uid=f"1.2.826.0.1.2.{n}", study_instance_uid=f"1.2.826.0.1.3.{n}", created_at=at)
    assert made.answer is case.answer
    uids = {"sop_instance_uid": made.sop_instance_uid, "study_instance_uid": made.study_instance_uid}
    rows: dict[str, Any] = {
        "instances": {"id": n, "sop_instance_uid": made.sop_instance_uid, "sop_class_uid": "1"}
        | {"transfer_syntax_uid": "1", "receipt": 1, "digest": f"{n}", "size_bytes": 8, "calling_ae_title": "ROOM1"}
        | {"received_at": at},
        "analyses": {"id": n, "instance_id": n, "state": "done", "code": ReasonCode.NONE, "reason": "", "attempts": 1}
        | {"not_before": at, "created_at": at, "finished_at": at},
        "results": {"id": n, "analysis_id": n, **uids, "answer": made.answer, "record": made.to_json()}
        | {"created_at": at, "picture_digest": picture_digest},
        "traits": {"result_id": n, "header_site": case.site, "found_site": case.site, "phase": Phase.VALIDATE}
        | {"probability": case.probability, "age_band": case.age_band, "view": case.view, "device": case.device}
        | {"created_at": at},
        "draws": {"id": n, "validation_id": validation_id, "patient_digest": f"{PATIENT}-{n}", "result_id": n}
        | {"study_instance_uid": made.study_instance_uid, "site": case.site, "rank": f"{n}"}
        | {"is_blinded": case.is_blinded, "drawn_at": at},
    }
    if case.read:
        rows["reads"] = {"draw_id": n, "reader": READER, "source": ReadSource.PAGE, "answer": case.read}
        rows["reads"] |= {"marks": ",".join(sorted(case.marks)), "is_blinded": case.is_blinded, "read_at": at}
    return rows
