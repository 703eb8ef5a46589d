"""PACS for tests: DCMTK's, Orthanc, and one that answers as it is told, which no real one does."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom import AE, evt

from appliance.config import DicomDestination
from appliance.dicom.pacs import Pacs
from appliance.ports import Artefact, Outcome
from tests.support.peers import running, wait_for_port
from tests.support.site import free_ports

START_S = 30.0


def profile(port: int, **others: Any) -> DicomDestination:
    """The destination at `port` of this machine, in the words of a configuration."""
    values = {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "called_ae_title": "PACS", "timeout_s": 10}
    return DicomDestination.model_validate(values | {"port": port} | others)


def delivered(
    pacs: Pacs, artefacts: Sequence[Artefact], may_go: Callable[[int], bool] = lambda _: True
) -> Mapping[int, Outcome]:
    """Outcome by the number of the artefact, in the order in which they became known."""
    return dict(pacs.deliver(dict(enumerate(artefacts)), may_go))


@contextmanager
def storescp(path: str, port: int, folder: Path, *options: str) -> Iterator[None]:
    """DCMTK's Storage SCP, which writes the bytes that it gets."""
    with running(path, "+B", *options, "-aet", "PACS", "-od", str(folder), str(port)) as process:
        wait_for_port(port, process)
        yield


def kept(folder: Path) -> dict[str, Path]:
    """Files that a `storescp` has written, by SOP Instance UID."""
    return {str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID): p for p in folder.iterdir()}


@contextmanager
def scripted_scp(port: int, statuses: list[int], sop_classes: list[str]) -> Iterator[list[str]]:
    """An SCP that answers with `statuses` in turn, which DCMTK's cannot; what it was sent."""
    calls: list[str] = []

    def handle(event: evt.Event) -> int:
        calls.append(event.request.AffectedSOPInstanceUID)
        return statuses[len(calls) - 1]

    ae = AE("PACS")
    for sop_class in sop_classes:
        ae.add_supported_context(sop_class)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, handle)])
    try:
        yield calls
    finally:
        server.shutdown()


@dataclass(frozen=True, slots=True)
class Orthanc:
    """A running Orthanc, whose AE title is PACS."""

    port: int
    http_port: int

    def get(self, path: str) -> Any:
        """What its REST interface answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, body: object) -> Any:
        """Likewise, to a POST."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def delete(self, path: str) -> None:
        """Remove something."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", method="DELETE")
        urllib.request.urlopen(request, timeout=10).close()

    @property
    def instances(self) -> dict[str, str]:
        """Its own ids by SOP Instance UID."""
        return {i["MainDicomTags"]["SOPInstanceUID"]: i["ID"] for i in self.get("/instances?expand")}


@contextmanager
def orthanc(path: str, folder: Path, osteon_port: int = 1, **others: Any) -> Iterator[Orthanc]:
    """Orthanc on loopback; it knows OSTEON at `osteon_port`, for its reports of storage commitment."""
    port, http_port = free_ports(2)
    folder.mkdir(exist_ok=True)
    config = {
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "Plugins": [],
        "HttpServerEnabled": True, "HttpPort": http_port, "RemoteAccessAllowed": False,
        "DicomServerEnabled": True, "DicomAet": "PACS", "DicomPort": port, "DicomCheckCalledAet": False,
        "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True,
        "OverwriteInstances": True, "DicomScpTimeout": 10, "DicomScuTimeout": 5, "StableAge": 1,
        "DicomModalities": {"osteon": {
            "AET": "OSTEON", "Host": "127.0.0.1", "Port": osteon_port, "AllowEcho": True, "AllowFind": True,
            "AllowStore": True, "AllowStorageCommitment": True,
        }},
    } | others  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(config))
    with running(path, str(folder / "orthanc.json")) as process:
        made = Orthanc(port, http_port)
        wait_for_port(port, process)
        deadline = time.monotonic() + START_S
        while True:
            try:
                made.get("/system")
                break
            except OSError:
                assert time.monotonic() < deadline, "Orthanc does not answer"
                time.sleep(0.05)
        yield made
