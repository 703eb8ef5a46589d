"""``[status]`` and ``[retention]``: the page for hospital IT, and the time that the spool keeps files."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

from pydantic import Field, model_validator

from appliance.domain.account import ACCOUNT_NAME

from .section import LARGEST_DISK_MB, Host, Network, Port, Section

HEADER_NAME = r"^[A-Za-z][A-Za-z0-9-]*$"
"""Name of a header; one with an underscore would look like another one to the application (RFC 3875 section 4.1.18)."""

HeaderName = Annotated[str, Field(min_length=1, max_length=64, pattern=HEADER_NAME)]
"""Name of a header of a request."""

Person = Annotated[str, Field(pattern=f"^{ACCOUNT_NAME}$")]
"""Name of a person as a reverse proxy gives it."""


class Proxy(Section):
    """A reverse proxy before the page."""

    addresses: tuple[Network, ...] = Field(
        min_length=1, description="Addresses from which the proxy connects; nothing is believed from others"
    )
    header: HeaderName | None = Field(None, description="Header with the name of the person whom the proxy signed in")
    operators: tuple[Person, ...] = Field((), description="Names that may change something; all others only read")
    readers: tuple[Person, ...] = Field((), description="Names that read radiographs of a validation, and nothing else")

    @model_validator(mode="after")
    def _require_header(self) -> Proxy:
        if (self.operators or self.readers) and self.header is None:
            raise ValueError("operators and readers are named by a header: write header, such as X-Remote-User")
        if both := set(self.operators) & set(self.readers):
            names = ", ".join(sorted(both))
            raise ValueError(f"{names} cannot be operator and reader: a reader must not see the answers")
        return self


class Status(Section):
    """The status page for hospital IT."""

    host: Host = Field("127.0.0.1", description="Address of the page; it shows no patient's data")
    port: Port = Field(8080, description="TCP port of the page")
    accounts: bool = Field(False, description="Readers sign in with an account (osteon account)")
    open: bool = Field(False, description="Everybody who reaches the page may read it")
    proxy: Proxy | None = Field(None, description="Reverse proxy before the page")

    @model_validator(mode="after")
    def _require_rules_of_reading(self) -> Status:
        has_rules = self.accounts or self.open or (self.proxy is not None and self.proxy.header is not None)
        if not (has_rules or is_loopback(self.host)):
            raise ValueError(
                f"{self.host} is reached from other machines: say who may read the page: accounts = true, a "
                "[status.proxy] with header, or open = true for everybody"
            )
        return self

    @property
    def is_private(self) -> bool:
        """Whether programs of this machine alone read the page: on loopback, with nothing that lets others in."""
        return is_loopback(self.host) and not (self.accounts or self.open or self.proxy)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by its address or as *localhost*."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Retention(Section):
    """How long the spool keeps delivered work; undelivered work is always kept."""

    days: float = Field(30.0, gt=0, le=36500, description="Days after the last delivery of a radiograph")
    prune_below_mb: int = Field(
        5000, ge=0, le=LARGEST_DISK_MB, description="Earlier, oldest first, when less than this is free"
    )
