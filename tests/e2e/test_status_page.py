"""The pages in a real browser: they fit their window, the console stays empty, and the keyboard is enough."""

from pathlib import Path
from typing import Any

from tests.support.pages import ACCOUNT, PATHS, busy_pages, look
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


def test_operator_signs_in_changes_something_and_signs_out(peer: Peer, tmp_path: Path) -> None:
    why = {"reason": "a test of the page"}
    acts: list[dict[str, Any]] = [
        {"path": "/destinations/ris", "button": "Hold deliveries to ris", "fields": why},
        {"path": "/actions", "button": "Hold all deliveries", "fields": why},
        {"path": "/actions", "button": "Release all", "fields": why},
        {"path": "/actions", "button": "Drop for good", "fields": why | {"jobs": "delivery:1 delivery:999999"}},
        {"path": "/actions", "button": "Withdraw every answer on the study", "fields": why | {"uid": "1.2.3"}},
        {"path": "/audit", "button": "Sign out"},
    ]
    with busy_pages(tmp_path, faults=True, accounts=True) as base:
        signed_in, page, *done = look(peer, base, [SCREEN], ("/actions",), signIn=ACCOUNT, acts=acts)
        assert (signed_in["cameTo"], signed_in["url"]) == (f"{base}/sign-in", f"{base}/")
        assert signed_in["cookies"] == "", "no script reads a cookie"
        check(page, SCREEN)
        assert [one["complaints"] for one in done] == [[]] * len(acts)
        assert [one["url"].removeprefix(base) for one in done] == [
            "/audit?changed=1",
            "/audit?changed=1",
            "/audit?changed=1",
            "/audit?changed=0&refused=2&code=impossible",
            "/audit?withdrawn=1",
            "/sign-in",
        ]
        assert all("a test of the page" in one["text"] for one in done[:-1])
