"""Fixtures of the contract tests."""

from __future__ import annotations

import pytest

from tests.support import driver
from tests.support.peers import find, missing

BUILD_S = 3600
"""Hang detector: PyCUDA is built in minutes, and several test processes may wait for one build."""


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a process that finds PyCUDA, and a driver that computes on the CPU."""
    find("nvcc")
    if lacking := driver.missing_compilers():
        missing(f"{lacking}, which the driver and PyCUDA are built with, is not installed")
    return driver.environment(tmp_path_factory.mktemp("driver"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests over the driver time for the first build of PyCUDA."""
    for item in items:
        if "environment" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(BUILD_S))
