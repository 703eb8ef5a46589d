"""The page in a real browser, light and dark, wide and narrow: it fits the window, and the console stays empty."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from werkzeug.serving import make_server

from appliance.config import Configuration
from appliance.status.app import create_app
from appliance.storage.database import open_database, readers
from tests.integration.test_status import PACK, all_roles_beat, record_refused_artefact
from tests.support.peers import Peer
from tests.support.waiting import PATIENCE_S

DARK = "--blink-settings=preferredColorScheme=0"
LIGHT = "--blink-settings=preferredColorScheme=1"
NARROWEST_PX = 500
"""The narrowest window of a headless Chromium."""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[str]:
    """Address of a page that shows four roles and one result."""
    config = Configuration(state_dir=tmp_path / "state")
    engine = open_database(config.database)
    all_roles_beat(engine)
    record_refused_artefact(engine)
    server = make_server("127.0.0.1", 0, create_app(readers(engine), config, PACK, "1.2.3"), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join(PATIENCE_S)
        engine.dispose()


def photograph(chromium: str, page: str, folder: Path, scheme: str, width_px: int) -> tuple[Image.Image, str]:
    """Return the page as pixels, and the lines of the browser's console."""
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--screenshot={folder / 'page.png'}", scheme]
    command += [f"--window-size={width_px},1600", page]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    with Image.open(folder / "page.png") as image:
        return image.convert("RGB"), "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.parametrize("width_px", [1400, NARROWEST_PX])
@pytest.mark.parametrize(("scheme", "is_dark"), [(LIGHT, False), (DARK, True)])
def test_page_in_a_browser_is_drawn_without_complaints(
    page: str, peer: Peer, tmp_path: Path, scheme: str, is_dark: bool, width_px: int
) -> None:
    image, complaints = photograph(peer("chromium"), page, tmp_path, scheme, width_px)
    assert complaints == ""
    assert image.size == (width_px, 1600)
    paper = image.getpixel((width_px // 2, 1598))
    assert isinstance(paper, tuple)
    assert (sum(paper) < 3 * 128) is is_dark
    colours = image.getcolors(maxcolors=image.width * image.height)
    assert colours is not None
    assert len(colours) > 50, "an unstyled or empty page has fewer"
