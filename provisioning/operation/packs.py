"""`osteon pack`: which packs there are, whether they can be trusted, and how one is put beside the others."""

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
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.preprocessing.recipe import DIGEST
from appliance.service.pipeline_assembly import SHIPPED, known_sites, pack_folder
from engines.goldens import check_goldens
from engines.onnxruntime_runner import OnnxRuntimeRunner
from engines.pack import MANIFEST, Pack, PackError, read_pack
from engines.signature import check_signature

LARGEST_BYTES = 500_000_000
"""Of an archive, unpacked: 25 times the packs that ship."""


def packs(config: Configuration) -> Iterator[tuple[str, Pack | PackError]]:
    """Every pack that the configuration can name, with what is wrong with those that cannot be used."""
    for place in (SHIPPED, config.packs_dir):
        for folder in sorted(place.glob(f"*/{MANIFEST}")):
            try:
                yield folder.parent.name, read_pack(folder.parent, DIGEST)
            except PackError as error:
                yield folder.parent.name, error


def folder_of(name: str, config: Configuration) -> Path:
    """The folder of a pack by its name or path.

    Raises
    ------
    Rejected
        ``no_such_pack``.
    """
    folder = pack_folder(name, config)
    if (folder / MANIFEST).exists():
        return folder
    raise Rejected(ReasonCode.NO_SUCH_PACK, f"there is no pack {name!r}: see `osteon pack list`, or name a folder")


def verify(folder: Path, config: Configuration) -> tuple[Pack, dict[str, float], Path | None]:
    """Digests, preprocessing, golden outputs, and the signature where the configuration asks for one.

    Returns
    -------
    The pack, the worst relative difference of each network from its goldens, and the key that signed it.

    Raises
    ------
    Rejected
        ``pack`` with what is wrong.
    """
    try:
        trusted = config.analyse.trusted_keys
        signer = check_signature(folder, trusted) if trusted else None
        pack = known_sites(read_pack(folder, DIGEST))
        return pack, check_goldens(pack, OnnxRuntimeRunner), signer
    except PackError as error:
        raise Rejected(ReasonCode.PACK, str(error)) from error


def install(source: Path, config: Configuration) -> Path:
    """Put the pack in `source`, a folder or a zip archive, beside the others; nothing that runs is touched.

    Raises
    ------
    Rejected
        ``pack`` if it fails any check, or another pack of that name and version is there.
    """
    config.packs_dir.mkdir(parents=True, exist_ok=True)
    with _beside(config.packs_dir) as work:
        _copy(source, work)
        pack, _, _ = verify(work, config)
        target = config.packs_dir / f"{pack.name}-{pack.version}"
        if target.exists():
            there = _digest(target)
            if there == pack.digest:
                return target
            if there:
                reason = f"{target.name} is installed with other content: give the new one another version"
                raise Rejected(ReasonCode.PACK, reason)
            shutil.rmtree(target)  # damaged: no role uses it, or it would not have started
        for file in work.iterdir():
            _sync(file)
        work.rename(target)
        _sync(config.packs_dir)
        return target


@contextmanager
def _beside(packs_dir: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix=".installing-", dir=packs_dir))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _copy(source: Path, work: Path) -> None:
    """The files of a pack lie flat in its folder; whatever else an archive holds is left there."""
    if source.is_dir():
        for file in source.iterdir():
            if file.is_file():
                shutil.copyfile(file, work / file.name)
        return
    try:
        with zipfile.ZipFile(source) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if sum(m.file_size for m in members) > LARGEST_BYTES:
                raise Rejected(ReasonCode.PACK, f"{source} unpacks to more than {LARGEST_BYTES} bytes: this is no pack")
            for member in members:
                (work / Path(member.filename).name).write_bytes(archive.read(member))
    except (OSError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise Rejected(ReasonCode.PACK, f"{source} is neither a folder nor a zip archive that can be read") from error


def _digest(folder: Path) -> str | None:
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
