"""Servers on plain sockets that break rules: of time, of length, and of reading."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.pdus import ACCEPT, IMPLICIT, item, pdu

DRIP_S = 0.05
"""Time between two bytes of a server that drips, well below each time-out of the tests."""

Speak = Callable[[socket.socket, threading.Event], None]
"""Speaks on one connection until it ends, or until the event is set at the end of the test."""


@contextmanager
def hostile_server(speak: Speak) -> Iterator[int]:
    """Run a server whose every connection runs `speak`; yield its port."""
    stop = threading.Event()
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(60)
                speak(connection, stop)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
                    threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            stop.set()
            server.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(60)


def drip(connection: socket.socket, stop: threading.Event, content: bytes) -> None:
    """Send a byte at a time, the last one for ever."""
    for at in range(1_000_000):
        connection.sendall(content[min(at, len(content) - 1) :][:1])
        if stop.wait(DRIP_S):
            return


def pour(connection: socket.socket, stop: threading.Event, content: bytes) -> None:
    """Send `content` for ever, as fast as the peer reads."""
    while not stop.is_set():
        connection.sendall(content)


def read_http_request(connection: socket.socket) -> bytes:
    """Return the body of a request that has a Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-len"))
    return body + _read(connection, length - len(body))


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    """Return type and body of the next PDU."""
    kind, length = struct.unpack(">BxI", _read(connection, 6))
    return int(kind), _read(connection, length)


def associate_ac(request: bytes) -> bytes:
    """Return an A-ASSOCIATE-AC that accepts every presentation context of the body of a request (PS3.8 9.3.3)."""
    items = b""
    at = 68
    while at < len(request):
        kind, length = struct.unpack(">BxH", request[at : at + 4])
        body = request[at + 4 : at + 4 + length]
        if kind == 0x10:
            items += item(kind, body)
        if kind == 0x20:
            syntax = body[body.rindex(b"1.2.840.10008.1.2") :] or IMPLICIT.encode()
            items += item(0x21, body[:1] + b"\0\0\0" + item(0x40, syntax))
        at += 4 + length
    return pdu(ACCEPT, request[:68] + items + item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3")))


def _read(connection: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        piece = connection.recv(min(length - len(received), 65536))
        if not piece:
            raise ConnectionError("the peer hung up")
        received += piece
    return received
