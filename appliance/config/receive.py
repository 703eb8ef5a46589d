"""``[receive]``: the listeners for DICOM and HL7."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic import Field, model_validator

from .section import LARGEST_DISK_MB, AeTitle, Host, Network, Port, Section


class Peer(Section):
    """A sender that may associate: an address or a network, and its AE title."""

    address: Network = Field(description="Address, or network as 192.0.2.0/24")
    ae_title: AeTitle | None = Field(None, description="Calling AE title; default: any")


LOOPBACK = (Peer(address=IPv4Network("127.0.0.0/8")), Peer(address=IPv6Network("::1/128")))
"""This machine alone: IPv4 and IPv6 loopback (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3)."""


class Tls(Section):
    """The listener for secure connections (DICOM PS3.15 B.12)."""

    port: Port = Field(2762, description="TCP port; 2762 is registered for it (DICOM PS3.8 section 9.1.1)")
    certificate: Path = Field(description="Our certificate and its chain, PEM")
    key: Path = Field(description="Our private key, PEM, without a pass phrase")
    client_ca: Path | None = Field(
        None, description="Certificate authorities, PEM: a peer must show a certificate signed by one of them"
    )


class Hl7Listener(Section):
    """The listener for radiologist reports: ORU^R01 over MLLP."""

    host: Host = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface")
    port: Port = Field(2575, description="TCP port; 2575 is registered for HL7 (IANA)")
    peers: tuple[Network, ...] = Field(
        tuple(peer.address for peer in LOOPBACK),
        description="Addresses or networks that may send; default: this machine alone",
    )
    tls: bool = Field(False, description="MLLP over TLS, with certificate, key and client_ca of [receive.tls]")
    connections: int = Field(10, ge=1, le=100, description="Connections at a time")
    connections_per_peer: int = Field(5, ge=1, le=100, description="Connections at a time from one address")
    idle_s: float = Field(600.0, gt=0, le=86400, description="A connection without a message for this long is closed")
    message_s: float = Field(30.0, gt=0, le=600, description="Time from the first byte of a message to its last")
    message_mb: int = Field(10, ge=1, le=100, description="Largest message that is accepted")
    decision_code: str = Field(
        "", max_length=64, description="OBX-3.1 of the radiologist's decision about our answer; empty: there is none"
    )
    accepted: tuple[str, ...] = Field(("ACCEPT",), description="OBX-5 of a decision that accepts our answer")
    rejected: tuple[str, ...] = Field(("REJECT",), description="OBX-5 of a decision that rejects our answer")


class Receive(Section):
    """The DICOM listener, and the one for HL7."""

    host: Host = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface")
    port: Port = Field(11112, description="TCP port of the Storage SCP")
    ae_title: AeTitle = Field("OSTEON", description="Our AE title; associations that call another are rejected")
    also_called: tuple[AeTitle, ...] = Field((), description="Further AE titles that the listener accepts")
    peers: tuple[Peer, ...] = Field(LOOPBACK, description="Senders that may associate; default: this machine alone")
    plain: bool = Field(True, description="Listen without TLS as well")
    tls: Tls | None = Field(None, description="Listen with TLS")
    companions: bool = Field(
        True, description="Accept objects that routers send along (SR, PR, CT, ...) without keeping them"
    )
    associations: int = Field(20, ge=1, le=200, description="Associations at a time")
    associations_per_peer: int = Field(10, ge=1, le=200, description="Associations at a time from one address")
    request_s: float = Field(10.0, gt=0, le=120, description="From connecting to the complete association request")
    idle_s: float = Field(120.0, gt=0, le=3600, description="An association that is silent for longer is aborted")
    instance_mb: int = Field(1000, ge=1, le=4000, description="Largest instance that is accepted")
    reserve_mb: int = Field(
        500, ge=0, le=LARGEST_DISK_MB, description="Answer 0xA700 when less than this is free on the spool's disk"
    )
    hl7: Hl7Listener | None = Field(None, description="Accept radiologist reports over HL7")

    @model_validator(mode="after")
    def _require_a_listener(self) -> Receive:
        if not self.plain and self.tls is None:
            raise ValueError("nothing listens: set plain = true, or add [receive.tls]")
        return self

    @model_validator(mode="after")
    def _require_a_certificate_for_hl7(self) -> Receive:
        if self.hl7 and self.hl7.tls and self.tls is None:
            raise ValueError("hl7.tls needs the certificate of [receive.tls]: add that table, or set hl7.tls = false")
        return self
