"""Orthanc, as the archive."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.peers import running, wait_for_port
from tests.support.ports import free_ports
from tests.support.waiting import PATIENCE_S, wait_until


@dataclass(frozen=True, slots=True)
class Orthanc:
    """A running Orthanc with the AE title PACS."""

    port: int
    http_port: int

    def get(self, path: str) -> Any:
        """Read from the REST interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def post(self, path: str, body: object) -> Any:
        """Send a POST to the REST interface; return the response."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def delete(self, path: str) -> None:
        """Delete a resource of the REST interface."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", method="DELETE")
        urllib.request.urlopen(request, timeout=PATIENCE_S).close()

    def is_up(self) -> bool:
        """Return whether the REST interface responds."""
        try:
            self.get("/system")
        except OSError:
            return False
        return True

    def tags(self) -> list[dict[str, Any]]:
        """Return the tags of every instance, by keyword."""
        return [self.get(f"/instances/{uid}/simplified-tags") for uid in self.get("/instances")]

    @property
    def instances(self) -> dict[str, str]:
        """Orthanc's ids by SOP Instance UID."""
        return {i["MainDicomTags"]["SOPInstanceUID"]: i["ID"] for i in self.get("/instances?expand")}


@contextmanager
def orthanc(path: str, folder: Path, osteon_port: int = 1, **others: Any) -> Iterator[Orthanc]:
    """Run Orthanc on loopback with an empty database; it sends commitment results to OSTEON at `osteon_port`.

    `others` are Orthanc settings that override the ones below.
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
        wait_until(made.is_up, "Orthanc's REST interface")
        yield made
