"""`osteon check`: faults of a configuration that only this machine can show, found before a role is started.

`provisioning.operation.doctor` also asks the peers, and looks at the state of this box.

Examples are a host that is no address of this machine, a certificate that cannot be read, or peers that shut every
sender out.
"""

from __future__ import annotations

import shutil
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from appliance.config import MEGABYTE, Configuration, DicomDestination, DicomWebDestination
from appliance.dicom.web.credentials import credentials
from appliance.errors import Away, Fault
from appliance.network import server_context
from appliance.storage.database import unopened_database, without_password


def find_problems(config: Configuration) -> list[str]:
    """Return the faults that keep this box from listening or its peers from sending, each with its key."""
    receive = config.receive
    found = []
    hosts = {"receive.host": receive.host, "status.host": config.status.host}
    hosts |= {"receive.hl7.host": receive.hl7.host} if receive.hl7 else {}
    for key, host in hosts.items():
        if defect := _binding_error(host):
            found.append(f"{key}: cannot listen on {host!r}: {defect}")
    if receive.tls:
        try:
            server_context(receive.tls)
        except Fault as fault:
            found.append(fault.reason)
    if not receive.peers:
        found.append("receive.peers: no peer may associate; list the addresses that send")
    elif not _is_loopback(receive.host) and all(peer.address.is_loopback for peer in receive.peers):
        found.append(
            f"receive.peers: only this machine may associate, although Osteon listens on {receive.host}; "
            "list the addresses that send"
        )
    if receive.hl7 and not _is_loopback(receive.hl7.host) and all(p.is_loopback for p in receive.hl7.peers):
        found.append(
            f"receive.hl7.peers: only this machine may send, although Osteon listens on {receive.hl7.host}; "
            "list the addresses that send"
        )
    for destination in config.destinations:
        if isinstance(destination, DicomWebDestination):
            try:
                credentials(destination)
            except Away as error:
                found.append(error.reason)
    try:
        unopened_database(config.database)
    except Fault as fault:
        found.append(fault.reason)
    largest_mb = _disk_mb(config.state_dir)
    limits = {
        "receive.reserve_mb": receive.reserve_mb,
        "retention.prune_below_mb": config.retention.prune_below_mb,
    }
    found += [
        f"{key}: the whole disk of state_dir has {largest_mb} MB: with {limit} MB to stay free, there is never room"
        for key, limit in limits.items()
        if largest_mb and limit >= largest_mb
    ]
    return found


def shown_values(config: Configuration) -> dict[str, Any]:
    """Return every setting for display, with asterisks instead of tokens and passwords."""
    values = config.model_dump(mode="json")
    for shown in values["destinations"]:
        if shown.get("bearer"):
            shown["bearer"] = "********"
    if config.alarms.webhook:
        parts = urlsplit(config.alarms.webhook.url)
        values["alarms"]["webhook"]["url"] = f"{parts.scheme}://{parts.netloc}/********"
    if config.database_url:
        values["database_url"] = without_password(config.database_url)
    return values


def _disk_mb(folder: Path) -> int:
    """Return the size of the disk on which `folder` is, or will be made; 0 if it is not known."""
    place = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    try:
        return shutil.disk_usage(place).total // MEGABYTE
    except OSError:
        return 0


def find_doubts(config: Configuration) -> list[str]:
    """Return the reasons why listed senders or commitment results may not arrive, or passwords be read.

    They are no faults: a program of this box may pass on the connections of senders, and an archive may send its
    commitment results from another host than the configured one.
    """
    receive = config.receive
    listeners = {"receive": (receive.host, [peer.address for peer in receive.peers])}
    listeners |= {"receive.hl7": (receive.hl7.host, list(receive.hl7.peers))} if receive.hl7 else {}
    found = [
        f"{key}.host is {host}, so no listed sender on another machine reaches it: set 0.0.0.0"
        for key, (host, senders) in listeners.items()
        if _is_loopback(host) and not _binding_error(host) and not all(s.is_loopback for s in senders)
    ]
    if config.status.accounts and config.status.proxy is None and not _is_loopback(config.status.host):
        found.append(
            "status.accounts: passwords cross the network readable: let a reverse proxy with TLS connect to 127.0.0.1, "
            "and name it in status.proxy"
        )
    for destination in config.destinations:
        if not isinstance(destination, DicomDestination) or destination.proof != "commitment":
            continue
        ours = destination.calling_ae_title
        if ours not in (receive.ae_title, *receive.also_called):
            found.append(
                f"{destination.name}: commitment results to {ours} are rejected: add {ours} to receive.also_called"
            )
        if not _may_associate(config, destination.host):
            found.append(
                f"{destination.name}: {destination.host} may not associate, so its commitment results are rejected: "
                "add it to receive.peers"
            )
    return found


def _may_associate(config: Configuration, host: str) -> bool:
    """Return whether an address of `host` is among the peers; True where this machine cannot resolve the name."""
    try:
        addresses = [ip_address(found[4][0]) for found in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)]
    except (OSError, ValueError):
        return True
    return any(address in peer.address for address in addresses for peer in config.receive.peers)


def _binding_error(host: str) -> str:
    """Return the system's message if no socket can be bound to `host`, else an empty string."""
    try:
        family, kind, protocol, _, address = _resolve(host)
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _is_loopback(host: str) -> bool:
    try:
        address = _resolve(host)[4][0]
    except OSError:
        return True  # _binding_error reports it
    return str(address) == "::1" or str(address).startswith("127.")


def _resolve(host: str) -> Any:
    """Return family, kind, protocol, canonical name and address of the first socket for `host`."""
    return socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
