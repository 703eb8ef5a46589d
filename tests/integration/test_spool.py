"""The spool on a real file system: nothing half, nothing outside, nothing damaged."""

import errno
import os
from pathlib import Path

import pytest

from appliance.errors import Transient
from appliance.storage.spool import FileSpool, SpoolDamaged


def files(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.is_file()]


def test_same_bytes_are_kept_once(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path)
    digest = spool.put(b"bytes")
    assert spool.put(b"bytes") == digest
    assert spool.get(digest) == b"bytes"
    assert [p.name for p in files(tmp_path)] == [digest]


@pytest.mark.proves("SAF-13")
def test_file_is_written_synced_renamed_and_its_folder_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system calls that a power cut needs, in their order (fsync(2), rename(2))."""
    calls: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename
    spool = FileSpool(tmp_path)
    spool.put(b"other")

    def fsync(descriptor: int) -> None:
        calls.append("fsync folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "fsync file")
        real_fsync(descriptor)

    def rename(source: str, target: Path) -> None:
        assert Path(source).read_bytes() == b"bytes"
        calls.append("rename")
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    spool.put(b"bytes")
    assert calls == ["fsync file", "rename", "fsync folder"]


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk_full"), (errno.EIO, "spool_failed")])
def test_failing_disk_keeps_nothing_and_raises_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    spool = FileSpool(tmp_path)

    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Transient, match=code):
        spool.put(b"bytes")
    assert files(tmp_path) == []


def test_damaged_or_missing_file_is_detected(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path)
    digest = spool.put(b"bytes")
    files(tmp_path)[0].write_bytes(b"bites")
    with pytest.raises(SpoolDamaged, match="spool_damaged"):
        spool.get(digest)
    assert spool.put(b"bytes") == digest  # sent again, it is whole again
    assert spool.get(digest) == b"bytes"
    with pytest.raises(SpoolDamaged, match="spool_missing"):
        spool.get("0" * 64)


def test_existing_file_is_synced_before_it_counts_as_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that died between rename and fsync must not make the next one's Success a lie."""
    spool = FileSpool(tmp_path)
    spool.put(b"bytes")

    def failing(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(Transient, match="spool_failed"):
        spool.put(b"bytes")


def test_sweep_removes_the_file_of_a_killed_writer(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path)
    old, new = tmp_path / "incoming" / "old", tmp_path / "incoming" / "new"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    spool.sweep()
    assert files(tmp_path) == [new]
