"""The lock of the Debian package holds every requirement."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
LOCKED = {
    canonicalize_name(name): locked
    for name, locked in re.findall(
        r"^([\w.-]+)==([\w.]+) \\$", (REPOSITORY / "packaging" / "requirements.lock").read_text(), re.MULTILINE
    )
}


@pytest.mark.proves("SEC-10")
def test_every_requirement_is_locked_at_a_version_that_it_allows() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for text in (*project["dependencies"], *project["optional-dependencies"]["systemd"]):
        requirement = Requirement(text)
        locked = LOCKED.get(canonicalize_name(requirement.name))
        assert locked, f"{requirement.name} is missing: run make lock"
        assert requirement.specifier.contains(locked), f"{requirement.name} is locked at {locked}: run make lock"


def test_codecs_beside_dali_stay_out() -> None:
    assert "nvidia-dali-cuda130" in LOCKED
    assert not [name for name in LOCKED if name.startswith("nvidia-") and name != "nvidia-dali-cuda130"]
