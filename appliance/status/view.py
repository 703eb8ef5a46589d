"""A page with the state of the appliance in its header; every page is rendered here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from flask import render_template
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.identifiers import Site
from appliance.domain.result import SECOND_READER
from engines.pack import Pack

from . import health, records
from .attention import attention
from .facts import Facts, SitesOf, observe
from .situation import situation

Read = Callable[[Connection], dict[str, Any]]
"""Reads what a page shows beside the state, by the name in its template."""


class View:
    """Renders pages.

    Parameters
    ----------
    engine
        For reading only (`appliance.storage.database.readers`).
    pack
        The pack in use, or the sentence that says why there is none.
    sites
        Reads the facts about sites.
    """

    def __init__(self, engine: Engine, config: Configuration, pack: Pack | str, version: str, sites: SitesOf) -> None:
        self.engine, self.config, self._sites = engine, config, sites
        self.pack, self._version = pack, version

    @property
    def clears(self) -> dict[Site, bool]:
        """Whether the engine of each site claims that it may say "no fracture found"."""
        if isinstance(self.pack, str):
            return {}
        return {Site(site): spec.clears for site, spec in self.pack.classifiers.items()}

    def facts(self) -> Facts:
        """Return the facts of this moment."""
        return observe(self.engine, self.config, now(), self._sites)

    def render(self, template: str, read: Read | None = None, **values: object) -> str:
        """Return a page as HTML; while the database cannot be read, without what `read` returns."""
        facts = self.facts()
        found = health.conditions(facts)
        lists: dict[str, Any] = {}
        with suppress(SQLAlchemyError, ValueError), self.engine.connect() as c:  # the conditions report it
            lists = {"errors": records.destination_errors(c), **(read(c) if read else {})}
        common = {
            "facts": facts,
            "conditions": found,
            "points": attention(facts, found, lists.get("errors", {})),
            "ready": health.is_ready(found),
            "headline": health.headline(found),
            "situations": {d.name: situation(d, facts) for d in facts.destinations},
            "pack": self.pack,
            "version": self._version,
            "second_reader": SECOND_READER,
        }
        return render_template(template, **(common | lists | values))
