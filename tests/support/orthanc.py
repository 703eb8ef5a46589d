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

from tests.support.peers import running, wait_for_port
from tests.support.site import free_ports

START_S = 30.0


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

    def tags(self) -> list[dict[str, Any]]:
        """Every tag of every instance, by keyword."""
        return [self.get(f"/instances/{uid}/simplified-tags") for uid in self.get("/instances")]

    @property
    def instances(self) -> dict[str, str]:
        """Its own ids by SOP Instance UID."""
        return {i["MainDicomTags"]["SOPInstanceUID"]: i["ID"] for i in self.get("/instances?expand")}


@contextmanager
def orthanc(path: str, folder: Path, osteon_port: int = 1, **others: Any) -> Iterator[Orthanc]:
    """Orthanc on loopback with an empty database; it knows OSTEON at `osteon_port`, for reports of storage commitment.

    `others` are settings of its own, which go before these.
    """
    port, http_port = free_ports(2)
    folder.mkdir(exist_ok=True)
    config = {
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "Plugins": [],
        "HttpServerEnabled": True, "HttpPort": http_port, "RemoteAccessAllowed": False,
        "DicomServerEnabled": True, "DicomAet": "PACS", "DicomPort": port, "DicomCheckCalledAet": False,
        "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True,
        "OverwriteInstances": True, "DefaultEncoding": "Utf8",
        "DicomScpTimeout": 10, "DicomScuTimeout": 5, "StableAge": 1,
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
