"""Cost of the queues for one radiograph, empty and with 100,000 rows: ``python -m tests.benchmarks.queue_cost``.

Two databases take the same steps in turn: one empty, one in which so many analyses, studies and deliveries wait.
Printed are processor milliseconds, medians; a commit's wait for the disk is not in them.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import process_time
from typing import Any

from sqlalchemy import Engine, insert

from appliance.clock import now
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.job import Event, Settling, State
from appliance.domain.reason import ReasonCode
from appliance.domain.received import Received
from appliance.storage.database import open_database, readers
from appliance.storage.instances import AnalysisQueue, keep_instance
from appliance.storage.outbox import Outbox
from appliance.storage.outgoing import Outgoing
from appliance.storage.overview import count_analyses, count_deliveries, count_studies
from appliance.storage.results import record_result
from appliance.storage.studies import StudyQueue
from appliance.storage.tables import analyses, deliveries, instances, studies
from tests.support.results import result
from tests.support.sources import source

ROUNDS = 50
AT_ONCE = 5000
KINDS = tuple(ArtefactKind)[:4]
DESTINATION = "pacs"


class Site:
    """One database, and the steps of a radiograph through its queues."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._analyses = AnalysisQueue(engine, "me", most_attempts=3)
        self._studies = StudyQueue(engine, "me", most_attempts=3)
        self._outbox = Outbox(engine, DESTINATION, "me")
        self._number = 0

    def steps(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield every step of the next radiograph with its name; each is run before the next is asked for."""
        self._number += 1
        uid = f"1.2.{self._number}"
        yield "receive adds the radiograph", lambda: keep_instance(self._engine, _received(self._number))
        yield "analyse leases it", self._lease
        ds = source(uid)
        outgoing = [Outgoing(destination=DESTINATION, kind=k, identifier=f"{uid}.{k}", digest=uid) for k in KINDS]
        yield "analyse ends it, with four deliveries", lambda: self._end(result(ds), outgoing)
        yield "analyse looks for a study", self._studies.lease
        yield "deliver leases four", self._lease_deliveries
        yield "deliver ends four", self._end_deliveries
        yield "deliver looks for work", lambda: self._outbox._has_work(self._outbox._own)
        yield "the page counts all queues", self._count

    def _lease(self) -> None:
        (self._lease_of_analysis,) = self._analyses.lease()

    def _end(self, made: Any, outgoing: list[Outgoing]) -> None:
        with self._analyses.ending(self._lease_of_analysis, Event.FINISH) as c:
            record_result(c, self._lease_of_analysis.job_id, made, outgoing, settling=Settling(settle_s=3600))

    def _lease_deliveries(self) -> None:
        self._leased = self._outbox.lease_due(len(KINDS))
        assert len(self._leased) == len(KINDS)

    def _end_deliveries(self) -> None:
        for leased in self._leased.values():
            self._outbox.end(leased, Event.FINISH, ReasonCode.DELIVERED, "taken")

    def _count(self) -> None:
        with readers(self._engine).connect() as c:
            count_analyses(c)
            count_studies(c)
            count_deliveries(c)


def _received(number: int) -> Received:
    return Received(
        sop_instance_uid=f"1.2.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        digest=f"{number:064x}",
        size_bytes=1,
        calling_ae_title="ROOM",
    )


def fill(engine: Engine, rows: int) -> None:
    """Queue so many analyses, deliveries, and studies that are due but wait for those analyses."""
    moment = now()
    due = moment + timedelta(milliseconds=1)
    job = {"state": State.QUEUED, "attempts": 0, "not_before": moment, "code": ReasonCode.NONE, "created_at": moment}
    for start in range(0, rows, AT_ONCE):
        numbers = range(start, start + AT_ONCE)
        with engine.begin() as c:
            c.execute(insert(instances), [_instance(n, moment) for n in numbers])
            c.execute(insert(analyses), [job | {"instance_id": n + 1} for n in numbers])
            c.execute(insert(studies), [job | {"study_instance_uid": f"9.{n}", "not_before": due} for n in numbers])
            c.execute(insert(deliveries), [job | _delivery(n) for n in numbers])


def _instance(number: int, moment: object) -> dict[str, object]:
    return {
        "sop_instance_uid": f"9.9.{number}",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "digest": f"9{number:063x}",
        "size_bytes": 1,
        "calling_ae_title": "ROOM",
        "receipt": 1,
        "received_at": moment,
    }


def _delivery(number: int) -> dict[str, object]:
    return {
        "study_instance_uid": f"9.{number // 4}",
        "destination": DESTINATION,
        "kind": ArtefactKind.SECONDARY_CAPTURE,
        "identifier": f"9.8.{number}",
        "digest": f"9{number:063x}",
    }


@contextmanager
def site(folder: Path, rows: int) -> Iterator[Site]:
    """Make a database in which so many rows of each queue wait."""
    engine = open_database(f"sqlite:///{folder / f'{rows}.db'}")
    fill(engine, rows)
    yield Site(engine)
    engine.dispose()


def main() -> None:
    """Print the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    spent: dict[str, dict[bool, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder, site(Path(folder), 0) as empty, site(Path(folder), rows) as full:
        for number in range(ROUNDS + 1):
            for is_full, one in ((False, empty), (True, full)):
                for name, step in one.steps():
                    start = process_time()
                    step()
                    if number:  # the first compiles the queries
                        spent.setdefault(name, {}).setdefault(is_full, []).append(1e3 * (process_time() - start))
    print(f"| processor ms, medians of {ROUNDS} | 0 waiting | {rows:,} waiting | ratio |\n|---|---|---|---|")
    sums = [0.0, 0.0]
    for name, by in spent.items():
        without, with_rows = statistics.median(by[False]), statistics.median(by[True])
        if "page" not in name:
            sums = [sums[0] + without, sums[1] + with_rows]
        print(f"| {name} | {without:.2f} | {with_rows:.2f} | {with_rows / without:.2f} |")
    print(f"| all but the page | {sums[0]:.2f} | {sums[1]:.2f} | {sums[1] / sums[0]:.2f} |")


if __name__ == "__main__":
    main()
