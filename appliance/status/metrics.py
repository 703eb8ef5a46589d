"""`/metrics` for Prometheus, derived from the database at each scrape, so that no role has to count.

Answers and times are those of the results since the role began, or since it could first read the database, as
Prometheus expects of counters: the records of all results would take minutes to read.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.notice import Subject
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.gpu import GpuFigures
from appliance.storage.notices import all_notices
from appliance.storage.overview import count_not_analysed, count_radiologist_reports, newest_result_id, results_after

from .facts import RoleState, observe


class OsteonCollector(Collector):
    """Reads the database at each scrape; counters keep their value between scrapes."""

    def __init__(self, engine: Engine, config: Configuration) -> None:
        self._engine, self._config = engine, config
        self._lock = threading.Lock()  # waitress scrapes in several threads; each result counts once
        self._newest_result = self._first_result()  # None until the database can be read
        self._answers: Counter[tuple[str, str]] = Counter()
        self._notices: dict[int, int] = {}
        self._turned_away: Counter[tuple[str, str]] = Counter()
        self._not_kept: Counter[str] = Counter()
        self._stages: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def _first_result(self) -> int | None:
        try:
            with self._engine.connect() as c:
                return newest_result_id(c)
        except (SQLAlchemyError, ValueError):
            return None

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, as of now."""
        facts = observe(self._engine, self._config, now())
        up = GaugeMetricFamily("osteon_role_up", "1 while a role sends its heartbeat, else 0.", labels=["role"])
        for role in facts.roles:
            up.add_metric([role.role], float(role.state is RoleState.ALIVE))
        yield up
        if facts.disk_free_bytes is not None:
            yield GaugeMetricFamily(
                "osteon_disk_free_bytes", "Free bytes on the disk of the spool.", facts.disk_free_bytes
            )
        expiry = GaugeMetricFamily(
            "osteon_certificate_seconds", "Seconds until a certificate runs out.", labels=["key"]
        )
        for certificate in facts.certificates:
            if certificate.not_after:
                expiry.add_metric([certificate.key], (certificate.not_after - facts.at).total_seconds())
        yield expiry
        jobs = GaugeMetricFamily(
            "osteon_radiographs",
            "Radiographs by state of analysis; ended ones: of a day.",
            labels=["state"],
        )
        for state, count in facts.analyses.counts.items():
            jobs.add_metric([state], count)
        yield jobs
        sent = GaugeMetricFamily(
            "osteon_deliveries",
            "Deliveries by destination and state; ended ones: of a day.",
            labels=["destination", "state"],
        )
        age = GaugeMetricFamily(
            "osteon_oldest_waiting_seconds", "Age of the oldest waiting job, by queue.", labels=["queue"]
        )
        age.add_metric(["analyses"], facts.analyses.age_s(facts.at))
        age.add_metric(["studies"], facts.studies.age_s(facts.at))
        for destination in facts.destinations:
            for state, count in destination.counts.items():
                sent.add_metric([destination.name, state], count)
            age.add_metric([destination.name], destination.age_s(facts.at))
        yield sent
        yield age
        yield from _of_gpu(facts.gpu) if facts.gpu else ()
        if not facts.database_error:
            yield from self._from_results()
            yield from self._of_intake()

    def _of_intake(self) -> Iterator[Metric]:
        """Yield refusals: radiographs not analysed, peers turned away, instances not kept; and radiologist reports."""
        with self._lock:
            try:
                with self._engine.connect() as c:
                    reports = count_radiologist_reports(c)
                    declined = count_not_analysed(c)
                    notices = all_notices(c)
            except (SQLAlchemyError, ValueError):
                return
            for counted in notices:  # the table forgets its oldest rows, and a counter must not go down
                notice = counted.notice
                more = max(0, counted.times - self._notices.get(counted.notice_id, 0))
                if notice.subject is Subject.INSTANCE:
                    self._not_kept[notice.code] += more
                else:
                    self._turned_away[notice.subject, notice.code] += more
            self._notices = {counted.notice_id: counted.times for counted in notices}
            turned_away, not_kept = dict(self._turned_away), dict(self._not_kept)
        unchanged = declined.pop(ReasonCode.UNCHANGED, 0)
        yield GaugeMetricFamily("osteon_unchanged", "Radiographs received again without a change.", unchanged)
        reasons = GaugeMetricFamily("osteon_not_analysed", "Radiographs not analysed, by reason.", labels=["code"])
        for code, count in declined.items():
            reasons.add_metric([code], count)
        yield reasons
        away = CounterMetricFamily(
            "osteon_turned_away",
            "Associations, connections and messages that were rejected, broken off or accepted in part.",
            labels=["who", "code"],
        )
        for key, count in turned_away.items():
            away.add_metric(key, count)
        yield away
        companions = CounterMetricFamily("osteon_not_kept", "Instances accepted and not kept.", labels=["code"])
        for code_not_kept, count in not_kept.items():
            companions.add_metric([code_not_kept], count)
        yield companions
        received = CounterMetricFamily(
            "osteon_reports_received", "Radiologist reports received over HL7, by result status.", labels=["status"]
        )
        for status, count in reports.items():
            received.add_metric([status], count)
        yield received

    def _from_results(self) -> Iterator[Metric]:
        """Yield answers by site and time per stage; read only the results that are new since the last scrape."""
        answers = CounterMetricFamily("osteon_answers", "Answers by site.", labels=["site", "answer"])
        stages = SummaryMetricFamily("osteon_stage_seconds", "Time per stage.", labels=["stage"])
        with self._lock:
            try:
                with self._engine.connect() as c:
                    if self._newest_result is None:
                        self._newest_result = newest_result_id(c)
                    recorded = results_after(c, self._newest_result)
            except (SQLAlchemyError, ValueError):
                return
            for one in recorded:
                self._count(one.result)
                self._newest_result = one.result_id
            for key, number in self._answers.items():
                answers.add_metric(key, number)
            for stage, (count, total) in self._stages.items():
                stages.add_metric([stage], int(count), total)
        yield answers
        yield stages

    def _count(self, result: Result) -> None:
        for finding in result.findings:
            self._answers[finding.site.value, finding.verdict.value] += 1
        if result.not_analysed:
            self._answers["", "not_analysed"] += 1
        for stage, ms in result.timings_ms:
            self._stages[stage][0] += 1.0
            self._stages[stage][1] += ms / 1e3


def _of_gpu(seen: GpuFigures) -> Iterator[Metric]:
    """Yield whether the GPU computes, and the figures that it reports."""
    yield GaugeMetricFamily("osteon_gpu_used", "Whether the GPU that is there computes.", float(not seen.unused))
    if seen.unused:
        return
    told = {
        "temperature_celsius": ("Temperature of the GPU.", seen.temperature_c),
        "memory_used_bytes": ("Memory of the GPU in use.", seen.memory_used_bytes),
        "memory_total_bytes": ("Memory of the GPU.", seen.memory_total_bytes),
        "utilisation_ratio": ("Share of the last second in which a kernel ran.", seen.utilisation),
        "throttled": ("Whether heat or power holds the clocks down.", float(bool(seen.throttled))),
        "ecc_errors": ("Memory errors that could not be corrected, since the driver was loaded.", seen.ecc_errors),
    }
    for name, (sentence, value) in told.items():
        if value is not None:
            yield GaugeMetricFamily(f"osteon_gpu_{name}", sentence, value)
