"""The first configuration of a box: answers, written into the commented example, and a key with its certificate."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import tomlkit
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tomlkit.container import Container
from tomlkit.items import Table

from appliance.domain.reason import ReasonCode
from appliance.errors import Fault
from engines.whole_file import write_whole

Answers = Mapping[str, Any]
"""Settings of the configuration that differ from its defaults, nested as in the file."""

VALID = timedelta(days=2 * 365)
"""The time for which a self-signed certificate is valid."""


def read_answers(path: Path) -> Answers:
    """Read a file of answers: TOML with the keys of the configuration.

    Raises
    ------
    Fault
        ``configuration`` if it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise Fault(ReasonCode.CONFIGURATION, f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Fault(ReasonCode.CONFIGURATION, f"{path} is not TOML: {error}") from error


def configuration_text(answers: Answers) -> str:
    """Return the example file with the answers in it; the comments of the example stay."""
    example = files("provisioning").joinpath("osteon.example.toml").read_text(encoding="utf-8")
    document = tomlkit.parse(example)
    _put(document, answers)
    return tomlkit.dumps(document)


def _put(table: Container | Table, answers: Answers) -> None:
    for key, value in answers.items():
        if isinstance(value, Mapping) and isinstance(inner := table.get(key), Table):
            _put(inner, value)
        else:
            table[key] = value


def write_private(text: str | bytes, path: Path) -> None:
    """Write a file that its owner and the group of its folder may read, whole or not at all.

    ``/etc/osteon`` belongs to root and the group of the roles.

    Raises
    ------
    Fault
        ``configuration`` if the folder cannot be written.
    """
    content = text.encode() if isinstance(text, str) else text
    try:
        write_whole(path, content, private_to=path.parent.stat().st_gid)
    except OSError as error:
        raise Fault(ReasonCode.CONFIGURATION, f"{path} cannot be written: {error.strerror}") from error


def keep_former(path: Path) -> Path | None:
    """Copy the configuration at `path` beside it, with the time in its name; None if there is none."""
    if not path.exists():
        return None
    kept = path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    shutil.copy2(path, kept)
    shutil.chown(kept, group=path.stat().st_gid)
    return kept


def write_certificate(host: str, folder: Path, how: Literal["self-signed", "request"]) -> tuple[Path, Path]:
    """Write ``osteon.key`` and, for `host`, a certificate of its own or a request that an authority signs.

    The key is on the curve P-256, which the profiles of DICOM PS3.15 B.12 take.

    Returns
    -------
    The key, and ``osteon.crt`` (self-signed) or ``osteon.csr`` (request).

    Raises
    ------
    Fault
        ``configuration`` if there is a key already, or the folder cannot be written.
    """
    key_file = folder / "osteon.key"
    if key_file.exists():
        raise Fault(ReasonCode.CONFIGURATION, f"{key_file} exists: remove it first if you want another key")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    names = x509.SubjectAlternativeName([_general_name(host)])
    made: x509.Certificate | x509.CertificateSigningRequest
    if how == "request":
        made = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(subject)
            .add_extension(names, critical=False)
            .sign(key, hashes.SHA256())
        )
    else:
        today = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - timedelta(days=1))
            .not_valid_after(today + VALID)
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
    pem, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    write_private(key.private_bytes(serialization.Encoding.PEM, pem, plain), key_file)
    file = folder / ("osteon.csr" if how == "request" else "osteon.crt")
    write_private(made.public_bytes(serialization.Encoding.PEM), file)
    return key_file, file


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
