"""The composition root: the only place that knows which class stands behind which port."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Engine
from waitress.server import create_server

import engines.packs
from appliance.analysis.classifier import Classifier
from appliance.analysis.localiser import Localiser
from appliance.analysis.pipeline import Pipeline
from appliance.compute import choose_compute
from appliance.config import Configuration, DestinationConfig, DicomDestination, Hl7Destination
from appliance.dicom.receiver import Receiver
from appliance.dicom.sender import StoreDestination
from appliance.domain.identifiers import Site
from appliance.domain.result import Provenance
from appliance.errors import Fault
from appliance.ports import Destination
from appliance.preprocessing.recipe import DIGEST
from appliance.reporting.fhir import FhirDestination
from appliance.reporting.mllp import MllpDestination
from appliance.status.app import create_app
from appliance.storage.database import now, open_database, readers
from appliance.storage.ledger import keep_instance
from appliance.storage.queue import LEASE_S, Queue
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses, deliveries
from engines.onnxruntime_runner import OnnxRuntimeRunner
from engines.pack import Pack, PackError, read_pack

from .handlers import Analyser, Courier
from .worker import Role

ROLES = ("receive", "analyse", "deliver", "status")
POLL_S = 0.1
"""How long an idle role sleeps: a radiograph waits this much at most before it is looked at."""


def pack_of(config: Configuration) -> Pack:
    """The pack that the configuration names: one that ships with Osteon, or a folder.

    Raises
    ------
    Fault
        ``pack`` with what to do about it.
    """
    shipped = Path(engines.packs.__file__).parent / config.analyse.pack
    folder = shipped if (shipped / "pack.toml").exists() else Path(config.analyse.pack)
    try:
        return read_pack(folder, DIGEST)
    except PackError as error:
        raise Fault("pack", str(error)) from error


def pipeline_of(config: Configuration) -> Pipeline:
    """Preprocessing and the engines of the configured pack, loaded and ready."""
    from appliance.preprocessing.dali import DaliPreprocessor  # takes a second to import: only who analyses pays it

    pack, threads = pack_of(config), config.analyse.threads
    return Pipeline(
        preprocessor=DaliPreprocessor("cpu", threads),
        localiser=Localiser(OnnxRuntimeRunner(pack.localiser.file, threads), pack.localiser),
        classifiers={
            Site(site): Classifier(OnnxRuntimeRunner(spec.file, threads), spec)
            for site, spec in pack.classifiers.items()
        },
        provenance=Provenance(
            software_version=version("osteon"),
            pack_name=pack.name,
            pack_version=pack.version,
            pack_digest=pack.digest,
            pack_is_synthetic=pack.is_synthetic,
            compute=choose_compute().name,
        ),
        now=now,
    )


def destination_of(config: DestinationConfig) -> Destination:
    """The peer that a table of the configuration describes."""
    if isinstance(config, DicomDestination):
        return StoreDestination(
            config.name, config.host, config.port, config.called_ae_title, config.calling_ae_title, config.timeout_s
        )
    if isinstance(config, Hl7Destination):
        return MllpDestination(config.name, config.host, config.port, config.timeout_s)
    return FhirDestination(config.name, config.base_url, config.bearer, config.timeout_s)


def role_of(name: str, config: Configuration) -> tuple[Role, Engine]:
    """The role of that name, started, and the database that it works on."""
    made: dict[str, Callable[[Configuration, Engine], Role]] = {
        "receive": ReceiveRole,
        "analyse": AnalyseRole,
        "deliver": DeliverRole,
        "status": StatusRole,
    }
    engine = open_database(config.database)
    return made[name](config, engine), engine


def _owner(role: str) -> str:
    return f"{role}@{socket.gethostname()}:{os.getpid()}"


class ReceiveRole:
    """Owns every listener; its connections have threads of their own."""

    name = "receive"
    idle_s = 1.0

    def __init__(self, config: Configuration, engine: Engine) -> None:
        self._config = config.receive
        spool = FileSpool(config.spool_dir)
        self._receiver = Receiver(config.receive, spool.put, partial(keep_instance, engine), config.spool_dir)

    def step(self) -> bool:
        return False

    def detail(self) -> str:
        return (
            f"{self._config.ae_title} listens on {self._config.host}:{self._receiver.port}, "
            f"{self._receiver.received} received since start"
        )

    def close(self) -> None:
        self._receiver.close()


class AnalyseRole:
    """The only role that touches the GPU."""

    name = "analyse"
    idle_s = POLL_S

    def __init__(self, config: Configuration, engine: Engine) -> None:
        self._pipeline = pipeline_of(config)
        queue = Queue(engine, analyses, _owner(self.name), most_attempts=config.analyse.attempts)
        queue.release()
        spool = FileSpool(config.spool_dir)
        self._analyser = Analyser(engine, queue, spool, self._pipeline, config.destinations)

    def step(self) -> bool:
        return self._analyser.step()

    def detail(self) -> str:
        made_by = self._pipeline.provenance
        return f"pack {made_by.model} on {made_by.compute}, {self._analyser.done} analysed since start"

    def close(self) -> None:
        pass


class DeliverRole:
    """One courier thread per destination, so that a deaf one holds up nobody else."""

    name = "deliver"
    idle_s = 1.0

    def __init__(self, config: Configuration, engine: Engine) -> None:
        Queue(engine, deliveries, _owner(self.name)).release()
        spool = FileSpool(config.spool_dir)
        self._stop = threading.Event()
        self._last_step: dict[str, float] = {}
        self._couriers = []
        self._threads = []
        for destination in map(destination_of, config.destinations):
            queue = Queue(engine, deliveries, f"{_owner(self.name)}/{destination.name}")
            courier = Courier(engine, queue, spool, destination)
            self._couriers.append(courier)
            thread = threading.Thread(target=self._carry, args=(courier,), name=destination.name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry(self, courier: Courier) -> None:
        while not self._stop.is_set():
            self._last_step[courier.destination.name] = time.monotonic()
            if not courier.step():
                self._stop.wait(POLL_S)

    def step(self) -> bool:
        """Nothing to do itself; a courier that died or hangs is a fault of the whole role.

        Raises
        ------
        Fault
            ``courier_died`` or ``courier_hangs``.
        """
        for thread in self._threads:
            if not thread.is_alive() and not self._stop.is_set():
                raise Fault("courier_died", f"the courier to {thread.name} ended: see the log")
            if time.monotonic() - self._last_step.get(thread.name, time.monotonic()) > 5 * LEASE_S:
                raise Fault("courier_hangs", f"the courier to {thread.name} has not moved for {5 * LEASE_S:.0f} s")
        return False

    def detail(self) -> str:
        counts = ", ".join(f"{c.destination.name} {c.done}" for c in self._couriers)
        return f"delivered since start: {counts}" if counts else "no destinations are configured"

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)


class StatusRole:
    """Serves the page; reads, and never holds a write lock."""

    name = "status"
    idle_s = 1.0

    def __init__(self, config: Configuration, engine: Engine) -> None:
        app = create_app(readers(engine), config, pack_of(config), version("osteon"))
        try:
            self._server = create_server(app, host=config.status.host, port=config.status.port, threads=4, ident=None)
        except OSError as error:
            where = f"{config.status.host}:{config.status.port}"
            raise Fault("port_in_use", f"cannot listen on {where}: {error.strerror}; see status.port") from error
        self._address = f"http://{config.status.host}:{self._server.effective_port}"
        threading.Thread(target=self._server.run, name="waitress", daemon=True).start()

    def step(self) -> bool:
        return False

    def detail(self) -> str:
        return f"page at {self._address}"

    def close(self) -> None:
        self._server.close()
