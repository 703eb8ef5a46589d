"""Logging to standard error: with systemd's priority prefixes where journald listens, with times elsewhere.

Patients' data never enter a log. Libraries are limited to the levels of `LIBRARY_LEVELS`, since pynetdicom and pydicom
quote values of data sets below these.
"""

from __future__ import annotations

import logging
import os

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}

LIBRARY_LEVELS = {
    "alembic": logging.WARNING,
    "pynetdicom": logging.CRITICAL,
    "pydicom": logging.CRITICAL,
    "httpx": logging.WARNING,
    "waitress": logging.WARNING,
    "highdicom": logging.ERROR,
    "py": logging.CRITICAL,  # py.warnings
}
"""Lowest level at which records of a library are logged, by the first part of the logger's name."""


class _Formatter(logging.Formatter):
    """Formats a message in one line without control characters: a name that a peer chose forges no line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # the name is logging's
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in super().formatMessage(record))


class _JournalFormatter(_Formatter):
    """Formats for journald: a line that begins with ``<N>`` has that priority (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITY.get(record.levelno, 6)}>{super().format(record)}".replace("\n", " | ")


class _LibraryFilter(logging.Filter):
    """Drops records of libraries below their level, at the handler: importing pydicom resets its logger's level."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= LIBRARY_LEVELS.get(record.name.partition(".")[0], logging.NOTSET)


def set_up_logging() -> None:
    """Configure the root logger of a process."""
    handler = logging.StreamHandler()
    handler.addFilter(_LibraryFilter())
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def hush_libraries() -> None:
    """Keep messages and warnings of libraries, which may quote data sets, off every terminal and log."""
    if logging.lastResort and not logging.lastResort.filters:
        logging.lastResort.addFilter(_LibraryFilter())  # the handler of a process that has not set up logging
    logging.captureWarnings(True)
    for library, level in LIBRARY_LEVELS.items():  # spares the libraries to make records that are dropped
        logging.getLogger(library).setLevel(level)
