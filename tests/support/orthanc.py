"""Orthanc as the archive."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.peers import Peer, running, wait_for_port
from tests.support.site import free_ports

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True, slots=True)
class Orthanc:
    """A running Orthanc, whose AE title is PACS."""

    port: int
    http_port: int

    def get(self, path: str) -> Any:
        """What its REST interface answers, which it is asked for until it is up."""
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
                    return json.load(answer)
            except ConnectionError:
                assert time.monotonic() < deadline, "Orthanc does not answer"
                time.sleep(0.05)

    def tags(self) -> list[dict[str, Any]]:
        """Every tag of every instance, by keyword."""
        return [self.get(f"/instances/{uid}/simplified-tags") for uid in self.get("/instances")]


@contextmanager
def orthanc(peer: Peer, folder: Path, *plugins: Path) -> Iterator[Orthanc]:
    """Orthanc with an empty database in `folder`."""
    port, http_port = free_ports(2)
    config = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [str(p) for p in plugins],
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "DicomAet": "PACS",
        "DicomPort": port,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "DefaultEncoding": "Utf8",
        "DicomWeb": {"Enable": bool(plugins), "Root": "/dicom-web/", "EnableWado": True},
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(config))
    with running(peer("Orthanc"), str(file)) as process:
        wait_for_port(port, process)
        yield Orthanc(port, http_port)
