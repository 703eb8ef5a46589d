"""A week's work of a hospital in the database, for the pages: ten destinations, with and without faults."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Engine, insert

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.notice import Notice, Subject
from appliance.domain.reason import ReasonCode
from appliance.domain.roles import ROLES
from appliance.storage.heartbeats import record_heartbeat
from appliance.storage.notices import Notebook
from appliance.storage.tables import (
    analyses,
    deliveries,
    destinations,
    holds,
    instances,
    results,
    studies,
    study_results,
)
from tests.support.results import finding, result
from tests.support.sources import source

PACS, RIS = ("pacs", "archive", "teleradiology", "trauma centre", "research"), ("ris", "kis", "ris of the clinic")
FHIR = ("fhir", "worklist")
RADIOGRAPHS = 420

DECLINED = (ReasonCode.OUT_OF_SCOPE, ReasonCode.NOT_HUMAN)
REFUSED = "mllp_refused", "the RIS answers AE to the ORU: order of Doe^Jane 1.2.826.0.1.4711.9 is not known"


def busy_configuration(folder: Path, **more: Any) -> Configuration:
    """Return a configuration with ten destinations."""
    dicom = [
        {"kind": "dicom", "name": name, "host": "192.0.2.1", "port": 104, "called_ae_title": name.upper()[:16]}
        for name in PACS
    ]
    hl7 = [{"kind": "hl7", "name": name, "host": "192.0.2.2", "port": 2575} for name in RIS]
    fhir = [{"kind": "fhir", "name": name, "base_url": "https://fhir.example/r4"} for name in FHIR]
    return Configuration.model_validate({"state_dir": folder, "destinations": [*dicom, *hl7, *fhir]} | more)


def fill(engine: Engine, *, faults: bool = False) -> None:
    """Write the radiographs of a week with their deliveries; with `faults`, many things are wrong at once."""
    for role in ROLES:
        if role != "analyse" or not faults:
            record_heartbeat(engine, role, now(), f"{role} works")
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("instances", "analyses", "results", "sent")}
    reports: dict[int, datetime] = {}
    chance = Random(7)
    for number, at in enumerate(_times(chance), 1):
        _add(rows, number, at, chance, faults=faults)
        reports[number // 3 + 1] = at + timedelta(seconds=120)
    uids = {number: f"1.2.826.0.1.3.{number}" for number in reports}
    with engine.begin() as c:
        c.execute(insert(instances), rows["instances"])
        c.execute(insert(analyses), rows["analyses"])
        c.execute(insert(results), rows["results"])
        job = {"state": "done", "attempts": 1, "code": "", "reason": ""}
        made = [
            job | {"id": n, "study_instance_uid": uids[n], "created_at": at, "not_before": at, "finished_at": at}
            for n, at in reports.items()
        ]
        c.execute(insert(studies), made)
        report = {"revision": 1, "result_ids": "[]", "left_out": 0}
        c.execute(insert(study_results), [report | {"study_id": n, "created_at": at} for n, at in reports.items()])
        c.execute(insert(deliveries), rows["sent"])
        if faults:
            down = {"pauses": 3, "recoveries": 0, "held_up_to": 0, "paused_until": now() + timedelta(minutes=5)}
            reason = "archive does not answer on 192.0.2.1:104: Connection refused"
            away = down | {"destination": "archive", "failures": 7, "is_away": True, "code": "unreachable"}
            c.execute(insert(destinations).values(**away, reason=reason))
            hold = {"destination": "trauma centre", "reason": "moved to the new network", "since": now()}
            c.execute(insert(holds).values(**hold))
    _note(engine)


def _times(chance: Random) -> list[datetime]:
    """Return times of the last week: many by day, few by night, the newest a minute ago."""
    found: list[datetime] = []
    while len(found) < RADIOGRAPHS:
        at = now() - timedelta(seconds=60 + chance.random() * 6.9 * 86400)
        if chance.random() < (1.0 if 7 <= at.hour < 18 else 0.25):
            found.append(at)
    return sorted(found)


def _add(rows: dict[str, list[dict[str, Any]]], number: int, at: datetime, chance: Random, *, faults: bool) -> None:
    study_uid, uid = f"1.2.826.0.1.3.{number // 3 + 1}", f"1.2.826.0.1.2.{number}"
    is_newest = number > RADIOGRAPHS - 3
    declined = DECLINED[number % 2] if number % 17 == 0 else ReasonCode.NONE
    rows["instances"].append(
        {"id": number, "sop_instance_uid": uid, "sop_class_uid": "1", "transfer_syntax_uid": "1", "receipt": 1}
        | {"digest": str(number), "size_bytes": 8_000_000, "calling_ae_title": f"ROOM{number % 4}", "received_at": at}
    )
    state = "not_analysed" if declined else "queued" if is_newest and faults else "done"
    job = {"attempts": 1, "not_before": at, "created_at": at, "reason": "a chest" if declined else ""}
    ended = {"finished_at": None if state == "queued" else at + timedelta(seconds=4)}
    rows["analyses"].append({"id": number, "instance_id": number, "state": state, "code": declined} | job | ended)
    if state != "done":
        return
    probability = chance.choice([0.02, 0.05, 0.1, 0.4, 0.93, 0.995])
    answer = replace(
        result(source(), finding(probability)),
        sop_instance_uid=uid,
        study_instance_uid=study_uid,
        not_read=() if number % 5 else result(source()).not_read,
    )
    rows["results"].append(
        {"id": number, "analysis_id": number, "sop_instance_uid": uid, "study_instance_uid": study_uid}
        | {"answer": answer.answer, "record": answer.to_json(), "created_at": at}
    )
    names = [(name, "sc") for name in PACS] + [(name, "oru") for name in RIS] + [(name, "fhir") for name in FHIR]
    if faults:
        names.append(("old pacs", "sc"))
    for name, kind in names:
        stored_at = at + timedelta(seconds=chance.lognormvariate(2, 0.5))
        sent: dict[str, Any] = {"state": "done", "code": "delivered", "reason": "", "stored_at": stored_at}
        sent["finished_at"] = stored_at
        waits: dict[str, Any] = {"state": "queued", "code": "", "reason": "", "stored_at": None, "finished_at": None}
        if faults and number > RADIOGRAPHS - 30:
            refused = waits | {"code": "unreachable", "reason": "archive does not answer on 192.0.2.1:104"}
            sent = {"archive": refused, "trauma centre": waits, "old pacs": waits}.get(name, sent)
            if name == "ris" and number % 4 == 0:
                sent = waits | {"state": "parked", "code": REFUSED[0], "reason": REFUSED[1]}
        rows["sent"].append(
            {"result_id": number, "study_instance_uid": study_uid, "destination": name, "kind": kind, "page": 1}
            | {"identifier": f"1.2.826.0.1.4.{number}.{name}", "digest": str(number), "attempts": 1}
            | {"not_before": at, "created_at": at}
            | sent
        )


def _note(engine: Engine) -> None:
    """Note senders that were turned away."""
    notebook = Notebook()
    away = Notice(
        subject=Subject.ASSOCIATION,
        code=ReasonCode.CALLED_AE_TITLE,
        reason="it called 'OSTEON1' and we are 'OSTEON': correct it there, or add it to `receive.also_called`",
        calling_ae_title="ROOM9",
        called_ae_title="OSTEON1",
        address="192.0.2.9",
    )
    for notice in (away, away, replace(away, subject=Subject.INSTANCE, code=ReasonCode.NOT_A_RADIOGRAPH)):
        notebook.note(notice)
    stranger = replace(away, subject=Subject.STRANGER, code=ReasonCode.ADDRESS_NOT_LISTED, address="198.51.100.7")
    notebook.note(replace(stranger, calling_ae_title="", called_ae_title="", reason="the address is not listed"))
    notebook.write(engine)
