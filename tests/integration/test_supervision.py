"""Roles end with their supervisor, however that ends, and no second set of roles starts on the same state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from appliance.config import Configuration
from appliance.dicom.part10 import part10_bytes
from appliance.domain.roles import ROLES
from appliance.errors import Fault
from appliance.service.role_lock import role_lock
from appliance.storage.database import readers
from appliance.storage.heartbeats import STARTING
from appliance.storage.tables import roles
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.site import Site
from tests.support.waiting import PATIENCE_S, wait_until

HOLD = """
import sys, time
from pathlib import Path
from appliance.config import Configuration
from appliance.service.role_lock import role_lock
with role_lock(Configuration(state_dir=Path(sys.argv[1])), "analyse"):
    print("held", flush=True)
    time.sleep(600)
"""


def is_gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie has, whoever may still collect it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextmanager
def started(command: list[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    """Start a program, and kill it in the end if it is still there."""
    with subprocess.Popen(command, text=True, **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def service(config: Path, role: str) -> subprocess.CompletedProcess[str]:
    """Run a role, or all, to its end."""
    command = [sys.executable, "-m", "appliance.service", role, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def pids(site: Site) -> dict[str, int]:
    """Return the process of each role that works."""
    with readers(site.engine).connect() as c:
        return dict(c.execute(select(roles.c.role, roles.c.pid).where(roles.c.detail != STARTING)).tuples().all())


def test_roles_end_with_a_supervisor_that_is_killed_and_a_second_set_is_refused(tmp_path: Path) -> None:
    with Site(tmp_path) as site, (tmp_path / "all.log").open("w") as log:
        command = [sys.executable, "-m", "appliance.service", "all", "--config", str(site.config)]
        with started(command, stderr=log) as supervisor:
            wait_until(lambda: set(pids(site)) == set(ROLES), (tmp_path / "all.log").read_text)
            running = pids(site)
            for role in ("all", "analyse", "deliver"):
                refused = service(site.config, role)
                assert refused.returncode == 1
                assert f"runs already on {tmp_path / 'state'}: stop it first" in refused.stderr
                assert "Traceback" not in refused.stderr
            assert pids(site) == running
            reading = children(running["analyse"])
            environments = [Path(f"/proc/{child}/environ").read_bytes().split(b"\0") for child in reading]
            assert environments and all(b"OPENBLAS_NUM_THREADS=1" in each for each in environments)
            supervisor.send_signal(signal.SIGKILL)
            supervisor.wait()
            wait_until(lambda: all(map(is_gone, running.values())), lambda: f"{running} to end")
        config = Configuration(state_dir=tmp_path / "state")
        with ExitStack() as locks:
            for role in ROLES:
                locks.enter_context(role_lock(config, role))


def test_role_that_is_still_starting_ends_when_its_supervisor_does(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        command = [sys.executable, "-m", "appliance.service", "analyse", "--supervised", "--config", str(site.config)]
        with started(command, stdin=subprocess.PIPE) as role:
            assert role.stdin is not None
            role.stdin.close()
            assert role.wait(PATIENCE_S) in (-signal.SIGTERM, 0)


def test_lock_of_a_role_is_released_by_the_kernel(tmp_path: Path) -> None:
    config = Configuration(state_dir=tmp_path)
    with started([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(Fault, match="analyse runs already on"), role_lock(config, "analyse"):
            pass
        with role_lock(config, "deliver"):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with role_lock(config, "analyse"):
            pass
    with role_lock(config, "analyse"):
        pass


def test_boxes_that_share_a_database_have_locks_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Configuration(state_dir=tmp_path, database_url="postgresql+pg8000://osteon@db/osteon")
    monkeypatch.setattr("socket.gethostname", lambda: "box1")
    with role_lock(config, "analyse"):
        with pytest.raises(Fault, match="runs already"), role_lock(config, "analyse"):
            pass
        monkeypatch.setattr("socket.gethostname", lambda: "box2")
        with role_lock(config, "analyse"):
            pass


def test_lock_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(Fault, match="check state_dir"),
        role_lock(Configuration(state_dir=tmp_path / "file"), "analyse"),
    ):
        pass


@pytest.mark.parametrize(("number", "at"), [(signal.SIGTERM, "Status page"), (signal.SIGHUP, "start")])
def test_demonstration_ended_by_a_signal_leaves_no_role_and_no_folder(
    number: signal.Signals, at: str, tmp_path: Path
) -> None:
    temporary, inputs = tmp_path / "tmp", tmp_path / "in"
    temporary.mkdir()
    inputs.mkdir()
    (inputs / "1.dcm").write_bytes(part10_bytes(instance_from_phantom(phantom("wrist", 0, True))))
    command = [sys.executable, "-m", "provisioning.cli", "demo", "--keep", "--out", str(tmp_path / "out")]
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    printed = tmp_path / "printed"
    command += ["--radiographs", str(inputs)]
    with printed.open("w") as out, started(command, stdout=out, stderr=out, env=environment) as demo:

        def has_come_so_far() -> bool:
            assert demo.poll() is None, printed.read_text()
            return at in printed.read_text() if at == "Status page" else bool(children(demo.pid))

        wait_until(has_come_so_far, printed.read_text)
        running = children(demo.pid)
        demo.send_signal(number)
        assert demo.wait(PATIENCE_S) == 128 + number
    assert running
    wait_until(lambda: all(map(is_gone, running)), lambda: f"{running} to end")
    assert list(temporary.glob("osteon-demo-*")) == []
    assert "Traceback" not in printed.read_text()


def children(pid: int) -> list[int]:
    """Return the processes that this one has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
