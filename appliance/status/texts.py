"""Texts of the pages: local times with date and zone, and commands in sentences."""

from __future__ import annotations

import re
from datetime import datetime

from markupsafe import Markup, escape

_COMMAND = re.compile(r"`([^`]+)`")


def local_time(at: datetime) -> str:
    """Return a time in the zone of this machine, with its date: ``2026-11-30 17:25:04 CET``."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def short_time(at: datetime) -> str:
    """Return a time in the zone of this machine for lists: ``11-30 17:25:04``; the page names zone and year once."""
    return f"{at.astimezone():%m-%d %H:%M:%S}"


def with_commands(sentence: str) -> Markup:
    """Return a sentence as HTML, in which each command between backticks is marked as code."""
    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(sentence))))  # noqa: S704  # escaped before
