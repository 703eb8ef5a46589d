"""The programs that the documents configure beside Osteon take the documented text, and drawn pictures are current."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from appliance.picture.overlay import overlay
from provisioning.documents.quiz import LOOK, questions
from tests.support.certificates import Authority
from tests.support.peers import Peer

pytestmark = pytest.mark.release

DOCS = Path(__file__).parents[2] / "docs"
OPERATE = (DOCS / "operate.md").read_text()


def listing(kind: str) -> str:
    """Return the one listing of a kind in the document about operating."""
    (found,) = re.findall(rf"```{kind}\n(.*?)```", OPERATE, re.DOTALL)
    return str(found)


def test_documented_firewall_is_one(peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "nftables.conf").write_text(listing("nft"))
    command = [peer("nft"), "--check", "--file", str(tmp_path / "nftables.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_documented_proxy_is_one(peer: Peer, tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("page")
    server = listing("nginx")
    for written, path in (("osteon-page.crt", pair.certificate), ("osteon-page.key", pair.key)):
        server = server.replace(f"/etc/ssl/{written}", str(path))
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{server}}}\n")
    command = [peer("nginx"), "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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
