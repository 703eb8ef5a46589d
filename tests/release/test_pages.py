"""Every page in every view: axe-core finds nothing, and pictures of all are kept for a person to look at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.pages import PATHS, busy_pages, look, validated_pages
from tests.support.peers import Peer

pytestmark = pytest.mark.release

VIEWS = [
    {"name": "light", "scheme": "light", "width": 1440, "height": 900},
    {"name": "dark", "scheme": "dark", "width": 1440, "height": 900},
    {"name": "zoomed", "scheme": "dark", "width": 720, "height": 450, "scale": 2, "whole": True},
    {"name": "narrow", "scheme": "light", "width": 390, "height": 844, "whole": True},
    {"name": "print", "scheme": "light", "width": 1000, "height": 1400, "media": "print", "whole": True},
]


@pytest.mark.parametrize("faults", [False, True])
def test_pages_meet_the_rules_of_accessibility(peer: Peer, tmp_path: Path, faults: bool) -> None:
    out = Path(os.environ.get("OSTEON_PICTURES", tmp_path)) / ("faults" if faults else "well")
    out.mkdir(exist_ok=True)
    with busy_pages(tmp_path, faults=faults) as base:
        seen = look(peer, base, VIEWS, axe=True, out=str(out))
    assert [(one["path"], one["view"], one["violations"]) for one in seen if one["violations"]] == []
    assert len(list(out.glob("*.png"))) == len(PATHS) * len(VIEWS)


def test_sign_in_meets_the_rules_of_accessibility(peer: Peer, tmp_path: Path) -> None:
    out = Path(os.environ.get("OSTEON_PICTURES", tmp_path)) / "sign-in"
    out.mkdir(exist_ok=True)
    with busy_pages(tmp_path, faults=True, accounts=True) as base:
        seen = look(peer, base, VIEWS, ("/sign-in",), axe=True, out=str(out))
    assert [one["violations"] for one in seen] == [[]] * len(VIEWS)


def test_rollout_and_report_meet_the_rules_of_accessibility(peer: Peer, tmp_path: Path) -> None:
    out = Path(os.environ.get("OSTEON_PICTURES", tmp_path)) / "rollout"
    out.mkdir(exist_ok=True)
    with validated_pages(tmp_path) as base:
        seen = look(peer, base, VIEWS, ("/rollout",), axe=True, out=str(out))
    seen += look(peer, f"file://{tmp_path}", VIEWS, ("/report.html",), axe=True, out=str(out))
    assert [(one["path"], one["view"], one["violations"]) for one in seen if one["violations"]] == []
    assert [one["complaints"] for one in seen] == [[]] * len(seen)
    assert all(one["width"] <= view["width"] for one in seen for view in VIEWS if view["name"] == one["view"])
    assert len(list(out.glob("*.png"))) == 2 * len(VIEWS)
