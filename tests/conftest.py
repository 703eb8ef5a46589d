"""Fixtures and options of the whole suite, and the list of tests that were not run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import ImageDraw

from tests.support.peers import free_port, node_peer, peer

__all__ = ["free_port", "node_peer", "peer"]

# pytest-xdist sets it for its workers; the commands then break lines that they do not break in a pipe
os.environ.pop("COLUMNS", None)

LONGEST_FIRST = ("contract", "faults", "e2e", "integration", "unit")
"""Folders of tests by the time of their slowest file: the workers then end together."""


@pytest.fixture
def data() -> Path:
    """Folder of real radiographs, which ``OSTEON_DATA`` names."""
    folder = os.environ.get("OSTEON_DATA")
    if not folder:
        pytest.skip("not run: OSTEON_DATA names no folder of real radiographs")
    return Path(folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--campaign``, for the fuzzers' long runs, ``--databases``, and ``--backends`` of the kernels."""
    parser.addoption("--campaign", action="store_true", help="run the fuzzers for minutes instead of seconds")
    parser.addoption("--databases", default="sqlite", help="back ends of the database: sqlite, postgresql")
    parser.addoption("--backends", default="reference,host", help="back ends of the kernels: reference, host, cuda")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the slow files first where several workers share the suite; otherwise leave the order as it is."""
    if hasattr(config, "workerinput"):
        tests = Path(__file__).parent
        items.sort(key=lambda item: _rank(item.path.relative_to(tests).parts[0]))


def _rank(folder: str) -> int:
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.fixture
def zone_of_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of the machine's time zone, which is another than UTC for the test."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield "Europe/Berlin"
    time.tzset()


@pytest.fixture(scope="session")
def campaign(request: pytest.FixtureRequest) -> bool:
    """True where ``--campaign`` asks for the long runs."""
    return bool(request.config.getoption("--campaign"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the tests that were not run, with the reasons."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("not run")
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[2]}")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that Pillow is asked to draw."""
    texts: list[str] = []
    draw = ImageDraw.ImageDraw.text

    def recording(self: ImageDraw.ImageDraw, xy: Any, text: str, *more: Any, **options: Any) -> None:
        texts.append(text)
        draw(self, xy, text, *more, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", recording)
    return texts
