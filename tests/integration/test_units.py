"""The systemd units, judged by systemd itself."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.domain.roles import ROLES
from tests.support.peers import Peer

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "packaging" / "systemd"
PORT_104 = (ROOT / "docs" / "install.md").read_text().partition("```ini\n")[2].partition("```")[0]
EXPOSURE = "15"
"""systemd-analyze's exposure, in tenths: above 1.5 of 10 a role could do more than its work needs."""


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A copy whose programs exist, since `verify` looks for them."""
    for path in UNITS.iterdir():
        text = re.sub("/usr/lib/osteon/bin/python|/usr/bin/nvidia-[a-z]+", str(shutil.which("true")), path.read_text())
        (tmp_path / path.name).write_text(text)
    return tmp_path


def test_systemd_finds_nothing_to_say(units: Path, peer: Peer) -> None:
    command = [peer("systemd-analyze"), "verify", "--recursive-errors=no", *map(str, sorted(units.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_key_would_be_noticed(units: Path, peer: Peer) -> None:
    """The judge is awake."""
    path = units / "osteon-status.service"
    path.write_text(path.read_text().replace("WatchdogSec", "WatchdogSeconds"))
    command = [peer("systemd-analyze"), "verify", "--recursive-errors=no", str(path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_the_documented_drop_in_for_port_104_leaves_the_rest_shut_in(units: Path, peer: Peer) -> None:
    """Its one capability and the user namespace cost a little; `tests/e2e/test_systemd.py` listens with it."""
    path = units / "osteon-receive.service"
    path.write_text(path.read_text().replace("[Install]", PORT_104 + "[Install]"))
    verify = subprocess.run([peer("systemd-analyze"), "verify", str(path)], capture_output=True, text=True, check=False)
    assert (verify.returncode, verify.stderr) == (0, "")
    command = [peer("systemd-analyze"), "security", "--offline=true", "--threshold=20", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.proves("SEC-11")
def test_documented_exposure_of_a_role_is_the_measured_one(units: Path, peer: Peer, role: str) -> None:
    command = [peer("systemd-analyze"), "security", "--offline=true", str(units / f"osteon-{role}.service")]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    (measured,) = re.findall(r"exposure level for \S+: ([\d.]+)", said)
    assert f"| `{role}` | {measured} |" in (ROOT / "docs" / "security.md").read_text()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.proves("SEC-11")
def test_each_role_is_shut_in(units: Path, peer: Peer, role: str) -> None:
    path = units / f"osteon-{role}.service"
    command = [peer("systemd-analyze"), "security", "--offline=true", f"--threshold={EXPOSURE}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


def test_the_target_wants_every_role() -> None:
    wanted = re.search(r"^Wants=(.*)$", (UNITS / "osteon.target").read_text(), re.MULTILINE)
    assert wanted is not None
    assert set(wanted[1].split()) == {f"osteon-{role}.service" for role in ROLES}
    for role in ROLES:
        assert f"python -m appliance.service {role} " in (UNITS / f"osteon-{role}.service").read_text()
