"""The Debian package on a bare Debian 12 without a network: installed, configured, run, upgraded, removed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.peers import Peer
from tests.support.systemd import RUNNER, TARGET

pytestmark = [pytest.mark.release, pytest.mark.timeout(3600)]

REPOSITORY = Path(__file__).parents[2]

ANSWERS = """\
analyse.pack = "phantom"
[receive]
peers = [{address = "127.0.0.0/8"}]
"""

SCRIPT = """\
#!/bin/bash
exec > /out/said 2>&1
set -x
(sleep 1500; systemctl poweroff --force --force) &
export DEBIAN_FRONTEND=noninteractive
ip link set lo up
active() { timeout 300 bash -c "until systemctl is-active --quiet $1; do sleep 0.5; done" && echo "active $1"; }
# systemd-nspawn hides the boot id of the kernel, which the roles see: `osteon status` would miss their heartbeats
ready() {
    timeout 300 /usr/lib/osteon/bin/python - <<'END' && echo "ready $1"
import time, urllib.error, urllib.request
while True:
    try:
        urllib.request.urlopen("http://127.0.0.1:8080/health/ready")
        break
    except urllib.error.URLError:
        time.sleep(1)
END
}
command -v python3 || echo "no Python"
apt-get install -y /out/osteon.deb && echo "installed"
systemctl is-active osteon-receive || echo "not started"
osteon --version
test -f /usr/share/doc/osteon/docs/operate.md && echo "documents"
osteon setup --answers /out/answers.toml --certificate self-signed --host box && echo "set up"
stat -c '%U:%G %a %n' /etc/osteon/osteon.toml /etc/osteon/osteon.key
systemctl enable --now osteon.target
for role in receive analyse deliver status; do active osteon-$role; done
ready first
osteon doctor; echo "doctor $?"
cd /tmp && osteon demo --limit 2 --out /var/lib/osteon/demo && echo "demonstrated"
before=$(systemctl show osteon-receive -p MainPID --value)
dpkg -i /out/osteon.deb && echo "installed again"
active osteon-receive
[ "$before" != "$(systemctl show osteon-receive -p MainPID --value)" ] && echo "restarted"
ready again
stat -c '%U %n' /var/lib/osteon/* | grep -v '^osteon ' || echo "every file belongs to osteon"
systemd-analyze security osteon-receive osteon-analyse osteon-deliver osteon-status --no-pager | tail -5
dpkg --remove osteon && echo "removed"
systemctl is-active osteon-receive || echo "stopped"
test -f /etc/osteon/osteon.toml && echo "configuration kept"
dpkg --purge osteon && echo "purged"
ls -d /usr/lib/osteon /etc/osteon
test -f /var/lib/osteon/osteon.db && echo "database kept"
journalctl --no-pager -o cat -u 'osteon-*' | tail -40
echo finished
systemctl poweroff
"""


@pytest.fixture
def package() -> Path:
    """The package of this version; built if `make deb` has not."""
    if not (found := list((REPOSITORY / "build" / "deb").glob("osteon_*.deb"))):
        subprocess.run([REPOSITORY / "packaging" / "build-deb"], check=True)
        found = list((REPOSITORY / "build" / "deb").glob("osteon_*.deb"))
    (only,) = found
    return only


def test_lintian_finds_nothing(peer: Peer, package: Path) -> None:
    command = [peer("lintian"), "--allow-root", "--fail-on", "error,warning", str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_package_serves_a_bare_debian_without_a_network(peer: Peer, package: Path, tmp_path: Path) -> None:
    peer("systemd-nspawn")
    if os.geteuid() != 0:
        peer("root")
    root, shared = tmp_path / "root", tmp_path / "out"
    with_systemd = ("--variant=minbase", "--include=systemd,systemd-sysv,iproute2")
    command = ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)"]
    sites = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    mirror = next(line.split()[0] for line in sites if line.endswith(" bookworm main"))
    subprocess.run([peer("debootstrap"), *with_systemd, "bookworm", str(root), mirror], check=True)
    shared.mkdir()
    shutil.copy(package, shared / "osteon.deb")
    (shared / "answers.toml").write_text(ANSWERS)
    (shared / "script").write_text(SCRIPT)
    (shared / "script").chmod(0o755)
    system = root / "etc" / "systemd" / "system"
    (system / "runner.service").write_text(RUNNER)
    (system / "trial.target").write_text(TARGET)
    command = ["systemd-nspawn", "-q", "-D", str(root), f"--bind={shared}:/out", "--private-network", "--register=no"]
    command += ["--keep-unit", "-b", "systemd.unit=trial.target"]
    subprocess.run(command, capture_output=True, timeout=1800, check=False)
    said = (shared / "said").read_text()
    shutil.rmtree(root)
    assert said.rstrip().splitlines()[-1] == "+ systemctl poweroff", said
    lines = said.splitlines()
    for line in (
        "no Python",
        "installed",
        "not started",
        "documents",
        "set up",
        "root:osteon 640 /etc/osteon/osteon.toml",
        "root:osteon 640 /etc/osteon/osteon.key",
        *(f"active osteon-{role}" for role in ("receive", "analyse", "deliver", "status")),
        "ready first",
        "demonstrated",
        "installed again",
        "restarted",
        "ready again",
        "every file belongs to osteon",
        "removed",
        "stopped",
        "configuration kept",
        "purged",
        "database kept",
    ):
        assert line in lines, said
    assert "ls: cannot access '/usr/lib/osteon': No such file or directory" in said
    assert "ls: cannot access '/etc/osteon': No such file or directory" in said
    assert "Traceback" not in said
