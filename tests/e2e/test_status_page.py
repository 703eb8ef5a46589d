"""The pages in a real browser: they fit their window, the console stays empty, and the keyboard is enough."""

from pathlib import Path
from typing import Any

from tests.support.pages import PATHS, busy_pages, look
from tests.support.peers import Peer

SCREEN: dict[str, Any] = {"name": "screen", "scheme": "light", "width": 1440, "height": 900}
ZOOMED: dict[str, Any] = {"name": "zoomed", "scheme": "dark", "width": 720, "height": 450}
"""The same screen at 200 %."""


def is_dark(colour: str) -> bool:
    """Return whether a colour, ``rgb(r, g, b)``, is a dark one."""
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) < 3 * 128


def check(one: dict[str, Any], view: dict[str, Any]) -> None:
    """Check what was seen of one page."""
    is_missing = one["path"].endswith("999999")
    assert one["status"] == (404 if is_missing else 200), one
    # a browser tells of the status of a page that is missing
    assert [c for c in one["complaints"] if not (is_missing and "404" in c)] == [], one
    assert one["width"] <= view["width"], one
    assert is_dark(one["paper"]) is (view["scheme"] == "dark"), one
    assert one["scripts"] == 0, one


def test_every_page_with_faults_fits_its_window_without_complaints(peer: Peer, tmp_path: Path) -> None:
    views = [SCREEN, ZOOMED | {"paths": ["/?still", "/radiographs", "/destinations/archive"]}]
    with busy_pages(tmp_path, faults=True) as base:
        seen = look(peer, base, views)
    assert len(seen) == len(PATHS) + 3
    for one in seen:
        check(one, SCREEN if one["view"] == "screen" else ZOOMED)


def test_overview_fits_the_screen_and_the_keyboard_finds_a_radiograph(peer: Peer, tmp_path: Path) -> None:
    uid = "1.2.826.0.1.2.400"
    with busy_pages(tmp_path, faults=False) as base:
        overview, found = look(peer, base, [SCREEN], ("/?still",), lookUp=uid)
    check(overview, SCREEN)
    assert overview["height"] <= SCREEN["height"], "with ten destinations"
    assert found["first"] == "skip"
    assert found["url"] == f"{base}/radiographs/400", "the number is in no address"
    assert "Radiograph received from ROOM0" in found["text"] and uid not in found["text"]
