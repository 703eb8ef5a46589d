"""`osteon pack`: list, verify and install packs."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.config import Configuration
from appliance.domain.audit import AuditAction, Intervention
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.preprocessing.recipe import DIGEST
from appliance.service.pipeline_assembly import SHIPPED, known_sites, pack_folder
from appliance.storage.audit import record
from appliance.storage.database import open_database
from engines.goldens import check_goldens
from engines.onnxruntime_runner import OnnxRuntimeRunner
from engines.pack import MANIFEST, Pack, PackError, read_pack
from engines.signature import check_signature

LARGEST_BYTES = 500_000_000
"""Largest size of an archive's files, unpacked: 25 times that of the packs that ship."""


def list_packs(config: Configuration) -> Iterator[tuple[str, Pack | PackError]]:
    """Yield the name of every pack that the configuration can name, with the pack or the defect that rules it out."""
    for place in (SHIPPED, config.packs_dir):
        for folder in sorted(place.glob(f"*/{MANIFEST}")):
            try:
                yield folder.parent.name, read_pack(folder.parent, DIGEST)
            except PackError as error:
                yield folder.parent.name, error


def find_pack(name: str, config: Configuration) -> Path:
    """Return the folder of a pack that is named by its name or its path.

    Raises
    ------
    Rejected
        ``no_such_pack`` if the folder holds no pack.
    """
    folder = pack_folder(name, config)
    if (folder / MANIFEST).exists():
        return folder
    raise Rejected(ReasonCode.NO_SUCH_PACK, f"there is no pack {name!r}: see `osteon pack list`, or name a folder")


def model_card(name: str, config: Configuration) -> str:
    """Return the model card of a pack, Markdown; raises as `find_pack`, and ``pack`` if there is no readable card."""
    card = find_pack(name, config) / "README.md"
    try:
        return card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Rejected(ReasonCode.PACK, f"{card} cannot be read: the pack has no model card") from error


def verify(folder: Path, config: Configuration) -> tuple[Pack, dict[str, float], Path | None]:
    """Check digests, preprocessing, golden outputs, and the signature where the configuration names trusted keys.

    Returns
    -------
    The pack, the worst relative difference of each network from its goldens, and the key of the signature or None.

    Raises
    ------
    Rejected
        ``pack`` with the defect.
    """
    try:
        trusted = config.analyse.trusted_keys
        signer = check_signature(folder, trusted) if trusted else None
        pack = known_sites(read_pack(folder, DIGEST))
        return pack, check_goldens(pack, OnnxRuntimeRunner), signer
    except PackError as error:
        raise Rejected(ReasonCode.PACK, str(error)) from error


def install(source: Path, config: Configuration, by: Intervention) -> Path:
    """Check the pack in `source`, a folder or a zip archive, and move it beside the others; running roles keep theirs.

    The audit log has an entry for it.

    Returns
    -------
    The folder of the installed pack; that of the earlier installation if the same pack is installed already.

    Raises
    ------
    Rejected
        ``pack`` if it fails a check, or another pack of that name and version is installed.
    """
    config.packs_dir.mkdir(parents=True, exist_ok=True)
    with _working_folder(config.packs_dir) as work:
        _copy(source, work)
        pack, _, _ = verify(work, config)
        target = config.packs_dir / f"{pack.name}-{pack.version}"
        if target.exists():
            installed = _digest(target)
            if installed == pack.digest:
                return target
            if installed:
                reason = f"{target.name} is installed with other content: give the new pack another version"
                raise Rejected(ReasonCode.PACK, reason)
            shutil.rmtree(target)  # damaged: no role runs it, since a role refuses a damaged pack at its start
        for file in work.iterdir():
            _sync(file)
        engine = open_database(config.database)
        with engine.begin() as c:  # first: no pack is without its entry
            record(c, by, AuditAction.INSTALL_PACK, f"pack {target.name}", f"digest {pack.digest}")
        engine.dispose()
        work.rename(target)
        _sync(config.packs_dir)
        return target


@contextmanager
def _working_folder(packs_dir: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix=".installing-", dir=packs_dir))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _copy(source: Path, work: Path) -> None:
    """Copy the files of a pack, which lie flat in its folder, to `work`; folders of an archive are dissolved."""
    if source.is_dir():
        for file in source.iterdir():
            if file.is_file():
                shutil.copyfile(file, work / file.name)
        return
    try:
        with zipfile.ZipFile(source) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if sum(m.file_size for m in members) > LARGEST_BYTES:
                raise Rejected(ReasonCode.PACK, f"{source} unpacks to more than {LARGEST_BYTES} bytes: it is no pack")
            for member in members:
                (work / Path(member.filename).name).write_bytes(archive.read(member))
    except (OSError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise Rejected(ReasonCode.PACK, f"{source} is neither a folder nor a readable zip archive") from error


def _digest(folder: Path) -> str | None:
    """Return the digest of the pack in `folder`; None if the pack is damaged."""
    try:
        return read_pack(folder, DIGEST).digest
    except PackError:
        return None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
