"""A real systemd, as PID 1 in a container over this machine's files, runs the four roles."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_units import PORT_104
from tests.support.peers import Peer
from tests.support.systemd import RUNNER, TARGET

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_S = 900
"""Hang detector; the script in the container powers off before it."""

SCRIPT = """\
#!/bin/bash
exec > /out/said 2>&1
set -x
(sleep 800; systemctl poweroff --force --force) &
systemd-sysusers
systemd-tmpfiles --create /usr/lib/tmpfiles.d/osteon.conf
ip link set lo up
systemctl start osteon.target
for role in receive analyse deliver status; do
    timeout 300 bash -c "until systemctl is-active --quiet osteon-$role; do sleep 0.2; done" && echo "active $role"
done
timeout 300 bash -c 'until curl -fs http://127.0.0.1:8080/health/ready; do sleep 0.5; done' && echo "ready"
runuser -u osteon -- /out/osteon status --json
timeout 300 bash -c 'until (: < /dev/tcp/127.0.0.1/104); do sleep 0.2; done' && echo "port 104"
cat /out/device-files
[ -p /var/lib/osteon/wake-analyse ] && [ -p /var/lib/osteon/wake-deliver ] && echo "commits wake roles"
before=$(systemctl show osteon-receive -p MainPID --value)
[ "$before" -gt 0 ] && kill -9 "$before" && \\
timeout 300 bash -c "until [ \\$(systemctl show osteon-receive -p MainPID --value) -gt 0 -a \\
    \\$(systemctl show osteon-receive -p MainPID --value) != $before ]; do sleep 0.2; done"
timeout 300 bash -c 'until systemctl is-active --quiet osteon-receive; do sleep 0.2; done' && echo "restarted receive"
systemctl start slow && echo "started slowly"
systemctl start silent || echo "silence is not waited for"
ps -o user= -p "$(systemctl show osteon-analyse -p MainPID --value)"
systemctl stop osteon.target osteon-receive osteon-analyse osteon-deliver osteon-status
systemctl show osteon-analyse -p Result,ExecMainStatus
: > /out/no-card
systemctl start osteon-gpu
systemctl show osteon-gpu -p ActiveState
cat /out/device-files
journalctl --no-pager -o cat -u 'osteon-*' | tail -60
echo finished
systemctl poweroff
"""

NVIDIA = """\
#!/bin/sh
[ -e /out/no-card ] && echo "$(basename $0) $* finds no card" >>/out/device-files && exit 1
echo "$(basename $0) $*, then analyse: $(systemctl show osteon-analyse -p ActiveState --value)" >>/out/device-files
"""
"""The programs of NVIDIA's driver that `osteon-gpu.service` runs, as far as systemd sees them."""

SLOW = f"""\
[Service]
Type=notify
TimeoutStartSec=15
WorkingDirectory={REPOSITORY}
ExecStart={sys.executable} -c 'import time; from appliance.service.systemd_notify import notifier, start_notifier; \\
    {{tell}} time.sleep(25); notifier()("READY=1"); time.sleep(600)'
"""
"""Unit that takes longer to start than it allows, with or without a report of its progress."""


@pytest.fixture
def root(peer: Peer) -> Iterator[Path]:
    """Overlay of /, into which the units are installed; it takes every change that the container makes."""
    peer("systemd-nspawn")
    if os.geteuid() != 0:
        peer("root")
    # in memory, since an overlay cannot lie on another one
    scratch = Path("/dev/shm") / f"osteon-{os.getpid()}"
    for name in ("upper", "work", "root"):
        (scratch / name).mkdir(parents=True)
    options = f"lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(scratch / "root")], check=True)
    try:
        yield scratch / "root"
    finally:
        subprocess.run(["umount", "-l", str(scratch / "root")], check=True)
        subprocess.run(["rm", "-rf", str(scratch)], check=True)


