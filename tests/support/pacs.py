"""PACS for tests: the storescp of DCMTK, and one that returns scripted statuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom import AE, evt

from appliance.config import DicomDestination
from appliance.dicom.scu.pacs import Pacs
from appliance.ports import Artefact, Outcome
from tests.support.peers import running, wait_for_port


def profile(port: int, **others: Any) -> DicomDestination:
    """Return the destination at `port` of this machine, with further settings."""
    values = {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "called_ae_title": "PACS", "timeout_s": 60}
    return DicomDestination.model_validate(values | {"port": port} | others)


def delivered(
    pacs: Pacs, artefacts: Sequence[Artefact], may_go: Callable[[int], bool] = lambda _: True
) -> Mapping[int, Outcome]:
    """Deliver `artefacts`; return their outcomes by number, in the order in which they became known."""
    return dict(pacs.deliver(dict(enumerate(artefacts)), may_go))


@contextmanager
def storescp(path: str, port: int, folder: Path, *options: str) -> Iterator[None]:
    """Run DCMTK's Storage SCP, which writes the received bytes unchanged."""
    with running(path, "+B", *options, "-aet", "PACS", "-od", str(folder), str(port)) as process:
        wait_for_port(port, process)
        yield


def kept(folder: Path) -> dict[str, Path]:
    """Return the files that `storescp` has written, by SOP Instance UID."""
    return {str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID): p for p in folder.iterdir()}


@contextmanager
def scripted_scp(port: int, statuses: list[int], sop_classes: Sequence[str]) -> Iterator[list[str]]:
    """Run an SCP that returns `statuses` in turn, which DCMTK cannot; yield the SOP Instance UIDs it received."""
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
