"""A lost, damaged, emptied or newer database: sentences instead of tracebacks, and no radiograph is forgotten."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from sqlalchemy import Engine, insert, select, update

from appliance.clock import now, read_clocks
from appliance.dicom.part10 import part10_bytes, with_file_meta
from appliance.errors import Fault
from appliance.service.recovery import Recovery
from appliance.storage.database import database_file, open_database, readers
from appliance.storage.instances import keep_instance
from appliance.storage.retention import prune_unclaimed
from appliance.storage.spool import FOLDERS, FileSpool
from appliance.storage.tables import clock_steps, instances
from provisioning.phantoms import instance_from_phantom, phantom
from tests.integration.test_supervision import service
from tests.support.peers import Peer
from tests.support.send import storescu
from tests.support.site import Site
from tests.support.waiting import PATIENCE_S, wait_until


def radiograph(uid: str, note: str = "") -> bytes:
    """Return a file as the receiver writes one."""
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    ds.SOPInstanceUID = uid
    ds.StudyInstanceUID = "1.2.3"
    ds.ImageComments = note
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(ds.SOPClassUID)
    ds.file_meta.MediaStorageSOPInstanceUID = UID(ds.SOPInstanceUID)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = UID("1.2.3.4")
    ds.preamble = b"\x00" * 128
    return part10_bytes(ds)


def own_object() -> bytes:
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.59"
    ds.SOPInstanceUID = "2.25.1"
    return part10_bytes(with_file_meta(ds))


def kept(spool: FileSpool, content: bytes, ago_s: float) -> str:
    """Keep a file as if it had been kept some time ago."""
    digest = spool.put(content)
    path, _, _ = spool.file(digest)
    os.utime(path, (0, time.time() - ago_s))
    return digest


def recover(engine: Engine, spool: FileSpool) -> None:
    recovery = Recovery(engine, spool)
    while recovery.step():
        pass


def digests(engine: Engine) -> list[str]:
    """Return the digests of the instances in the order in which they were taken in."""
    with readers(engine).connect() as c:
        return list(c.execute(select(instances.c.digest).order_by(instances.c.id)).scalars())


def test_radiographs_without_a_row_are_taken_in_again_oldest_first(engine: Engine, spool: FileSpool) -> None:
    second = kept(spool, radiograph("1.2"), 500)
    first = kept(spool, radiograph("1.1"), 1000)
    for other in (b"MSH|^~\\&|", b"{}", b"", b"\x00" * 128 + b"DICM" + b"\xff" * 50, own_object()):
        kept(spool, other, 1000)
    kept(spool, radiograph("1.3"), 10)  # its writer may be about to write the row
    recover(engine, spool)
    assert digests(engine) == [first, second]
    with readers(engine).connect() as c:
        row = c.execute(select(instances).where(instances.c.digest == first)).one()
    assert (row.sop_instance_uid, row.calling_ae_title) == ("1.1", "")
    assert (row.sop_class_uid, row.transfer_syntax_uid) == ("1.2.840.10008.5.1.4.1.1.1.1", ExplicitVRLittleEndian)
    whole = len(radiograph("1.1"))
    assert whole - 400 < row.size_bytes < whole - 132
    recover(engine, spool)
    assert digests(engine) == [first, second]


def test_last_version_of_an_instance_is_taken_in_and_no_correction_undone(engine: Engine, spool: FileSpool) -> None:
    kept(spool, radiograph("1.1", "first"), 3000)
    corrected = kept(spool, radiograph("1.1", "corrected"), 2000)
    recover(engine, spool)
    assert digests(engine) == [corrected]
    kept(spool, radiograph("1.1", "older than the row"), 1000)
    recover(engine, spool)
    assert digests(engine) == [corrected]


def set_back(engine: Engine, by_s: float, ago_s: float) -> None:
    """Record a step back of the clock."""
    clocks = read_clocks()
    with engine.begin() as c:
        row = {"step_s": -by_s, "at": clocks.at - timedelta(seconds=ago_s), "boot_id": "b", "uptime_s": 1.0}
        c.execute(insert(clock_steps).values(**row))


def kept_with_row(engine: Engine, spool: FileSpool, content: bytes, ago_s: float) -> str:
    """Keep a file with its row as if both had been written some time ago."""
    digest = kept(spool, content, ago_s)
    found = Recovery(engine, spool)._read(digest)
    assert found and keep_instance(engine, found.received)
    with engine.begin() as c:
        at = now() - timedelta(seconds=ago_s)
        c.execute(update(instances).where(instances.c.digest == digest).values(received_at=at))
    return digest


@pytest.mark.parametrize("received_ago_s", [2900, 1000, 800])
def test_file_written_while_the_clock_was_ahead_undoes_no_correction(
    received_ago_s: float, engine: Engine, spool: FileSpool, caplog: pytest.LogCaptureFixture
) -> None:
    """The clock showed 33 minutes more until 50 minutes ago: the file may be older than a row before its time."""
    set_back(engine, by_s=2000, ago_s=3000)
    correction = kept_with_row(engine, spool, radiograph("1.1", "corrected"), received_ago_s)
    stays = kept(spool, radiograph("1.1", "wrong"), 1001 if received_ago_s == 1000 else 999)
    unknown = kept(spool, radiograph("1.2"), 1500)
    recover(engine, spool)
    assert digests(engine) == [correction, unknown]
    assert spool.has(stays)
    assert "1 instances of the spool without a row in the database stay there" in caplog.text
    assert "1.1" not in caplog.text


def test_correction_without_a_row_is_taken_in_where_the_clock_leaves_no_doubt(
    engine: Engine, spool: FileSpool, caplog: pytest.LogCaptureFixture
) -> None:
    set_back(engine, by_s=1000, ago_s=3000)
    set_back(engine, by_s=-2000, ago_s=500)  # on: it changes no order
    first = kept_with_row(engine, spool, radiograph("1.1", "first"), 2900)
    correction = kept(spool, radiograph("1.1", "corrected"), 1900)
    recover(engine, spool)
    assert digests(engine) == [first, correction]
    assert "stay there" not in caplog.text


def test_radiograph_that_was_answered_and_pruned_is_not_taken_in_again(engine: Engine, spool: FileSpool) -> None:
    digest = kept(spool, radiograph("1.1"), 3000)
    recover(engine, spool)
    with engine.begin() as c:
        c.execute(instances.update().values(pruned_at=instances.c.received_at))
    recover(engine, spool)
    with readers(engine).connect() as c:
        assert c.execute(select(instances.c.pruned_at)).scalar_one() is not None
    assert digests(engine) == [digest]


def test_recovery_goes_on_after_the_database_failed(engine: Engine, spool: FileSpool) -> None:
    expected = [kept(spool, radiograph(f"1.{k}"), 1000 - k) for k in range(3)]
    recovery = Recovery(engine, spool)
    for _ in range(FOLDERS):
        recovery.step()
    with engine.begin() as c:
        c.exec_driver_sql("ALTER TABLE instances RENAME TO elsewhere")
    with pytest.raises(Exception, match="no such table"):
        recovery.step()
    with engine.begin() as c:
        c.exec_driver_sql("ALTER TABLE elsewhere RENAME TO instances")
    while recovery.step():
        pass
    assert digests(engine) == expected
    assert sum(prune_unclaimed(engine, spool, folder, days=1) for folder in range(FOLDERS)) == 0
    assert keep_instance(engine, recovery._read(expected[0]).received) is False  # type: ignore[union-attr]


def text_instead(file: Path) -> None:
    file.write_bytes(b"this is no database" * 1000)


def broken_pages(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:6000])


def newer(file: Path) -> None:
    with sqlite3.connect(file) as c:
        c.execute("UPDATE alembic_version SET version_num = '9999'")


def without_a_table(file: Path) -> None:
    with sqlite3.connect(file) as c:
        c.execute("DROP TABLE roles")


def folder_instead(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES = [
    (text_instead, "it is damaged"),
    (broken_pages, "it is damaged"),
    (cut, "it is damaged"),
    (newer, "another version of Osteon"),
    (without_a_table, "lacks the tables roles"),
    (folder_instead, "its file cannot be opened"),
]


def damaged(file: Path, damage: Callable[[Path], None]) -> None:
    """Make a database, close it, and damage its file."""
    open_database(f"sqlite:///{file}").dispose()  # the last connection writes everything into the file
    damage(file)


@pytest.mark.parametrize(("damage", "says"), DAMAGES)
def test_unusable_database_is_refused_with_a_sentence(
    damage: Callable[[Path], None], says: str, tmp_path: Path
) -> None:
    damaged(tmp_path / "osteon.db", damage)
    with pytest.raises(Fault, match=says):
        open_database(f"sqlite:///{tmp_path / 'osteon.db'}")


def test_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Fault, match="the folder of the database cannot be made"):
        open_database(f"sqlite:///{tmp_path / 'file' / 'osteon.db'}")


def test_server_that_cannot_be_used_is_a_sentence() -> None:
    with pytest.raises(Fault, match="the database cannot be opened"):
        open_database("postgresql+pg8000://osteon@127.0.0.1:9/osteon")


def test_file_of_the_database_is_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "osteon.db"
    engine = open_database(f"sqlite:///{file}")
    opened = database_file(engine)
    assert opened is not None
    file.rename(tmp_path / "aside")
    assert database_file(engine) is None
    file.write_bytes((tmp_path / "aside").read_bytes())
    assert database_file(engine) not in (None, opened)
    file.write_bytes(b"")
    assert database_file(engine) is None
    engine.dispose()


@pytest.fixture(params=[DAMAGES[0], *DAMAGES[3:5]], ids=lambda damage: damage[0].__name__)
def bad_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Site, str]]:
    damage, says = request.param
    with Site(tmp_path) as site:
        site.engine.dispose()
        damaged(tmp_path / "state" / "osteon.db", damage)
        yield site, says


def test_page_and_commands_say_a_sentence_of_a_damaged_database(bad_site: tuple[Site, str]) -> None:
    site, says = bad_site
    command = [sys.executable, "-m", "appliance.service", "status", "--config", str(site.config)]
    address = f"http://127.0.0.1:{site.page_port}"
    with (site.folder / "status.log").open("w") as log, subprocess.Popen(command, stderr=log) as status:
        try:

            def page() -> bool:
                assert status.poll() is None, site.log("status")
                try:
                    return httpx.get(f"{address}/health/live", trust_env=False).is_success
                except httpx.HTTPError:
                    return False

            wait_until(page, lambda: site.log("status"))
            text = httpx.get(address, trust_env=False, timeout=PATIENCE_S).text
            ready = httpx.get(f"{address}/health/ready", trust_env=False, timeout=PATIENCE_S)
            metrics = httpx.get(f"{address}/metrics", trust_env=False, timeout=PATIENCE_S)
        finally:
            status.terminate()
    assert "The database cannot be read" in text and says in text
    assert ready.status_code == 503
    assert metrics.is_success and 'osteon_role_up{role="receive"} 0.0' in metrics.text
    assert "Traceback" not in site.log("status")
    refused = service(site.config, "deliver")
    listed = subprocess.run(
        [sys.executable, "-m", "provisioning.cli", "queue", "list", "--config", str(site.config)],
        capture_output=True,
        text=True,
        check=False,
    )
    for done in (refused, listed):
        assert done.returncode == 1
        assert says in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("emptied", [False, True])
def test_receiver_whose_database_goes_away_starts_again_and_forgets_no_radiograph(
    emptied: bool, peer: Peer, tmp_path: Path
) -> None:
    database = tmp_path / "state" / "osteon.db"
    with Site(tmp_path) as site:
        site.start("receive")
        sent = tmp_path / "sent.dcm"
        sent.write_bytes(part10_bytes(instance_from_phantom(phantom("knee", 1, True))))
        storescu(peer, site.port, sent)
        site.wait_for("analyses", queued=1)
        before = digests(site.engine)
        site.engine.dispose()
        if emptied:
            os.truncate(database, 0)
        else:
            database.unlink()
        receiver = site._processes.pop("receive")
        assert receiver.wait(PATIENCE_S) == 1
        assert "the file of the database was removed, emptied or replaced" in site.log("receive")
        assert "Traceback" not in site.log("receive")
        for file in (tmp_path / "state" / "spool").glob("??/*"):
            os.utime(file, (0, time.time() - 200))
        site.engine = open_database(f"sqlite:///{database}")
        site.start("receive")
        site.wait_for("analyses", queued=1)
        assert digests(site.engine) == before
