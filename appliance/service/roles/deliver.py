"""The deliver role: one courier thread for each destination, so that a slow one holds up no other."""

from __future__ import annotations

import logging
import threading
import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.config import Configuration, DestinationConfig, DicomDestination, Hl7Destination
from appliance.dicom.scu.pacs import Pacs
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault, Transient
from appliance.network import client_context
from appliance.ports import Outlet
from appliance.reporting.fhir.destination import FhirServer
from appliance.reporting.hl7.mllp import MllpDestination
from appliance.service.courier import Courier, OneByOne
from appliance.service.worker import PAUSE_S, POLL_S, owner
from appliance.storage.gate import Gate
from appliance.storage.outbox import DeliveryQueue, Outbox
from appliance.storage.queue import LEASE_S
from appliance.storage.spool import FileSpool

log = logging.getLogger(__name__)


def outlet_of(config: DestinationConfig) -> Outlet:
    """Make the outlet of a configured destination."""
    if isinstance(config, DicomDestination):
        return Pacs(config)
    tls = client_context(config.tls, config.name) if config.tls else None
    server_name = config.tls.server_name if config.tls else None
    if isinstance(config, Hl7Destination):
        return OneByOne(MllpDestination(config.name, config.host, config.port, config.timeout_s, tls, server_name))
    return OneByOne(FhirServer(config.name, config.base_url, config.bearer, config.timeout_s, tls, server_name))


class DeliverRole:
    """Runs and watches the couriers."""

    name = "deliver"
    idle_s = 1.0

    def __init__(self, config: Configuration, engine: Engine) -> None:
        DeliveryQueue(engine, owner(self.name)).release()
        spool = FileSpool(config.spool_dir)
        self._stop = threading.Event()
        self._couriers: list[Courier] = []
        self._threads: list[threading.Thread] = []
        for outlet in map(outlet_of, config.destinations):
            outbox = Outbox(engine, outlet.name, f"{owner(self.name)}/{outlet.name}")
            courier = Courier(outbox, Gate(engine), spool, outlet)
            self._couriers.append(courier)
            thread = threading.Thread(target=self._run, args=(courier,), name=outlet.name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, courier: Courier) -> None:
        """Step the courier until the role stops, with a pause while the database cannot be used."""
        while not self._stop.is_set():
            try:
                busy = courier.step()
            except (SQLAlchemyError, Transient) as error:
                log.error("the courier to %s cannot work now: %s", courier.outlet.name, type(error).__name__)
                self._stop.wait(PAUSE_S)
            else:
                if not busy:
                    self._stop.wait(POLL_S)

    def step(self) -> bool:
        """Check the couriers, which do the work on their threads; return False.

        Raises
        ------
        Fault
            ``courier_died`` or ``courier_hangs``: the whole role is restarted.
        """
        for thread, courier in zip(self._threads, self._couriers, strict=True):
            if not thread.is_alive() and not self._stop.is_set():
                raise Fault(ReasonCode.COURIER_DIED, f"the courier to {thread.name} ended: see the log")
            if time.monotonic() - courier.moved_at > 2 * LEASE_S:
                reason = f"the courier to {thread.name} has not moved for {2 * LEASE_S:.0f} s"
                raise Fault(ReasonCode.COURIER_HANGS, reason)
        return False

    def detail(self) -> str:
        """Return the count of deliveries for each destination."""
        counts = ", ".join(f"{c.outlet.name} {c.done}" for c in self._couriers)
        return f"delivered since start: {counts}" if counts else "no destinations are configured"

    def close(self) -> None:
        """Stop the couriers after their current delivery."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)
