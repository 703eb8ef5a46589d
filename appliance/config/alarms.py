"""``[alarms]``: messages to people and programs when a condition breaks, lasts and is met again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from .section import Host, Port, Section, WebAddress

ADDRESS = r"^[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+$"
"""Characters of a mail address: one @, and no sign that would begin another address or header (RFC 5322)."""

MailAddress = Annotated[str, Field(max_length=254, pattern=ADDRESS)]
"""The address of a mailbox (RFC 5321 section 4.5.3.1)."""

Least = Literal["warning", "error"]
"""The least grave condition that a channel tells."""

PORTS = {"starttls": 587, "tls": 465, "none": 25}
"""Registered ports of submission and relay (RFC 6409, RFC 8314, RFC 5321)."""


class EmailAlarm(Section):
    """Mail through the hospital's server (SMTP)."""

    host: Host = Field(description="Mail server")
    port: Port | None = Field(None, description="TCP port; default: 587, 465 or 25 by security")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="TLS after STARTTLS, TLS from the first byte, or none"
    )
    ca: Path | None = Field(None, description="Certificate authorities of the server, PEM; default: the system's")
    credentials: Path | None = Field(
        None, description="File with the user on its first line and the password on its second; default: no sign-in"
    )
    sender: MailAddress = Field(description="Address of the sender")
    recipients: tuple[MailAddress, ...] = Field(min_length=1, description="Addresses of the recipients")
    severity: Least = Field("warning", description="The least grave condition that is told")
    timeout_s: float = Field(30.0, gt=0, le=600, description="Longest wait for the server")

    @property
    def tcp_port(self) -> int:
        """TCP port of the server."""
        return self.port or PORTS[self.security]


class WebhookAlarm(Section):
    """A program that takes alarms as JSON by POST."""

    url: WebAddress = Field(repr=False, description="Address; a secret part of it is not shown")
    bearer: Path | None = Field(None, description="File with the token of the Authorization header")
    ca: Path | None = Field(None, description="Certificate authorities of the server, PEM; default: the system's")
    severity: Least = Field("warning", description="The least grave condition that is told")
    timeout_s: float = Field(30.0, gt=0, le=600, description="Longest wait for the server")


class Alarms(Section):
    """When conditions are told, and where."""

    quiet_s: float = Field(
        120.0, ge=0, le=86400, description="A condition is told once it is broken, or met again, for this long"
    )
    repeat_h: float = Field(24.0, ge=0, le=8760, description="Hours after which a broken one is told again; 0: never")
    email: EmailAlarm | None = None
    webhook: WebhookAlarm | None = None
