"""TLS towards a destination."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from .section import Host, Section


class ClientTls(Section):
    """TLS towards a peer (DICOM PS3.15 B.12)."""

    ca: Path | None = Field(
        None, description="Certificate authorities of the peer's certificate, PEM; default: the system's"
    )
    certificate: Path | None = Field(None, description="Our certificate and its chain, PEM, if the peer asks for one")
    key: Path | None = Field(None, description="Our private key, PEM, without a pass phrase")
    server_name: Host | None = Field(None, description="The name in the peer's certificate; default: host")

    @model_validator(mode="after")
    def _require_certificate_and_key_together(self) -> ClientTls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key come together: set both, or neither")
        return self
