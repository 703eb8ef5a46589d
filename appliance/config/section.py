"""The base of every table, and the types of values that several tables share: one check for each kind of value.

A value that passes here never ends a role later. Every number has both bounds and is finite, no text holds a control
character, and names of hosts, addresses of servers, tokens and names of destinations have the form that their users
(sockets, httpx, headers, the gate) take.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

MEGABYTE = 1_000_000
"""Bytes of one unit of the settings that end in ``_mb``."""

LARGEST_DISK_MB = 1_000_000_000
"""A petabyte: more than the disk of any box."""


class Section(BaseModel):
    """A table of the file: frozen; an unknown key is an error, and so is a number that is not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_switched_numbers(cls, given: Any) -> Any:
        for key, field in cls.model_fields.items():
            is_number = {int, float} & {field.annotation, *get_args(field.annotation)}
            if is_number and isinstance(given, dict) and isinstance(given.get(key), bool):
                raise ValueError(f"{key} must be a number, not true or false")  # pydantic takes true for 1
        return given

    @field_validator("*", mode="after")
    @classmethod
    def _refuse_control_characters(cls, value: Any) -> Any:
        parts = value if isinstance(value, tuple) else (value,)
        texts = "".join(str(part) for part in parts if isinstance(part, (str, Path)))
        if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in texts):
            raise ValueError("holds a line break or another control character: leave it out")
        return value


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


_LABEL = re.compile(r"\w([\w-]*\w)?", re.ASCII)
"""One part of a host's name; underscores occur in names of containers and of Windows machines."""


def _check_host(host: str) -> str:
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return host
    try:  # the codec of sockets: it refuses empty parts and those of more than 63 characters
        labels = host.encode("idna").decode().removesuffix(".").split(".")
        b".".join(label.encode() for label in labels).decode("idna")
    except UnicodeError:
        labels = []
    is_name = all(map(_LABEL.fullmatch, labels)) and len(host) <= 253  # RFC 1035 section 2.3.4
    if not labels or not is_name or labels[-1].isdecimal():
        raise ValueError(f"{host!r} is no host: write an address such as 192.0.2.10, or a name such as pacs.example")
    return host


def check_web_address(given: str) -> str:
    """Return `given` unchanged if it is the address of a web server; raise ValueError if not.

    The error does not quote it: a token may be a part of an address, and errors get into logs and reports.
    """
    try:
        parts = urlsplit(given)
        if parts.port == 0:  # a port that is none raises ValueError here
            raise ValueError(given)
        _check_host(parts.hostname or "")
    except ValueError:
        parts = urlsplit("")  # no scheme, which is refused next
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", given):
        raise ValueError("is no web address: write http:// or https://, a host, and a path without spaces")
    if parts.username is not None or parts.fragment:
        raise ValueError("name no user, password or #fragment in the address: a log may show it")
    return given


def _refuse_relative_path(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"{str(path)!r} depends on the folder in which a role is started: begin it with /")
    return path


AE_TITLE = r"^[\x20-\x5b\x5d-\x7e]+$"
"""Characters of an AE title."""

AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=AE_TITLE), AfterValidator(_refuse_blank_title)]
"""DICOM PS3.5 table 6.2-1, AE: up to 16 characters of the default repertoire without backslash, not spaces alone."""

NAME = r"^\w([\w .+-]*[\w.+])?$"
"""Characters of the name of a destination: no ``*``, which stands for all of them, and no other sign of a pattern."""

Name = Annotated[str, Field(min_length=1, max_length=40, pattern=NAME)]
"""A name that the site chooses; with role, host and process id it names the holder of a lease in 128 characters."""

Host = Annotated[str, AfterValidator(_check_host)]
"""An address or a name that a socket takes."""

WebAddress = Annotated[str, Field(max_length=2000), AfterValidator(check_web_address)]
"""The address of a server: http or https, host, port and path."""

VISIBLE = r"^[\x21-\x7e]+$"
"""Characters of a header's value; those of a bearer token are a part of them (RFC 6750 section 2.1)."""

Token = Annotated[str, Field(min_length=1, max_length=8000, pattern=VISIBLE)]
"""A token in the header of a request."""

USER_NAME = r"^[\x20-\x39\x3b-\x7e]+$"
"""Characters of a name for basic authentication: no colon, which ends it (RFC 7617 section 2)."""

UserName = Annotated[str, Field(min_length=1, max_length=200, pattern=USER_NAME)]
"""The name that a server knows us by."""

URI = r"^[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+$"
"""A scheme and what it names, without spaces (RFC 3986 section 3)."""

Uri = Annotated[str, Field(max_length=500, pattern=URI)]
"""A URI that names a thing and is not opened."""

Pattern = Annotated[str, Field(min_length=1, max_length=64)]
"""A shell pattern; 64 characters are the longest value that it is compared with (PS3.5 table 6.2-1, LO)."""

PackName = Annotated[str, Field(min_length=1, max_length=1000)]
"""Name of a pack, or path of its folder."""

AbsolutePath = Annotated[Path, AfterValidator(_refuse_relative_path)]
"""A path that means the same to every role and command."""

Port = Annotated[int, Field(ge=0, le=65535)]
"""TCP port; 0 lets the system choose one."""

Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_read_network)]
"""One address or a whole network."""
