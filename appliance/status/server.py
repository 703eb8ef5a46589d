"""The web server of the page: waitress, with limits for connections that say nothing.

Without them a hundred silent connections keep the page, readiness and metrics from all others for two minutes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server
from waitress.utilities import Error
from werkzeug.wrappers import Request

from appliance.config import Status

from .guard import Guard
from .upload import MOST_UPLOADS, UPLOAD_S, NotAnOperator, PageParser, TooManyUploads

THREADS = 4
"""Requests that are answered at a time."""

REQUEST_S = 10.0
"""Time for a whole request, from the connection or the response before; Prometheus and browsers connect anew."""

RESPONSE_S = 60.0
"""Time for a peer to read a response."""

MOST_PER_ADDRESS = 16
"""Connections of one address that have not asked for anything yet; a browser opens six, and a proxy has one address for
all. One more ends the oldest of them."""

MOST_OF_ADDRESS = 64
"""Connections of one address, busy ones too, unless it is a listed proxy; one more ends the oldest that waits."""

MOST = 200
"""Connections of all addresses that wait for their request; one more ends the oldest of them."""

POLL_S = 1.0
"""Interval at which the times of connections are looked at."""

LONGEST_REQUEST_BYTES = 16384
"""Bytes of a request, and of its body if that is no file; ours have a few hundred."""


class PageChannel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection to the page.

    Attributes
    ----------
    waits_since
        Time at which it began to wait for a request, on the monotonic clock.
    has_asked
        Whether it has sent a whole request before.
    """

    def __init__(self, server: BaseWSGIServer, connection: Any, address: Any, adjustments: Any, map: Any) -> None:  # noqa: A002  waitress's name
        self.waits_since = time.monotonic()
        self.has_asked = False
        self.parser_class = partial(PageParser, admit=self._admit)
        super().__init__(server, connection, address, adjustments, map=map)
        waiting = [one for one in server.active_channels.values() if one.is_waiting()]
        own = [one for one in waiting if one.addr[0] == address[0]]
        _end_oldest((one for one in own if not one.has_asked), MOST_PER_ADDRESS)
        if not server.guard.is_proxy(address[0]):
            busy = sum(one.addr[0] == address[0] and one.is_busy() for one in server.active_channels.values())
            _end_oldest(own, max(0, MOST_OF_ADDRESS - busy))
        _end_oldest(waiting, MOST)

    def is_waiting(self) -> bool:
        """Return whether no whole request has come."""
        return not (self.is_busy() or self.will_close)

    def is_busy(self) -> bool:
        """Return whether a request is being answered, or its response is not read yet."""
        return bool(self.requests or self.total_outbufs_len)

    def is_uploading(self) -> bool:
        """Return whether a file is being received."""
        return bool(self.request and self.request.uploader)

    def _admit(self, headers: dict[str, str]) -> str | Error:
        asked = Request({"REMOTE_ADDR": self.addr[0]} | {f"HTTP_{name}": value for name, value in headers.items()})
        person = self.server.guard.uploader(asked)
        if not person:
            return NotAnOperator("operators send files: sign in, and load the page again")
        channels: list[PageChannel] = list(self.server.active_channels.values())
        uploaders = [one.request.uploader for one in channels if one.is_uploading()]
        if person in uploaders or len(uploaders) >= MOST_UPLOADS:
            return TooManyUploads("other files are being sent: try again in a minute")
        return person

    def readable(self) -> bool:
        """Return whether to wait for bytes; the server asks every `POLL_S`, and so a connection past its time ends."""
        waited_s = time.monotonic() - self.waits_since
        longest_s = RESPONSE_S if self.total_outbufs_len else UPLOAD_S if self.is_uploading() else REQUEST_S
        if not self.requests and waited_s > longest_s:
            self.will_close = True
        return bool(super().readable())

    def service(self) -> None:
        """Answer a request; the time for the next one begins."""
        super().service()
        self.has_asked = True
        self.waits_since = time.monotonic()


def _end_oldest(waiting: Iterable[PageChannel], most: int) -> None:
    for channel in sorted(waiting, key=lambda one: one.waits_since, reverse=True)[most:]:
        channel.will_close = True


class PageServer:
    """Serves the application from its construction to `close`, on a thread of its own.

    The `Guard` in its extensions knows proxies and operators; without one there are none.

    Raises
    ------
    OSError, ValueError
        The port is in use, or the host cannot be resolved.
    """

    def __init__(self, app: Flask, host: str, port: int) -> None:
        self._channels: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._channels,
            host=host,
            port=port,
            threads=THREADS,
            ident=None,
            clear_untrusted_proxy_headers=False,  # appliance.status.guard believes those of listed proxies
            connection_limit=2 * MOST,
            max_request_header_size=LONGEST_REQUEST_BYTES,
            max_request_body_size=LONGEST_REQUEST_BYTES,
        )
        ports = [one for one in self._channels.values() if isinstance(one, BaseWSGIServer)]
        for one in ports:
            one.channel_class = PageChannel
            one.guard = app.extensions.get("guard") or Guard(Status(), None)
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a warning each request beyond THREADS
        self.port = int(ports[0].effective_port)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="waitress", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            wasyncore.loop(timeout=POLL_S, use_poll=True, map=self._channels, count=1)
        self._server.close()
        wasyncore.close_all(self._channels)

    def close(self) -> None:
        """Stop serving."""
        self._stop.set()
        self._thread.join(2 * POLL_S)
