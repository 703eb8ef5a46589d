"""`/health` and `/metrics`, for programs: they need no sign-in, and show no identity."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import Engine

from appliance.clock import now
from appliance.config import Configuration
from engines.pack import Pack

from . import health
from .facts import SitesOf, observe, read_sites
from .kept import Kept
from .metrics import OsteonCollector


def make_probes(
    engine: Engine,
    config: Configuration,
    pack: Pack | str,
    version: str,
    keep_s: float = 0.0,
    sites: SitesOf = read_sites,
) -> Blueprint:
    """Return the pages that a monitor asks for; parameters as those of `create_app`."""
    probes = Blueprint("probes", __name__)
    registry = CollectorRegistry()
    registry.register(OsteonCollector(engine, config, pack, version, sites))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    found_of_now = Kept(lambda: health.conditions(observe(engine, config, now(), sites)), keep_s)
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
