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
tar -C /tmp -xf /out/bundle.tar && cd /tmp/osteon-* || exit
gpgv --keyring /out/key.gpg SHA256SUMS.asc SHA256SUMS && echo "signed"
sha256sum --quiet --check SHA256SUMS && echo "whole"
apt-get install -y ./osteon_*.deb && echo "installed"
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
osteon backup /var/lib/osteon/before.tar && echo "backed up"
before=$(systemctl show osteon-receive -p MainPID --value)
dpkg -i /tmp/osteon-*/osteon_*.deb && echo "installed again"
active osteon-receive
[ "$before" != "$(systemctl show osteon-receive -p MainPID --value)" ] && echo "restarted"
ready again
apt-get install -y /tmp/osteon-*/osteon-gpu_*.deb && echo "for a GPU"
runuser -u osteon -- /usr/lib/osteon/bin/python -c \
    'import pycuda, pynvml, tensorrt_rtx, kernels.build as k; assert k.FATBIN.is_file()' && echo "GPU's packages"
active osteon-analyse
osteon doctor | tr -s ' \n' ' '
dpkg --remove osteon-gpu && echo "without a GPU"
systemctl stop osteon.target osteon-receive osteon-analyse osteon-deliver osteon-status
runuser -u osteon -- /usr/lib/osteon/bin/python - <<'END' && echo "of a newer version"
import sqlite3
with sqlite3.connect("/var/lib/osteon/osteon.db") as database:
    database.execute("UPDATE alembic_version SET version_num = '9999'")
END
osteon status | tr -s ' \n' ' '
osteon restore /var/lib/osteon/before.tar && echo "restored"
systemctl start osteon.target
ready restored
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


@pytest.fixture(scope="module")
def packages() -> dict[str, Path]:
    """The packages of this version, by name; built if `make deb-gpu` has not."""
    folder = REPOSITORY / "build" / "deb"
    if len(list(folder.glob("*.deb"))) != 2:
        subprocess.run(["make", "-C", REPOSITORY, "deb-gpu"], check=True)
    found = {path.name.split("_")[0]: path for path in folder.glob("*.deb")}
    assert set(found) == {"osteon", "osteon-gpu"}
    return found


@pytest.fixture
def bundle(peer: Peer, packages: dict[str, Path], tmp_path: Path) -> Path:
    """The bundle of the packages, with the key that signs it beside."""
    gpg = [peer("gpg"), "--batch", "--homedir", str(tmp_path / "gnupg")]
    (tmp_path / "gnupg").mkdir(mode=0o700)
    subprocess.run([*gpg, "--passphrase", "", "--quick-generate-key", "releases@example.org"], check=True)
    subprocess.run([*gpg, "--output", tmp_path / "key.gpg", "--export"], check=True)
    settings = os.environ | {"KEY": "releases@example.org", "GNUPGHOME": str(tmp_path / "gnupg")}
    subprocess.run([REPOSITORY / "packaging" / "build-bundle"], env=settings, check=True)
    (made,) = (REPOSITORY / "dist").glob("osteon-*.tar")
    assert len(packages) == 2
    return made.rename(tmp_path / "bundle.tar")


def test_lintian_finds_nothing(peer: Peer, packages: dict[str, Path]) -> None:
    command = [peer("lintian"), "--allow-root", "--fail-on", "error,warning", *map(str, packages.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.proves("MIS-9")
def test_package_serves_a_bare_debian_without_a_network(peer: Peer, bundle: Path, tmp_path: Path) -> None:
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
    shutil.copy(bundle, shared / "bundle.tar")
    shutil.copy(bundle.with_name("key.gpg"), shared)
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
    lines = said.splitlines()
    assert "finished" in lines, said
    for line in (
        "no Python",
        "signed",
        "whole",
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
        "backed up",
        "for a GPU",
        "GPU's packages",
        "without a GPU",
        "of a newer version",
        "restored",
        "ready restored",
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
    assert "probably a newer one: install that version again" in said
    assert "NVIDIA's driver does not answer" in said, "the package for a GPU brings what asks it"
