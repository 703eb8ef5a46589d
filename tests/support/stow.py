"""A DICOMweb server with scripted answers, which Orthanc cannot be made to give.

It parses requests by the standard library's reader of e-mail.
"""

from __future__ import annotations

import io
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import policy
from email.parser import BytesParser
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from appliance.config import DicomWebDestination
from appliance.dicom.web.archive import WebArchive
from appliance.ports import Artefact, Outcome
from tests.support.certificates import Authority, Pair


def profile(port: int, **others: Any) -> DicomWebDestination:
    """Return the destination at `port` of this machine, with further settings."""
    values = {"kind": "dicomweb", "name": "pacs", "base_url": f"http://127.0.0.1:{port}/dicom-web", "timeout_s": 60}
    return DicomWebDestination.model_validate(values | others)


def stored(archive: WebArchive, artefacts: Sequence[Artefact]) -> dict[int, Outcome]:
    """Deliver `artefacts`; return their outcomes by number."""
    return dict(archive.deliver(dict(enumerate(artefacts)), lambda _: True))


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    objects: list[Dataset] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to one request."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Script = Callable[[Request], Answer]
"""Returns the answer to each request."""


def response(stored: Mapping[str, int], failed: Mapping[str, int | None], status: int = 200) -> Answer:
    """Return a Store Instances Response: UIDs with their warning (0: none) or failure reason (None: absent)."""

    def items(codes: Mapping[str, Any], tag: str) -> list[Any]:
        return [
            {"00081155": {"vr": "UI", "Value": [uid]}} | ({tag: {"vr": "US", "Value": [code]}} if code else {})
            for uid, code in codes.items()
        ]

    body = {
        "00081199": {"vr": "SQ", "Value": items(stored, "00081196")},
        "00081198": {"vr": "SQ", "Value": items(failed, "00081197")},
    }
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/dicom+json"})


def everything_stored(request: Request) -> Answer:
    """Return that each object of a request was stored."""
    return response({str(ds.SOPInstanceUID): 0 for ds in request.objects}, {})


@contextmanager
def stow_server(script: Script, tls: tuple[Pair, Authority] | None = None) -> Iterator[tuple[int, list[Request]]]:
    """Run a server that answers by `script`; yield its port and the requests that it gets.

    With `tls`, its certificate and an authority, it asks for a certificate that the authority has signed.
    """
    received: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            objects = _objects(self.headers["Content-Type"], content) if content else []
            request = Request(self.command, self.path, dict(self.headers), objects)
            received.append(request)
            answer = script(request)
            self.send_response_only(answer.status)
            for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls[0].certificate, tls[0].key)
            context.load_verify_locations(tls[1].certificate)
            context.verify_mode = ssl.CERT_REQUIRED
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            server.handle_error = lambda *_: None  # type: ignore[method-assign]  # handshakes that fail
        thread = threading.Thread(target=partial(server.serve_forever, 0.02), daemon=True)
        thread.start()
        try:
            yield server.server_port, received
        finally:
            server.shutdown()
            thread.join()


def _objects(content_type: str, content: bytes) -> list[Dataset]:
    message = BytesParser(policy=policy.HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + content)
    assert message.get_content_type() == "multipart/related" and message.get_param("type") == "application/dicom"
    parts = list(message.iter_parts())
    assert all(part.get_content_type() == "application/dicom" for part in parts)
    contents = [part.get_payload(decode=True) for part in parts]
    return [pydicom.dcmread(io.BytesIO(content)) for content in contents if isinstance(content, bytes)]
