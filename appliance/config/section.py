"""The base of every table, and the types of values that several tables share."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MEGABYTE = 1_000_000
"""Bytes of one unit of the settings that end in ``_mb``."""


class Section(BaseModel):
    """A table of the file: frozen; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _refuse_blank_title(title: str) -> str:
    if not title.strip():
        raise ValueError("the AE title is blank: write 1 to 16 characters, such as OSTEON")
    return title


def _read_network(given: Any) -> IPv4Network | IPv6Network:
    try:
        return ip_network(given)
    except ValueError:
        pass
    try:
        around = ip_network(given, strict=False)
    except ValueError:
        raise ValueError(f"{given!r} is no address or network: write 192.0.2.10 or 192.0.2.0/24") from None
    address = str(given).partition("/")[0]
    raise ValueError(f"{given} is an address within a network: write {around} for all of it, or {address} alone")


AE_TITLE = r"^[\x20-\x5b\x5d-\x7e]+$"
"""Characters of an AE title."""

AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=AE_TITLE), AfterValidator(_refuse_blank_title)]
"""DICOM PS3.5 table 6.2-1, AE: up to 16 characters of the default repertoire without backslash, not spaces alone."""

WEB_ADDRESS = r"^https?://"
"""The beginning of an address of a server."""

Port = Annotated[int, Field(ge=0, le=65535)]
"""TCP port; 0 lets the system choose one."""

Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_read_network)]
"""One address or a whole network."""
