"""A GPU that could not be used at the start, tried again in a process of its own while the CPU computes in its place.

The role takes the GPU once, at its start. A card that was busy would else wait for a person to restart the role. A
driver that is loaded later needs no trial: systemd lets the role open the devices that are there when it starts, so
that the role starts again first.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess

from appliance.compute import Compute, choose_compute
from appliance.config import Configuration
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault
from appliance.gpu import driver_is_loaded

from .log import hush_libraries, set_up_logging
from .pipeline_assembly import assemble_workbench

PAUSE_S = 300.0
"""Pause before a GPU is tried again; it doubles with each trial that fails, up to `LONGEST_PAUSE_S`."""

LONGEST_PAUSE_S = 3600.0
"""Longest pause: a trial costs as much as a start of the role, some 20 seconds of one processor."""

LONGEST_TRIAL_S = 1800.0
"""A trial that builds every plan takes minutes; one that takes longer than this hangs in the driver, and is ended."""

log = logging.getLogger(__name__)


class GpuWatch:
    """Tries the GPU again while `compute` is the CPU although ``auto`` is configured.

    Parameters
    ----------
    trial
        Ends its process with 0 if the GPU can be used.
    """

    def __init__(
        self,
        config: Configuration,
        compute: Compute,
        trial: Callable[[], object] | None = None,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._is_needed = compute.device == "cpu" and config.analyse.compute == "auto"
        self._half = config.analyse.half
        self._had_driver = driver_is_loaded()
        self._trial = trial or partial(try_gpu, config)
        self._pause_s = pause_s
        self._due = time.monotonic() + pause_s
        self._child: BaseProcess | None = None

    def check(self) -> None:
        """Start a trial when one is due, and look at the one that runs; call it between radiographs.

        Raises
        ------
        Fault
            ``gpu_usable`` if a trial has succeeded, or the driver was loaded since: the role starts again, and takes
            the GPU.
        """
        if not self._is_needed:
            return
        if self._child is None:
            if time.monotonic() >= self._due:
                self._begin()
        elif not self._child.is_alive():
            self._end(self._child)
        elif time.monotonic() >= self._due + LONGEST_TRIAL_S:
            self._child.kill()

    def close(self) -> None:
        """End a trial that runs."""
        if self._child is not None:
            self._child.kill()
            self._child.join()

    def _begin(self) -> None:
        if driver_is_loaded() and not self._had_driver:
            reason = "NVIDIA's driver was loaded since the start: the role starts again, and may open its devices"
            raise Fault(ReasonCode.GPU_USABLE, reason)
        if choose_compute("auto", half=self._half).device == "cpu":
            self._due = time.monotonic() + self._pause_s  # asking the driver costs nothing: no longer pause
            return
        self._due = time.monotonic()
        self._child = multiprocessing.get_context("spawn").Process(target=self._trial, name="gpu", daemon=True)
        self._child.start()

    def _end(self, child: BaseProcess) -> None:
        self._child = None
        if child.exitcode == 0:
            raise Fault(ReasonCode.GPU_USABLE, "the GPU can be used now: the role starts again with it")
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._due = time.monotonic() + self._pause_s
        log.info("the GPU still cannot be used; it is tried again in %.0f minutes", self._pause_s / 60)


def try_gpu(config: Configuration) -> None:
    """Do all that the start of the role does with a GPU, and end this process with 0 if it succeeds."""
    set_up_logging()
    hush_libraries()
    with contextlib.suppress(OSError):  # systemd's unit denies it
        os.nice(10)  # the radiographs come first
    rules = config.analyse.model_copy(update={"compute": "gpu"})
    try:
        assemble_workbench(config.model_copy(update={"analyse": rules}))
    except Fault as fault:
        sys.exit(f"the GPU was tried again: {fault.reason}")
    sys.exit(0)
