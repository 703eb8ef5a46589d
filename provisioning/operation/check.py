"""What keeps this box from listening, or everybody from sending, found before a role is started."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

from appliance.config import Configuration, DicomDestination
from appliance.errors import Fault
from appliance.network import server_context


def problems(config: Configuration) -> list[str]:
    """Each with its key; what only this machine can say: which files there are, which addresses are its own."""
    receive, found = config.receive, []
    hosts = {"receive.host": receive.host, "status.host": config.status.host}
    hosts |= {"receive.hl7.host": receive.hl7.host} if receive.hl7 else {}
    for key, host in hosts.items():
        if why := _why_not(host):
            found.append(f"{key}: cannot listen on {host!r}: {why}")
    if receive.tls:
        try:
            server_context(receive.tls)
        except Fault as fault:
            found.append(fault.reason)
    if not receive.peers:
        found.append("receive.peers: nobody may associate; list who sends")
    elif not _is_loopback(receive.host) and all(peer.address.is_loopback for peer in receive.peers):
        found.append(f"receive.peers: only this machine may associate, although we listen on {receive.host}")
    if receive.hl7 and not _is_loopback(receive.hl7.host) and all(p.is_loopback for p in receive.hl7.peers):
        found.append(f"receive.hl7.peers: nobody else may send, although we listen on {receive.hl7.host}")
    return found


def doubts(config: Configuration) -> list[str]:
    """Why reports of storage commitment may not come; an archive that sends them from elsewhere is the exception."""
    receive, found = config.receive, []
    for destination in config.destinations:
        if not isinstance(destination, DicomDestination) or destination.proof != "commitment":
            continue
        ours = destination.calling_ae_title
        if ours not in (receive.ae_title, *receive.also_called):
            found.append(
                f"{destination.name}: reports of commitment to {ours} are rejected: add it to receive.also_called"
            )
        if not _may_associate(config, destination.host):
            found.append(f"{destination.name}: {destination.host} may not associate to report: add it to receive.peers")
    return found


def _may_associate(config: Configuration, host: str) -> bool:
    """Whether one of the addresses of `host` is a peer's; of a name that means nothing here nobody can tell."""
    try:
        addresses = [ip_address(found[4][0]) for found in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)]
    except (OSError, ValueError):
        return True
    return any(address in peer.address for address in addresses for peer in config.receive.peers)


def _why_not(host: str) -> str:
    """Why no socket can be bound to `host`; empty if one can."""
    try:
        family, kind, protocol, _, address = _resolved(host)
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _is_loopback(host: str) -> bool:
    try:
        address = _resolved(host)[4][0]
    except OSError:
        return True  # said already
    return str(address) == "::1" or str(address).startswith("127.")


def _resolved(host: str) -> Any:
    """Family, kind, protocol, canonical name and address of its first socket."""
    return socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
