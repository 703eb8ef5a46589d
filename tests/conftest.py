"""Fixtures of the whole suite, and the closing list of what was not run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.peers import free_port, node_peer, peer

__all__ = ["free_port", "node_peer", "peer"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long form of what the suite does in short."""
    parser.addoption("--campaign", action="store_true", help="send 2,000 mutated streams instead of 200")


@pytest.fixture
def data() -> Path:
    """Folder of real radiographs that ``OSTEON_DATA`` names."""
    folder = os.environ.get("OSTEON_DATA")
    if not folder:
        pytest.skip("not run: OSTEON_DATA names no folder of real radiographs")
    return Path(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One closing list of what was not run, with the reasons."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("not run")
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[2]}")
