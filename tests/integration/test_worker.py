"""The heartbeats of a role: one when it starts, then one for steps that succeed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Engine

from appliance.config import Configuration
from appliance.domain.reason import ReasonCode
from appliance.errors import Transient
from appliance.service import worker
from appliance.service.configuration_watch import ConfigurationWatch
from appliance.storage.wakeups import Bell


@dataclass
class ThreeSteps:
    """A role that steps three times."""

    stop: threading.Event
    bell: Bell
    fails: bool
    name: str = "deliver"
    rest_s: float = 0.0
    steps: int = field(default=0, init=False)

    def step(self) -> bool:
        self.steps += 1
        if self.steps == 3:
            self.stop.set()
        if self.fails:
            raise Transient(ReasonCode.DISK_FULL, "the disk is full")
        return True

    def detail(self) -> str:
        return "works"

    def close(self) -> None: ...


@pytest.mark.parametrize(("fails", "beats"), [(True, 1), (False, 4)])
def test_role_that_fails_each_step_is_missed(
    engine: Engine, fails: bool, beats: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "BEAT_S", 0.0)
    monkeypatch.setattr(worker, "PAUSE_S", 0.0)
    stop, said = threading.Event(), list[str]()
    role = ThreeSteps(stop, Bell(), fails)
    worker._work(role, engine, ConfigurationWatch(None, Configuration(state_dir=tmp_path)), stop, said.append)
    assert role.steps == 3 and said.count("STATUS=works") == beats
