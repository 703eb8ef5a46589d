"""`/health` and `/metrics`, for programs: they need no sign-in, and show no identity."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Generic, TypeVar

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import Engine

from appliance.clock import now
from appliance.config import Configuration
from engines.pack import Pack

from . import health
from .facts import observe
from .metrics import OsteonCollector

T = TypeVar("T")


class Kept(Generic[T]):
    """Makes a value once in `keep_s` seconds, however many threads ask for it."""

    def __init__(self, make: Callable[[], T], keep_s: float) -> None:
        self._make, self._keep_s = make, keep_s
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None

    def __call__(self) -> T:
        """Return the value; where another thread is making it, wait for that one."""
        with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] >= self._keep_s:
                self._kept = time.monotonic(), self._make()
            return self._kept[1]


def make_probes(
    engine: Engine, config: Configuration, pack: Pack | str, version: str, keep_s: float = 0.0
) -> Blueprint:
    """Return the pages that a monitor asks for; parameters as those of `create_app`."""
    probes = Blueprint("probes", __name__)
    registry = CollectorRegistry()
    registry.register(OsteonCollector(engine, config, pack, version))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    found_of_now = Kept(lambda: health.conditions(observe(engine, config, now())), keep_s)
    metrics_of_now = Kept(lambda: generate_latest(registry), keep_s)

    @probes.get("/health/live")
    def live() -> Response:
        return jsonify(status="ok")

    @probes.get("/health/ready")
    def ready() -> tuple[Response, int]:
        found = found_of_now()
        ok = health.is_ready(found, strict="strict" in request.args)
        return jsonify(ready=ok, conditions=[asdict(c) for c in found]), 200 if ok else 503

    @probes.get("/metrics")
    def metrics() -> Response:
        return Response(metrics_of_now(), content_type=CONTENT_TYPE_LATEST)

    return probes
