"""Upper layer PDUs as bytes, valid and invalid, written from the tables of DICOM PS3.8 without any library."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence
from typing import Self

from tests.support.waiting import PATIENCE_S

DX = "1.2.840.10008.5.1.4.1.1.1.1"
SR = "1.2.840.10008.5.1.4.1.1.88.33"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"

Context = tuple[int, str, Sequence[str]]
ACCEPT, REJECT, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 2, 3, 4, 5, 6, 7


def pdu(kind: int, body: bytes) -> bytes:
    """Return a PDU (PS3.8 9.3.1)."""
    return struct.pack(">BxI", kind, len(body)) + body


def item(kind: int, body: bytes) -> bytes:
    """Return an item of a PDU (PS3.8 9.3.2.1 and following)."""
    return struct.pack(">BxH", kind, len(body)) + body


def associate_rq(
    *contexts: Context,
    called: str = "OSTEON",
    calling: str = "ROOM1",
    application_context: str = APPLICATION_CONTEXT,
    version: int = 1,
    maximum_length: int | None = 16384,
    user_information: bytes = b"",
) -> bytes:
    """Return an A-ASSOCIATE-RQ PDU (PS3.8 9.3.2).

    Without `contexts` it proposes Verification (1), DX (3) and SR (5) in Implicit VR Little Endian.
    """
    proposed = contexts or ((1, VERIFICATION, [IMPLICIT]), (3, DX, [IMPLICIT]), (5, SR, [IMPLICIT]))
    titles = (title.ljust(16).encode("latin-1") for title in (called, calling))
    body = struct.pack(">Hxx16s16s32x", version, *titles)
    body += item(0x10, application_context.encode())
    for number, abstract, syntaxes in proposed:
        names = item(0x30, abstract.encode()) + b"".join(item(0x40, s.encode()) for s in syntaxes)
        body += item(0x20, struct.pack(">Bxxx", number) + names)
    length = b"" if maximum_length is None else item(0x51, struct.pack(">I", maximum_length))
    body += item(0x50, length + item(0x52, b"1.2.3.4") + user_information)
    return pdu(1, body)


def p_data(*values: tuple[int, int, bytes]) -> bytes:
    """Return a P-DATA-TF PDU of values: presentation context, message control header, fragment (PS3.8 9.3.5)."""
    return pdu(P_DATA, b"".join(struct.pack(">IBB", len(v) + 2, number, control) + v for number, control, v in values))


def command(**elements: int | str) -> bytes:
    """Return a command set in Implicit VR Little Endian; numbers are US, texts UI (PS3.7 6.3.1)."""
    tags = {
        "AffectedSOPClassUID": 0x0002,
        "CommandField": 0x0100,
        "MessageID": 0x0110,
        "Priority": 0x0700,
        "CommandDataSetType": 0x0800,
        "AffectedSOPInstanceUID": 0x1000,
    }
    encoded = b""
    for name in sorted(elements, key=lambda n: tags[n]):
        value = elements[name]
        content = struct.pack("<H", value) if isinstance(value, int) else value.encode()
        content += b"\0" * (len(content) % 2)
        encoded += struct.pack("<HHI", 0, tags[name], len(content)) + content
    return struct.pack("<HHII", 0, 0, 4, len(encoded)) + encoded


def c_store_rq(uid: str, storage_class: str = DX, message_id: int = 1) -> bytes:
    """Return the command set of a C-STORE request (PS3.7 9.3.1.1)."""
    return command(
        AffectedSOPClassUID=storage_class,
        CommandField=0x0001,
        MessageID=message_id,
        Priority=0,
        CommandDataSetType=0,
        AffectedSOPInstanceUID=uid,
    )


def c_echo_rq(message_id: int = 1) -> bytes:
    """Return the command set of a C-ECHO request (PS3.7 9.3.5.1)."""
    return command(
        AffectedSOPClassUID=VERIFICATION, CommandField=0x0030, MessageID=message_id, CommandDataSetType=0x0101
    )


def status_of(fragment: bytes) -> int:
    """Return Status (0000,0900) of a response's command set."""
    at = fragment.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
    (status,) = struct.unpack("<H", fragment[at : at + 2])
    return int(status)


class Wire:
    """A requestor that writes and reads PDUs on a plain socket."""

    def __init__(self, port: int, patience_s: float = PATIENCE_S) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), patience_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        """Send all of `content`; ignore a connection that the acceptor has closed."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(content)

    def read_pdu(self) -> tuple[int, bytes]:
        """Return type and body of the next PDU; (0, b"") if the acceptor closed the connection."""
        head = self._read(6)
        if len(head) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxI", head)
        return int(kind), self._read(length)

    def associate(self, **arguments: str) -> None:
        """Request an association, and check that it is accepted."""
        self.send(associate_rq(**arguments))  # type: ignore[arg-type]  # titles only
        kind, _ = self.read_pdu()
        assert kind == ACCEPT, kind

    def store(self, uid: str, content: bytes, storage_class: str = DX) -> int:
        """Send a C-STORE request in a context of `associate`, and return the status of its response."""
        context = {DX: 3, SR: 5}[storage_class]
        self.send(p_data((context, 3, c_store_rq(uid, storage_class))))
        self.send(p_data((context, 2, content)))
        kind, body = self.read_pdu()
        assert kind == P_DATA, kind
        return status_of(body)

    def _read(self, length: int) -> bytes:
        content = b""
        with contextlib.suppress(ConnectionError):
            while len(content) < length and (part := self.socket.recv(length - len(content))):
                content += part
        return content
