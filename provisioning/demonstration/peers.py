"""A small hospital on loopback for the demonstration: a PACS, a RIS with an MLLP listener, a FHIR server.

The three keep everything that they receive and answer as the standards ask. They are no test of Osteon: the tests use
programs of other makers.
"""

from __future__ import annotations

import json
import socketserver
import threading
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from flask import Flask, Response, request
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage
from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.sop_class import Verification
from waitress.server import create_server

from appliance.clock import now

START = b"\x0b"
"""First byte of an MLLP frame (HL7 Transport Specification, MLLP release 1)."""

END = b"\x1c\r"
"""Last bytes of an MLLP frame."""


@dataclass
class Inbox:
    """Everything that one peer received.

    Attributes
    ----------
    folder
        Holds one file per object.
    arrivals
        File name -> time of its last arrival, UTC.
    count
        Number of arrivals, repeated ones included.
    """

    folder: Path
    arrivals: dict[str, datetime] = field(default_factory=dict)
    count: int = 0

    def keep(self, name: str, content: bytes) -> None:
        """Write one object to the file `name`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(content)
        self.arrivals[name] = now()
        self.count += 1


class DemonstrationHospital:
    """The three peers, which listen on free loopback ports from construction until `close`."""

    def __init__(self, folder: Path) -> None:
        self.pacs, self.ris, self.fhir = (Inbox(folder / name) for name in ("pacs", "ris", "fhir"))
        ae = AE(ae_title="PACS")
        ae.supported_contexts = StoragePresentationContexts
        ae.add_supported_context(Verification)
        ae.add_supported_context(SecondaryCaptureImageStorage, JPEGBaseline8Bit)  # beside the uncompressed syntaxes
        self._pacs = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self._ris = _MllpServer(("127.0.0.1", 0), _MllpHandler)
        self._ris.inbox = self.ris
        threading.Thread(target=self._ris.serve_forever, daemon=True).start()
        self._fhir = create_server(self._fhir_app(), host="127.0.0.1", port=0, ident=None)
        threading.Thread(target=self._fhir.run, daemon=True).start()
        self.pacs_port = int(self._pacs.server_address[1])
        self.ris_port = int(self._ris.server_address[1])
        self.fhir_url = f"http://127.0.0.1:{self._fhir.effective_port}/fhir"

    def close(self) -> None:
        """Stop listening."""
        self._pacs.shutdown()
        self._ris.shutdown()
        self._ris.server_close()
        self._fhir.close()

    def _store(self, event: evt.Event) -> int:
        self.pacs.keep(f"{event.request.AffectedSOPInstanceUID}.dcm", event.encoded_dataset())
        return 0x0000

    def _fhir_app(self) -> Flask:
        app = Flask("fhir")

        @app.post("/fhir")
        @app.post("/fhir/")
        def transaction() -> Response:
            bundle = json.loads(request.data)
            identifier = bundle.get("identifier", {}).get("value") or str(uuid.uuid4())
            self.fhir.keep(f"{identifier.rsplit(':', 1)[-1]}.json", json.dumps(bundle, indent=1).encode())
            entries = [
                {"response": {"status": "201 Created", "location": f"{e['resource']['resourceType']}/{uuid.uuid4()}"}}
                for e in bundle["entry"]
            ]
            outcome = {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
            return Response(json.dumps(outcome), mimetype="application/fhir+json")

        return app


class _MllpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    inbox: Inbox


class _MllpHandler(socketserver.StreamRequestHandler):
    """Cuts the stream into frames, keeps each message and acknowledges it with AA."""

    def handle(self) -> None:
        buffer = b""
        while chunk := self.request.recv(65536):
            buffer += chunk
            while END in buffer:
                frame, buffer = buffer.split(END, 1)
                self._acknowledge(frame.lstrip(START))

    def _acknowledge(self, message: bytes) -> None:
        server = self.server
        assert isinstance(server, _MllpServer)
        header = message.split(b"\r", 1)[0].split(b"|")
        control_id = header[9].decode()  # MSH-10
        server.inbox.keep(f"{control_id}.hl7", message)
        stamp = now().strftime("%Y%m%d%H%M%S")
        acknowledgement = (
            f"MSH|^~\\&|RIS|DEMO|OSTEON||{stamp}||ACK^R01^ACK|{uuid.uuid4()}|P|2.5.1\rMSA|AA|{control_id}\r"
        )
        self.request.sendall(START + acknowledgement.encode() + END)
