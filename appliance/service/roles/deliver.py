"""The deliver role: one courier thread for each destination, so that a slow one holds up no other.

Every exchange with a peer has a deadline, so no courier should hang. One that hangs nevertheless is retired, and
another takes over its destination; the couriers to the other destinations go on.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.config import (
    Configuration,
    DestinationConfig,
    DicomDestination,
    DicomWebDestination,
    FhirDestination,
    Hl7Destination,
)
from appliance.dicom.scu.pacs import Pacs
from appliance.dicom.web.archive import WebArchive
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault, Transient
from appliance.network import client_context
from appliance.ports import Outlet
from appliance.reporting.fhir.destination import FhirServer
from appliance.reporting.hl7.mllp import MllpDestination
from appliance.service.courier import Courier, OneByOne
from appliance.service.worker import PAUSE_S, owner
from appliance.storage.gate import Gate
from appliance.storage.outbox import DeliveryQueue, Outbox
from appliance.storage.queue import LEASE_S
from appliance.storage.spool import FileSpool
from appliance.storage.wakeups import Bell

HANGS_AFTER_S = 2 * LEASE_S
"""A courier without a sign of life for so long hangs; its leases have run out."""

MOST_HUNG = 3
"""Retired couriers of one destination that may hang in their threads; with more, none takes over."""

log = logging.getLogger(__name__)


def outlet_of(config: DestinationConfig) -> Outlet:
    """Make the outlet of a configured destination."""
    if isinstance(config, DicomDestination):
        return Pacs(config)
    if isinstance(config, DicomWebDestination):
        return WebArchive(config)
    return OneByOne(ris_of(config) if isinstance(config, Hl7Destination) else fhir_server_of(config))


def ris_of(config: Hl7Destination) -> MllpDestination:
    """Make the client of a RIS."""
    tls = client_context(config.tls, config.name) if config.tls else None
    server_name = config.tls.server_name if config.tls else None
    return MllpDestination(config.name, config.host, config.port, config.timeout_s, tls, server_name)


def fhir_server_of(config: FhirDestination) -> FhirServer:
    """Make the client of a FHIR server."""
    tls = client_context(config.tls, config.name) if config.tls else None
    server_name = config.tls.server_name if config.tls else None
    return FhirServer(config.name, config.base_url, config.bearer, config.timeout_s, tls, server_name)


class DeliverRole:
    """Runs and watches the couriers."""

    name = "deliver"
    rest_s = math.inf

    def __init__(self, config: Configuration, engine: Engine) -> None:
        DeliveryQueue(engine, owner(self.name)).release()
        spool = FileSpool(config.spool_dir)
        self._stop = threading.Event()
        self.bell = Bell().listen(engine, self.name)
        self._lines = [_Line(destination, engine, spool, self._run) for destination in config.destinations]

    def _run(self, courier: Courier) -> None:
        """Step the courier until the role stops, with a pause while the database cannot be used."""
        while not (self._stop.is_set() or courier.is_retired):
            rings = self.bell.rings
            try:
                busy = courier.step()
            except (SQLAlchemyError, Transient) as error:
                log.error("the courier to %s cannot work now: %s", courier.outlet.name, type(error).__name__)
                self._stop.wait(PAUSE_S)
            else:
                if not busy:
                    self.bell.wait(rings, courier.rest_s)

    def step(self) -> bool:
        """Check the couriers, which do the work on their threads; return False.

        Raises
        ------
        Fault
            ``courier_died``: the whole role is restarted.
        """
        for line in self._lines:
            if not line.thread.is_alive() and not self._stop.is_set():
                raise Fault(ReasonCode.COURIER_DIED, f"the courier to {line.name} ended: see the log")
            if time.monotonic() - line.courier.moved_at > HANGS_AFTER_S:
                line.replace_courier()
        return False

    def detail(self) -> str:
        """Return the count of deliveries for each destination, and the couriers that hang."""
        counts = ", ".join(f"{line.name} {line.done}" for line in self._lines)
        hung = ", ".join(line.name for line in self._lines if line.hung)
        sentence = f"delivered since start: {counts}" if counts else "no destinations are configured"
        return f"{sentence}; a courier hangs to {hung}" if hung else sentence

    def close(self) -> None:
        """Stop the couriers after their current delivery."""
        self._stop.set()
        self.bell.close()
        for line in self._lines:
            line.thread.join(timeout=5)


class _Line:
    """A destination with its courier, the thread of that, and the threads of retired couriers.

    Attributes
    ----------
    hung
        Threads of retired couriers that have not ended.
    """

    def __init__(
        self, destination: DestinationConfig, engine: Engine, spool: FileSpool, run: Callable[[Courier], None]
    ) -> None:
        self.name = destination.name
        self.hung: list[threading.Thread] = []
        self._destination, self._engine, self._spool, self._run = destination, engine, spool, run
        self._number = 0
        self._done_before = 0
        self._start()

    def _start(self) -> None:
        self._number += 1
        holder = f"{owner(DeliverRole.name)}/{self.name}"
        if self._number > 1:
            holder += f"#{self._number}"
        outbox = Outbox(self._engine, self.name, holder)
        self.courier = Courier(outbox, Gate(self._engine), self._spool, outlet_of(self._destination))
        self.thread = threading.Thread(target=self._run, args=(self.courier,), name=self.name, daemon=True)
        self.thread.start()

    @property
    def done(self) -> int:
        """Number of deliveries since the start of the role."""
        return self._done_before + self.courier.done

    def replace_courier(self) -> None:
        """Retire the courier, which hangs, and start another, unless `MOST_HUNG` hang already."""
        self.hung = [thread for thread in self.hung if thread.is_alive()]
        if len(self.hung) >= MOST_HUNG:
            return
        log.error(
            "the courier to %s has not moved for %.0f s, another takes over (%s)",
            self.name,
            HANGS_AFTER_S,
            ReasonCode.COURIER_HANGS,
        )
        self.courier.is_retired = True
        self.hung.append(self.thread)
        self._done_before += self.courier.done
        self._start()
