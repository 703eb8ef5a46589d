"""The programs that the documents configure beside Osteon take the documented text, and drawn pictures are current."""

from __future__ import annotations

import re
import shlex
import ssl
import subprocess
import tomllib
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from appliance.config import Configuration
from appliance.picture.overlay import overlay
from appliance.service.roles.status import StatusRole
from appliance.storage.database import open_database
from provisioning.documents.quiz import LOOK, questions
from tests.support.certificates import Authority
from tests.support.peers import Peer, running, wait_for_port
from tests.support.ports import free_ports

pytestmark = pytest.mark.release

DOCS = Path(__file__).parents[2] / "docs"
OPERATE = (DOCS / "operate.md").read_text()


TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
"""Folders of nginx that lie below /var unless it is told otherwise."""


def listing(kind: str, beginning: str = "") -> str:
    """Return the one listing of a kind in the document about operating that begins so."""
    (found,) = re.findall(rf"```{kind}\n({re.escape(beginning)}.*?)```", OPERATE, re.DOTALL)
    return str(found)


def test_documented_firewall_is_one(peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "nftables.conf").write_text(listing("nft"))
    command = [peer("nft"), "--check", "--file", str(tmp_path / "nftables.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_documented_proxy_leads_to_the_documented_page(peer: Peer, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("page")
    status = tomllib.loads(listing("toml", "[status]"))["status"]
    config = Configuration.model_validate({"state_dir": tmp_path, "status": status | {"port": 0}})
    engine = open_database(config.database)
    role = StatusRole(config, engine)
    (port,) = free_ports(1)
    server = listing("nginx")
    for written, used in (
        ("/etc/ssl/osteon-page.crt", str(pair.certificate)),
        ("/etc/ssl/osteon-page.key", str(pair.key)),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("192.0.2.40", "127.0.0.1"),
        ("http://127.0.0.1:8080", role.detail().partition(" at ")[2].rstrip("/")),
    ):
        assert written in server
        server = server.replace(written, used)
    folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in TEMPORARY)
    main = f"daemon off;\npid {tmp_path}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{folders}{server}}}\n"
    (tmp_path / "nginx.conf").write_text(main)
    trust = ssl.create_default_context(cafile=str(authority.certificate))
    with (
        running(peer("nginx"), "-e", "stderr", "-c", str(tmp_path / "nginx.conf")) as nginx,
        httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=trust, trust_env=False) as browser,
    ):
        wait_for_port(port, nginx)
        assert browser.get("/").headers["location"].endswith("/sign-in")
        form = browser.get("/sign-in")
        assert form.status_code == 200 and "Secure" in form.headers["set-cookie"]
        assert browser.get("/health/live").status_code == 200
    role.close()
    engine.dispose()


def test_documented_request_for_a_certificate_is_one(peer: Peer, tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("osteon")
    (command,) = re.findall(r"^(openssl req .*?)\n```", OPERATE, re.DOTALL | re.MULTILINE)
    words = shlex.split(
        command.replace("\\\n", "")
        .replace("/etc/osteon/osteon.key", str(pair.key))
        .replace("/etc/osteon", str(tmp_path))
    )
    subprocess.run([peer("openssl"), *words[1:]], check=True, capture_output=True)
    assert (
        "osteon.hospital.example"
        in subprocess.run(
            [peer("openssl"), "req", "-in", str(tmp_path / "osteon.csr"), "-noout", "-verify", "-text"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )


def test_pictures_of_the_quiz_are_those_that_are_drawn() -> None:
    drawn = [overlay(*question, LOOK) for question in questions()]
    assert len(drawn) == 6
    for number, picture in enumerate(drawn, 1):
        with Image.open(DOCS / f"quiz-{number}.png") as kept:
            np.testing.assert_array_equal(np.asarray(kept), picture)
