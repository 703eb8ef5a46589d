"""Alert rules and metrics, judged by promtool."""

import subprocess
from pathlib import Path

import pytest
from sqlalchemy import Engine

from appliance.config import Configuration
from appliance.status.app import create_app
from appliance.storage.database import open_database, readers
from tests.support.peers import Peer

RULES = Path(__file__).parents[2] / "packaging" / "prometheus"

pytestmark = pytest.mark.release


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "osteon.rules.yml"),
        ("test", "rules", "osteon.test.yml"),
        ("check", "config", "--syntax-only", "scrape.yml"),
    ],
)
def test_rules_and_the_scrape_example_satisfy_promtool(peer: Peer, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([peer("promtool"), *arguments], cwd=RULES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_satisfy_promtool(peer: Peer, tmp_path: Path) -> None:
    engine: Engine = open_database(f"sqlite:///{tmp_path / 'osteon.db'}")
    try:
        app = create_app(readers(engine), Configuration(state_dir=tmp_path), "no pack", "1.2.3")
        text = app.test_client().get("/metrics").text
    finally:
        engine.dispose()
    done = subprocess.run(
        [peer("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
