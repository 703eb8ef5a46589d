"""Ed25519 over a pack's manifest, which names the digests of everything else (RFC 8032).

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


def sign(folder: Path, private_key: Path) -> Path:
    """Sign the manifest in `folder`; the file that was written, 64 bytes.

    Raises
    ------
    PackError
        If the key is no Ed25519 private key without a password, or the folder holds no pack.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise PackError(f"{folder} holds no {MANIFEST}: name the folder of a pack")
    try:
        key = load_pem_private_key(private_key.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PackError(f"{private_key} is no private key that can be read: {type(error).__name__}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise PackError(f"{private_key} is no Ed25519 key: openssl genpkey -algorithm ed25519")
    written = folder / SIGNATURE
    written.write_bytes(key.sign(manifest.read_bytes()))
    return written


def check_signature(folder: Path, public_keys: Iterable[Path]) -> Path:
    """The first of `public_keys` whose holder signed the manifest in `folder`.

    Raises
    ------
    PackError
        If nobody of them did, or a key cannot be read.
    """
    try:
        signature, content = (folder / SIGNATURE).read_bytes(), (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise PackError(f"{folder} is not signed, and this appliance takes only packs that are") from error
    for path in public_keys:
        try:
            _public_key(path).verify(signature, content)
        except InvalidSignature:
            continue
        return path
    raise PackError(f"{folder} is not signed by a key that this appliance trusts: see analyse.trusted_keys")


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise PackError(f"{path} is no public key that can be read: {type(error).__name__}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise PackError(f"{path} is no Ed25519 public key")
    return key
