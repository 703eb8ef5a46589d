"""Logging to standard error: with systemd's priority prefixes where journald listens, with times elsewhere.

Patients' data never enter a log; what other libraries say is kept to warnings, since pynetdicom and pydicom quote
values from data sets below that.
"""

from __future__ import annotations

import logging
import os

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _JournalFormatter(logging.Formatter):
    """sd-daemon(3): a line that begins with ``<N>`` has that priority."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITY.get(record.levelno, 6)}>{super().format(record)}".replace("\n", " | ")


_LEAST = {
    "alembic": logging.WARNING,
    "pynetdicom": logging.CRITICAL,
    "pydicom": logging.CRITICAL,
    "httpx": logging.WARNING,
    "waitress": logging.WARNING,
    "highdicom": logging.ERROR,
    "py": logging.CRITICAL,  # py.warnings
}
"""From which level on a library is heard."""


class _Hush(logging.Filter):
    """Asked for each record where it leaves: importing pydicom resets the level of its logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= _LEAST.get(record.name.partition(".")[0], logging.NOTSET)


def set_up_logging() -> None:
    """Configure the root logger of a process."""
    handler = logging.StreamHandler()
    handler.addFilter(_Hush())
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def hush_libraries() -> None:
    """Keep what libraries say of data sets, which may quote them, off every terminal and log."""
    if logging.lastResort and not logging.lastResort.filters:
        logging.lastResort.addFilter(_Hush())  # what speaks where no logging is set up
    logging.captureWarnings(True)
    for library, level in _LEAST.items():  # spares them the making of records that nobody hears
        logging.getLogger(library).setLevel(level)