def install(root: Path) -> None:
    system = root / "etc" / "systemd" / "system"
    for wants in system.glob("*.wants"):
        subprocess.run(["rm", "-rf", str(wants)], check=True)
    for path in (REPOSITORY / "packaging" / "systemd").iterdir():
        text = path.read_text().replace("/usr/lib/osteon/bin/python", sys.executable)
        # the development tree and Python may lie in folders that a hardened service hides
        text = text.replace("ProtectHome=yes", f"ProtectHome=no\nWorkingDirectory={REPOSITORY}")
        text = text.replace("PrivateTmp=yes", "PrivateTmp=no")
        (system / path.name).write_text(text)
    (system / "runner.service").write_text(RUNNER)
    (system / "test.target").write_text(TARGET)
    (system / "slow.service").write_text(SLOW.format(tell='start_notifier()("networks are built");'))
    (system / "silent.service").write_text(SLOW.format(tell=""))
    for kind in ("sysusers.d", "tmpfiles.d"):
        target = root / "usr" / "lib" / kind
        target.mkdir(parents=True, exist_ok=True)
        (target / "osteon.conf").write_text((REPOSITORY / "packaging" / kind / "osteon.conf").read_text())
    for folder in {*Path(sys.executable).resolve().parents, *REPOSITORY.parents}:
        inside = root / folder.relative_to("/")
        inside.mkdir(parents=True, exist_ok=True)
        inside.chmod(inside.stat().st_mode | 0o055)  # only in the overlay
    for name in ("nvidia-modprobe", "nvidia-smi"):
        (root / "usr" / "bin" / name).write_text(NVIDIA)
        (root / "usr" / "bin" / name).chmod(0o755)
    drop_in = system / "osteon-receive.service.d"
    drop_in.mkdir()
    (drop_in / "port-104.conf").write_text(PORT_104)
    subprocess.run(["rm", "-rf", str(root / "var/lib/osteon"), str(root / "etc/osteon")], check=True)  # of this machine
    (root / "etc" / "osteon").mkdir()
    (root / "etc" / "osteon" / "osteon.toml").write_text(
        'analyse.pack = "phantom"\nreceive.reserve_mb = 0\nreceive.port = 104\n'
    )


def test_target_starts_restarts_and_stops_the_roles(root: Path, tmp_path: Path) -> None:
    install(root)
    out = tmp_path / "out"
    out.mkdir()
    (out / "script").write_text(SCRIPT)
    (out / "script").chmod(0o755)
    (out / "osteon").write_text(f'#!/bin/sh\ncd {REPOSITORY} && exec {sys.executable} -m provisioning.cli "$@"\n')
    (out / "osteon").chmod(0o755)
    command = ["systemd-nspawn", "-q", "-D", str(root), f"--bind={out}:/out", "--private-network", "--register=no"]
    command += [f"--bind-ro={REPOSITORY}"]
    command += ["--keep-unit", "-b", "systemd.unit=test.target"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    output = (out / "said").read_text() if (out / "said").exists() else done.stdout[-3000:] + done.stderr[-3000:]
    for line in (
        "active receive",
        "active analyse",
        "active deliver",
        "active status",
        "ready",
        "port 104",
        "commits wake roles",
        "restarted receive",
        "started slowly",
        "silence is not waited for",
        "nvidia-modprobe , then analyse: inactive",
        "nvidia-smi --list-gpus, then analyse: inactive",
        "nvidia-modprobe -u -c=0, then analyse: inactive",
        "nvidia-modprobe  finds no card",
        "osteon-gpu.service: Skipped due to 'exec-condition'.",
    ):
        assert f"\n{line}\n" in output, f"{line}\n{output}"
    # the command reads another boot_id than the roles, in a /proc of their own
    (seen,) = [json.loads(line) for line in output.splitlines() if line.startswith('{"headline"')]
    assert all(c["ok"] for c in seen["conditions"] if c["name"].startswith("role.")), seen
    assert "Result=success" in output, output
    assert "ActiveState=failed" not in output, output
    assert "-c=0 finds no card" not in output, output
    assert "\nosteon\n" in output, output
    assert "\nfinished\n" in output, output
