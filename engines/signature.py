"""Ed25519 signatures of a pack's manifest, which names the digests of all other files (RFC 8032).

Keys are PEM files: ``openssl genpkey -algorithm ed25519 -out key.pem`` and ``openssl pkey -in key.pem -pubout``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from .pack import MANIFEST, PackError

SIGNATURE = "pack.toml.sig"
"""File name of the signature, 64 bytes."""


def sign(folder: Path, private_key: Path) -> Path:
    """Sign the manifest in `folder`; return the file of the signature.

    Raises
    ------
    PackError
        If the key is not an Ed25519 private key without a password, or the folder holds no pack.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise PackError(f"{folder} holds no {MANIFEST}: name the folder of a pack")
    try:
        key = load_pem_private_key(private_key.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PackError(f"{private_key} cannot be read as a private key: {type(error).__name__}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise PackError(f"{private_key} is not an Ed25519 key: make one with openssl genpkey -algorithm ed25519")
    file = folder / SIGNATURE
    file.write_bytes(key.sign(manifest.read_bytes()))
    return file


def check_signature(folder: Path, public_keys: Iterable[Path]) -> Path:
    """Return the first of `public_keys` that verifies the signature in `folder`.

    Raises
    ------
    PackError
        If no key verifies it, or a key cannot be read.
    """
    try:
        signature, content = (folder / SIGNATURE).read_bytes(), (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise PackError(f"{folder} is not signed, and analyse.trusted_keys allows only signed packs") from error
    for path in public_keys:
        try:
            _public_key(path).verify(signature, content)
        except InvalidSignature:
            continue
        return path
    raise PackError(f"{folder} is not signed by a key of analyse.trusted_keys: sign it, or add the signer's public key")


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise PackError(f"{path} cannot be read as a public key: {type(error).__name__}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise PackError(f"{path} is not an Ed25519 public key")
    return key
