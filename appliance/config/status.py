"""``[status]`` and ``[retention]``: the page for hospital IT, and the time that the spool keeps files."""

from __future__ import annotations

from pydantic import Field

from .section import LARGEST_DISK_MB, Host, Port, Section


class Status(Section):
    """The status page for hospital IT."""

    host: Host = Field("127.0.0.1", description="Address of the page; it shows no patient's data")
    port: Port = Field(8080, description="TCP port of the page")


class Retention(Section):
    """How long the spool keeps delivered work; undelivered work is always kept."""

    days: float = Field(30.0, gt=0, le=36500, description="Days after the last delivery of a radiograph")
    prune_below_mb: int = Field(
        5000, ge=0, le=LARGEST_DISK_MB, description="Earlier, oldest first, when less than this is free"
    )
