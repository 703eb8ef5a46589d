"""The end of a role with its supervisor, however that ends: a pipe from the supervisor closes, and the role stops.

The supervisor alone holds the end of the pipe for writing, so that the kernel closes it at SIGKILL, too. Unlike the
signal of PR_SET_PDEATHSIG it does not depend on the thread that started the role, and it leaves no gap at the start.
"""

from __future__ import annotations

import os
import signal
import threading
import time

STOP_S = 15.0
"""Time for a role to stop before it is killed."""


def stop_when_closed(descriptor: int) -> None:
    """Stop this process as SIGTERM does once the pipe `descriptor` is closed at its other end."""
    threading.Thread(target=_wait_for_end, args=(descriptor,), name="parent", daemon=True).start()


def _wait_for_end(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_S)
    os.kill(os.getpid(), signal.SIGKILL)
