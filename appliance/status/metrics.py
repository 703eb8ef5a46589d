"""`/metrics` for Prometheus, derived from the database at each scrape, so that no role has to count.

Answers and times are those of the results since the role began, or since it could first read the database, as
Prometheus expects of counters: the records of all results would take minutes to read.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.notice import Subject
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.gpu import GpuFigures
from appliance.storage.conclusions import count_conclusions
from appliance.storage.decisions import count_decisions
from appliance.storage.failed_attempts import failed_attempt_counts
from appliance.storage.notices import all_notices
from appliance.storage.overview import count_not_analysed, count_radiologist_reports, newest_result_id, results_after
from engines.pack import Pack

from .facts import Facts, RoleState, SitesOf, observe, read_sites
from .health import conditions, problems

STAGE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram of stages: Prometheus' own, and longer ones for a slow processor."""


class OsteonCollector(Collector):
    """Reads the database at each scrape; counters keep their value between scrapes."""

    def __init__(
        self, engine: Engine, config: Configuration, pack: Pack | str, version: str, sites: SitesOf = read_sites
    ) -> None:
        self._engine, self._config, self._sites = engine, config, sites
        self._build = {"version": version} | _pack_labels(pack)
        self._lock = threading.Lock()  # waitress scrapes in several threads; each result counts once
        self._newest_result = self._first_result()  # None until the database can be read
        self._answers: Counter[tuple[str, str]] = Counter()
        self._notices: dict[int, int] = {}
        self._turned_away: Counter[tuple[str, str]] = Counter()
        self._not_kept: Counter[str] = Counter()
        self._stages: dict[str, Stage] = {}

    def _first_result(self) -> int | None:
        try:
            with self._engine.connect() as c:
                return newest_result_id(c)
        except (SQLAlchemyError, ValueError):
            return None

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, as of now."""
        facts = observe(self._engine, self._config, now(), self._sites)
        yield InfoMetricFamily("osteon_build", "Version of Osteon and its pack.", self._build)
        yield _of_conditions(facts)
        up = GaugeMetricFamily("osteon_role_up", "1 while a role sends its heartbeat, else 0.", labels=["role"])
        for role in facts.roles:
            up.add_metric([role.role], float(role.state is RoleState.ALIVE))
        yield up
        if facts.disk_free_bytes is not None:
            yield GaugeMetricFamily(
                "osteon_disk_free_bytes", "Free bytes on the disk of the spool.", facts.disk_free_bytes
            )
            yield GaugeMetricFamily(
                "osteon_disk_reserve_bytes", "Free bytes below which radiographs are refused.", facts.disk_reserve_bytes
            )
        yield from _of_times(facts)
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
        yield _of_drift(facts)
        if not facts.database_error:
            yield from self._from_results()
            yield from self._of_intake()

    def _of_intake(self) -> Iterator[Metric]:
        """Yield refusals: radiographs not analysed, peers turned away, instances not kept; and radiologist reports."""
        with self._lock:
            try:
                with self._engine.connect() as c:
                    reports = count_radiologist_reports(c)
                    concluded, decided = count_conclusions(c), count_decisions(c)
                    declined = count_not_analysed(c)
                    notices = all_notices(c)
                    failed = failed_attempt_counts(c)
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
        attempts = CounterMetricFamily(
            "osteon_failed_attempts",
            "Attempts of analyses, studies and deliveries (by destination) that failed, by reason code.",
            labels=["queue", "code"],
        )
        for (queue, failure), number in failed.items():
            attempts.add_metric([queue, failure], number)
        yield attempts
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
        told = GaugeMetricFamily("osteon_conclusions", "Final reports by their conclusion.", labels=["conclusion"])
        for conclusion, count in concluded.items():
            told.add_metric([conclusion], count)
        yield told
        by_people = GaugeMetricFamily("osteon_decisions", "Studies by the newest decision.", labels=["decision"])
        for decision, count in decided.items():
            by_people.add_metric([decision], count)
        yield by_people

    def _from_results(self) -> Iterator[Metric]:
        """Yield answers by site and time per stage; read only the results that are new since the last scrape."""
        answers = CounterMetricFamily("osteon_answers", "Answers by site.", labels=["site", "answer"])
        stages = HistogramMetricFamily("osteon_stage_seconds", "Time per stage.", labels=["stage"])
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
            for name, stage in self._stages.items():
                stages.add_metric([name], stage.buckets(), stage.total_s)
        yield answers
        yield stages

    def _count(self, result: Result) -> None:
        for finding in result.findings:
            self._answers[finding.site.value, finding.verdict.value] += 1
        if result.not_analysed:
            self._answers["", "not_analysed"] += 1
        for name, ms in result.timings_ms:
            self._stages.setdefault(name, Stage()).add(ms / 1e3)


class Stage:
    """Times of one stage, counted by bucket."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self._counts = [0] * (len(STAGE_BUCKETS_S) + 1)

    def add(self, seconds: float) -> None:
        """Count one time."""
        self.total_s += seconds
        self._counts[bisect_left(STAGE_BUCKETS_S, seconds)] += 1

    def buckets(self) -> list[tuple[str, float]]:
        """Return the number of times up to each bound, as Prometheus expects."""
        bounds = [*map(str, STAGE_BUCKETS_S), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))


def _pack_labels(pack: Pack | str) -> dict[str, str]:
    """Return name, version and digest of the pack; empty ones where it cannot be used."""
    if isinstance(pack, str):
        return {"pack": "", "pack_version": "", "digest": ""}
    return {"pack": pack.name, "pack_version": pack.version, "digest": pack.digest}


def _of_conditions(facts: Facts) -> Metric:
    """Return each condition: 1 if it is not met and follows from no other, as the page shows it."""
    family = GaugeMetricFamily(
        "osteon_condition", "1 while a condition of the page is not met, else 0.", labels=["name", "severity"]
    )
    found = conditions(facts)
    broken = {c.name for c in problems(found)}
    for condition in found:
        family.add_metric([condition.name, condition.severity], float(condition.name in broken))
    return family


def _of_times(facts: Facts) -> Iterator[Metric]:
    """Yield points in time, in seconds since 1970: alert rules subtract them from `time()`."""
    if facts.arrivals.last_at:
        received = "Time of the newest receipt of a radiograph."
        yield GaugeMetricFamily("osteon_last_received_timestamp_seconds", received, facts.arrivals.last_at.timestamp())
    taken = GaugeMetricFamily(
        "osteon_last_success_timestamp_seconds",
        "Time at which a destination took an artefact last.",
        labels=["destination"],
    )
    for destination in facts.destinations:
        if destination.last_success:
            taken.add_metric([destination.name], destination.last_success.timestamp())
    yield taken
    ends = GaugeMetricFamily(
        "osteon_certificate_not_after_timestamp_seconds", "End of validity of a certificate file.", labels=["key"]
    )
    for certificate in facts.certificates:
        if certificate.not_after:
            ends.add_metric([certificate.key], certificate.not_after.timestamp())
    yield ends


def _of_drift(facts: Facts) -> Metric:
    """Return the population stability index of each figure in the newest window of each live site."""
    family = GaugeMetricFamily(
        "osteon_drift_psi",
        "Distance of the newest radiographs of a live site from its reference.",
        labels=["site", "figure"],
    )
    for window in facts.drift:
        for one in window.comparisons:
            family.add_metric([window.site, one.figure], one.psi)
    return family


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
