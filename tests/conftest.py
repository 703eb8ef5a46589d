"""Fixtures of the whole suite, and the closing list of what was not run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.peers import free_port, node_peer, peer

__all__ = ["free_port", "node_peer", "peer"]


@pytest.fixture
def data() -> Path:
    """Folder of real radiographs that ``OSTEON_DATA`` names."""
    folder = os.environ.get("OSTEON_DATA")
    if not folder:
        pytest.skip("not run: OSTEON_DATA names no folder of real radiographs")
    return Path(folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--campaign``: the fuzzers' long runs, 10,000 instances and 2,000 streams of PDUs, and PyCUDA's build;
    ``--backends``: what the kernels' contract is held against.
    """
    parser.addoption("--campaign", action="store_true", help="run the fuzzers for minutes instead of seconds")
    parser.addoption("--backends", default="reference,host", help="of the kernels: reference, host, cuda")


@pytest.fixture(scope="session")
def campaign(request: pytest.FixtureRequest) -> bool:
    """Whether the long runs were asked for."""
    return bool(request.config.getoption("--campaign"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One closing list of what was not run, with the reasons."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("not run")
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[2]}")
