"""The pages of a busy site, served as the status role serves them, and looked at in a browser."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from appliance.clock import now
from appliance.domain.account import AccountRole
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.status.app import create_app
from appliance.status.report import collect_report, write_report
from appliance.status.server import PageServer
from appliance.storage.accounts import add_account
from appliance.storage.database import open_database, readers
from appliance.storage.drift import advance_drift
from appliance.storage.passwords import hash_password
from appliance.storage.scored import scored_sample
from appliance.storage.spool import FileSpool
from tests.integration.test_status import PACK
from tests.support.busy_site import busy_configuration, fill
from tests.support.peers import Peer
from tests.support.people import anna
from tests.support.streams import record_sample, record_stream, set_phase
from tests.support.validated import fill_validation, sample
from tests.support.waiting import PATIENCE_S

PATHS = (
    "/?still",
    "/radiographs",
    "/radiographs/400",
    "/studies/100",
    "/conditions",
    "/destinations/archive",
    "/destinations/ris%20of%20the%20clinic",
    "/turned-away",
    "/pack",
    "/rollout",
    "/actions",
    "/audit",
    "/studies/999999",
)

OPERATOR, OPERATOR_HEADER = "olga", "X-Remote-User"
"""A person whom a reverse proxy names, so that the pages show the actions."""

ACCOUNT = {"name": "anna", "password": "three words and more"}
"""An account that may change something."""

Seen = list[dict[str, Any]]


@contextmanager
def busy_pages(folder: Path, *, faults: bool, accounts: bool = False) -> Iterator[str]:
    """Serve the pages of a busy site; yield their address. With `accounts` they ask for the sign-in of `ACCOUNT`."""
    proxy = {"addresses": ["127.0.0.1"], "header": OPERATOR_HEADER, "operators": [OPERATOR]}
    config = busy_configuration(folder, status={"accounts": True} if accounts else {"proxy": proxy})
    engine = open_database(config.database)
    fill(engine, faults=faults)
    if accounts:
        add_account(engine, ACCOUNT["name"], AccountRole.OPERATOR, hash_password(**ACCOUNT), anna("first account"))
    app = create_app(readers(engine), config, PACK, "1.2.3", writer=engine, withdraw=lambda *_: None)
    server = PageServer(app, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.close()
        engine.dispose()


@contextmanager
def validated_pages(folder: Path) -> Iterator[str]:
    """Serve the rollout page of a busy site whose validation has ended, and write its report to `folder`."""
    proxy = {"addresses": ["127.0.0.1"], "header": OPERATOR_HEADER, "operators": [OPERATOR]}
    config = busy_configuration(folder, status={"proxy": proxy})
    engine, spool = open_database(config.database), FileSpool(config.spool_dir)
    validation, at = fill_validation(engine, spool, sample()), now()
    record_sample(engine, record_stream(engine, 150, at - timedelta(days=20), site=Site.HAND), Site.HAND)
    set_phase(engine, Site.HAND, Phase.LIVE, at - timedelta(days=3))
    record_stream(engine, 100, at - timedelta(days=2), seed=4, shift=1.5, site=Site.HAND)
    advance_drift(engine)
    app = create_app(readers(engine), config, PACK, "1.2.3", writer=engine, withdraw=lambda *_: None)
    with engine.connect() as c:
        report = collect_report(c, spool, config, scored_sample(c, validation, {Site.WRIST: True}))
    (folder / "report.html").write_bytes(write_report(engine, report, anna()))
    server = PageServer(app, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.close()
        engine.dispose()


def look(peer: Peer, base: str, views: list[dict[str, Any]], paths: tuple[str, ...] = PATHS, **more: Any) -> Seen:
    """Open each page in each view; return what was seen, with the look-up last where `more` has one."""
    operator = {"headers": {OPERATOR_HEADER: OPERATOR}}
    asked = {"chromium": peer("chromium"), "base": base, "views": views, "paths": paths} | operator | more
    command = ["node", peer("pages.js"), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
