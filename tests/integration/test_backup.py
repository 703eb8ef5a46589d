"""A backup of a box that works, and what a restore brings back, keeps and refuses."""

import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import insert, select

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.account import AccountRole
from appliance.domain.audit import AuditAction
from appliance.domain.identifiers import Site
from appliance.domain.job import State
from appliance.domain.phase import Phase
from appliance.errors import Fault
from appliance.service.role_lock import role_lock
from appliance.storage.accounts import account_rows, add_account, change_password, password_hash_of, remove_account
from appliance.storage.audit import newest_entries, record
from appliance.storage.database import open_database
from appliance.storage.gate import Gate
from appliance.storage.phases import set_back, set_phase, site_phases
from appliance.storage.sign_ins import begin_sign_in, signed_in
from appliance.storage.spool import FileSpool
from appliance.storage.tables import sign_ins, studies
from provisioning.cli.main import main
from provisioning.operation.backup import MANIFEST, back_up, read_backup, restore
from tests.support.people import anna
from tests.support.phases import set_phases


@pytest.fixture
def box(tmp_path: Path) -> Configuration:
    """A box with one study, one file in the spool and one installed pack."""
    config = Configuration.model_validate({"state_dir": tmp_path / "state"})
    add_study(config, "1.2.3")
    spool = FileSpool(config.spool_dir)
    spool.put(b"a radiograph")
    (config.packs_dir / "own").mkdir(parents=True)
    (config.packs_dir / "own" / "pack.toml").write_text("a pack")
    return config


def add_study(config: Configuration, uid: str) -> None:
    engine = open_database(config.database)
    with engine.begin() as c:
        row = {"study_instance_uid": uid, "state": State.DONE, "not_before": now(), "created_at": now()}
        c.execute(insert(studies).values(**row))
    engine.dispose()


def kept_studies(config: Configuration) -> list[str]:
    engine = open_database(config.database)
    with engine.connect() as c:
        found = list(c.execute(select(studies.c.study_instance_uid)).scalars())
    engine.dispose()
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("with_spool", [False, True])
@pytest.mark.proves("SAF-23")
def test_restore_brings_back_what_was_there_and_holds_all_deliveries(
    with_spool: bool, box: Configuration, tmp_path: Path
) -> None:
    settings, target = tmp_path / "osteon.toml", tmp_path / "osteon.tar"
    settings.write_text("# the settings\n")
    with role_lock(box, "receive"):  # a role that runs does not matter
        back_up(box, settings, target, with_spool=with_spool)
    assert target.stat().st_mode & 0o777 == 0o600
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    other = Configuration.model_validate({"state_dir": tmp_path / "other"})
    manifest = restore(other, target, anna()).manifest
    assert manifest.parts == ["osteon.db", "osteon.toml", "packs", *(["spool"] if with_spool else [])]
    assert kept_studies(other) == ["1.2.3"]
    assert files(other.packs_dir) == files(box.packs_dir)
    assert (files(other.spool_dir) == files(box.spool_dir)) is with_spool
    assert (other.state_dir / "restored-osteon.toml").read_text() == "# the settings\n"
    engine = open_database(other.database)
    (hold,) = Gate(engine).holds()
    engine.dispose()
    assert hold.destination == "*" and manifest.made_at in hold.reason


def test_restored_files_are_hidden_from_other_users(
    box: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, target = tmp_path / "osteon.toml", tmp_path / "osteon.tar"
    settings.write_text("# the settings\n")
    back_up(box, settings, target, with_spool=True)
    with tarfile.open(target) as archive:
        assert all(now().timestamp() - member.mtime < 3600 and member.mode == 0o640 for member in archive)
    monkeypatch.setattr(tarfile.TarFile, "extractall", None)  # takes no filter in Python 3.11.2
    other = Configuration.model_validate({"state_dir": tmp_path / "other"})
    before = os.umask(0o022)
    try:
        restore(other, target, anna())
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert {p.stat().st_mode & 0o777 for p in other.state_dir.rglob("*") if p.is_file()} == {0o640}
    assert not [p for p in other.state_dir.rglob("*") if p.stat().st_mode & 0o007]


def test_backup_without_a_database_file_is_refused(tmp_path: Path) -> None:
    config = Configuration.model_validate({"state_dir": tmp_path / "wrong"})
    with pytest.raises(Fault, match=r"there is no database at .*wrong/osteon\.db: check state_dir"):
        back_up(config, None, tmp_path / "osteon.tar")
    assert list(tmp_path.iterdir()) == []


def test_restore_keeps_the_present_database_and_files_aside(box: Configuration, tmp_path: Path) -> None:
    back_up(box, None, tmp_path / "osteon.tar")
    add_study(box, "4.5.6")
    (box.packs_dir / "own" / "pack.toml").write_text("a newer pack")
    restore(box, tmp_path / "osteon.tar", anna())
    assert kept_studies(box) == ["1.2.3"]
    assert files(box.packs_dir) == {"own/pack.toml": b"a newer pack"}
    (former,) = box.state_dir.glob("before-restore-*")
    there = Configuration.model_validate({"state_dir": former})
    assert kept_studies(there) == ["1.2.3", "4.5.6"]


@pytest.mark.proves("SAF-23")
def test_restore_names_the_withdrawals_that_the_backup_does_not_know(box: Configuration, tmp_path: Path) -> None:
    engine = open_database(box.database)
    with engine.begin() as c:
        record(c, anna("before"), AuditAction.WITHDRAW, "study:1")
    back_up(box, None, tmp_path / "osteon.tar")
    with engine.begin() as c:
        record(c, anna("after"), AuditAction.WITHDRAW, "study:2")
    engine.dispose()
    settings = tmp_path / "osteon.toml"
    settings.write_text(f'state_dir = "{box.state_dir}"\n')
    done = CliRunner().invoke(main, ["restore", str(tmp_path / "osteon.tar"), "--config", str(settings)])
    assert "withdrawn after the backup, which does not know it: study:2;" in words(done.output)
    engine = open_database(box.database)
    with engine.connect() as c:
        assert newest_entries(c, 1)[0].detail.endswith("withdrawn since the backup: study:2")
    engine.dispose()


@pytest.mark.parametrize("is_readable", [True, False])
def test_restore_makes_no_site_live_that_stepped_back_since(
    box: Configuration, tmp_path: Path, is_readable: bool
) -> None:
    engine = open_database(box.database)
    set_phases(engine, Phase.LIVE, [Site.WRIST, Site.KNEE, Site.HAND])
    set_phases(engine, Phase.FAMILIARISE, [Site.FOOT])
    back_up(box, None, tmp_path / "osteon.tar")
    set_phase(engine, [Site.WRIST], Phase.SHADOW, anna("it missed three fractures"))
    set_back(engine, [Site.HAND], Phase.FAMILIARISE, "another device computes")
    set_phase(engine, [Site.FOOT], Phase.LIVE, anna("validated"), passed="validation 2")
    set_phase(engine, [Site.FOOT], Phase.FAMILIARISE, anna("false alarms"))
    set_phases(engine, Phase.SHADOW, [Site.ELBOW])
    engine.dispose()
    if not is_readable:
        (box.state_dir / "osteon.db").write_bytes(b"damaged" * 1000)
    settings = tmp_path / "osteon.toml"
    settings.write_text(f'state_dir = "{box.state_dir}"\n')
    done = CliRunner().invoke(main, ["restore", str(tmp_path / "osteon.tar"), "--config", str(settings)])
    engine = open_database(box.database)
    with engine.connect() as c:
        found = {each.site: each for each in site_phases(c)}
    engine.dispose()
    if not is_readable:
        assert {each.phase for each in found.values()} == {Phase.FAMILIARISE}
        assert {site for site, each in found.items() if each.is_revoked} == {Site.HAND, Site.WRIST, Site.KNEE}
        return
    assert "further in the backup than before the restore: wrist, hand" in words(done.output)
    now_in = {site: (each.phase, each.is_revoked) for site, each in found.items()}
    assert now_in == {
        Site.WRIST: (Phase.SHADOW, True),
        Site.HAND: (Phase.FAMILIARISE, True),
        Site.KNEE: (Phase.LIVE, False),
        Site.FOOT: (Phase.FAMILIARISE, False),
        Site.ELBOW: (Phase.SHADOW, False),
    }
    assert found[Site.FOOT].validate_after is not None, "an older validation does not count again"


def test_restore_brings_back_no_dismissed_account_old_password_or_sign_in(box: Configuration, tmp_path: Path) -> None:
    engine = open_database(box.database)
    for name in ("dismissed", "olga", "victor"):
        add_account(engine, name, AccountRole.OPERATOR, "an old hash", anna())
    assert begin_sign_in(engine, "olga", "an old hash")
    engine.dispose()
    back_up(box, None, tmp_path / "osteon.tar")
    engine = open_database(box.database)
    remove_account(engine, "dismissed", anna())
    change_password(engine, "olga", "a new hash", anna())
    token = begin_sign_in(engine, "olga", "a new hash")
    engine.dispose()
    assert restore(box, tmp_path / "osteon.tar", anna()).accounts_left == ("dismissed", "olga")
    engine = open_database(box.database)
    with engine.connect() as c:
        assert [row["name"] for row in account_rows(c)] == ["olga", "victor"]
        assert c.execute(select(sign_ins)).all() == []
        assert "did not come back: dismissed, olga" in newest_entries(c, 1)[0].detail
    assert password_hash_of(engine, "olga") == "a new hash"
    assert token and signed_in(engine, token, is_activity=True) is None
    engine.dispose()
    elsewhere = Configuration.model_validate({"state_dir": tmp_path / "elsewhere"})
    assert restore(elsewhere, tmp_path / "osteon.tar", anna()).accounts_left == ("dismissed", "olga", "victor")


def held(config: Configuration) -> list[str]:
    engine = open_database(config.database)
    found = [hold.destination for hold in Gate(engine).holds()]
    engine.dispose()
    return found


def test_restore_to_other_disks_holds_all_deliveries(box: Configuration, tmp_path: Path) -> None:
    back_up(box, None, tmp_path / "osteon.tar", with_spool=True)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        disk = Path(folder)
        assert disk.stat().st_dev != tmp_path.stat().st_dev
        other = Configuration.model_validate(
            {"state_dir": tmp_path / "other", "database_url": f"sqlite:///{disk / 'own.db'}"}
        )
        add_study(other, "4.5.6")
        other.state_dir.mkdir()
        (disk / "spool").mkdir()
        other.spool_dir.symlink_to(disk / "spool")
        restore(other, tmp_path / "osteon.tar", anna())
        assert (kept_studies(other), held(other)) == (["1.2.3"], ["*"])
        assert files(other.spool_dir) == files(box.spool_dir)
        assert files(other.packs_dir) == files(box.packs_dir)
        (former,) = disk.glob("before-restore-*/own.db")
        assert kept_studies(other.model_copy(update={"database_url": f"sqlite:///{former}"})) == ["4.5.6"]


def test_restore_that_fails_half_way_leaves_the_present_database(box: Configuration, tmp_path: Path) -> None:
    back_up(box, None, tmp_path / "osteon.tar")
    add_study(box, "4.5.6")
    shutil.rmtree(box.packs_dir)
    box.packs_dir.write_text("no folder")
    with pytest.raises(Fault, match="cannot be restored"):
        restore(box, tmp_path / "osteon.tar", anna())
    assert kept_studies(box) == ["1.2.3", "4.5.6"]
    box.packs_dir.unlink()
    restore(box, tmp_path / "osteon.tar", anna())
    assert (kept_studies(box), held(box)) == (["1.2.3"], ["*"])
    assert files(box.packs_dir) == {"own/pack.toml": b"a pack"}


def test_restored_database_is_held_before_it_is_in_place(
    box: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(box, None, tmp_path / "osteon.tar")
    monkeypatch.setattr(os, "sync", lambda: os.link(box.state_dir / "osteon.db.restoring", tmp_path / "osteon.db"))
    restore(box, tmp_path / "osteon.tar", anna())
    assert held(Configuration.model_validate({"state_dir": tmp_path})) == ["*"]


def test_restore_of_a_database_for_postgresql_is_refused(box: Configuration, tmp_path: Path) -> None:
    back_up(box, None, tmp_path / "osteon.tar")
    other = Configuration.model_validate(
        {"state_dir": tmp_path / "other", "database_url": "postgresql+pg8000://localhost/osteon"}
    )
    with pytest.raises(Fault, match="has an SQLite database, and database_url names PostgreSQL"):
        restore(other, tmp_path / "osteon.tar", anna())
    assert not other.state_dir.exists()


def test_restore_while_a_role_runs_is_refused(box: Configuration, tmp_path: Path) -> None:
    back_up(box, None, tmp_path / "osteon.tar")
    with role_lock(box, "deliver"), pytest.raises(Fault, match="deliver still runs: systemctl stop"):
        restore(box, tmp_path / "osteon.tar", anna())
    assert not list(box.state_dir.glob("before-restore-*"))


def rewritten(source: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    """Write a backup anew with changed members."""
    with tarfile.open(source) as archive:
        members = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
    change(members)
    with tarfile.open(source, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def with_manifest(**values: object) -> Callable[[dict[str, bytes]], object]:
    return lambda m: m.update({MANIFEST: json.dumps(json.loads(m[MANIFEST]) | values).encode()})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.update({"osteon.db": b"x" + m["osteon.db"][1:]}), "altered"),
        (lambda m: m.pop("packs/own/pack.toml"), "altered"),
        (lambda m: m.update({"more": b""}), "altered"),
        (lambda m: m.update({"../out": b""}), "no whole backup"),
        (lambda m: m.pop(MANIFEST), "no whole backup"),
        (with_manifest(digests=3), "altered"),
        (with_manifest(strange=1), "no whole backup"),
        (with_manifest(revision="9999", version="9.0"), "made by Osteon 9.0, which is newer"),
    ],
)
def test_backup_that_is_not_whole_replaces_nothing(
    change: Callable[[dict[str, bytes]], object], why: str, box: Configuration, tmp_path: Path
) -> None:
    source = tmp_path / "osteon.tar"
    back_up(box, None, source)
    rewritten(source, change)
    before = files(box.state_dir)
    with pytest.raises(Fault, match=why):
        restore(box, source, anna())
    assert files(box.state_dir) == before


def test_backup_cut_anywhere_is_refused(box: Configuration, tmp_path: Path) -> None:
    source = tmp_path / "osteon.tar"
    back_up(box, None, source)
    content = source.read_bytes()
    for share in (0, 0.3, 0.9):
        source.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(Fault, match="no whole backup"):
            read_backup(source)


def words(output: str) -> str:
    """Return the output without its line breaks, which depend on the length of paths."""
    return " ".join(output.split())


def test_commands_print_the_contents_and_the_next_steps(box: Configuration, tmp_path: Path) -> None:
    settings, target = tmp_path / "osteon.toml", tmp_path / "osteon.tar"
    settings.write_text(f'state_dir = "{box.state_dir}"\n')
    made = CliRunner().invoke(main, ["backup", str(target), "--config", str(settings)])
    assert made.exit_code == 0, made.output
    assert "osteon.db, osteon.toml, packs, 3 files" in words(made.output)
    again = CliRunner().invoke(main, ["backup", str(target), "--config", str(settings)])
    assert again.exit_code == 1 and "name a new file" in words(again.output)
    missing = CliRunner().invoke(main, ["backup", str(tmp_path / "no" / "b"), "--config", str(settings)])
    assert missing.exit_code == 1 and "cannot be written: No such file" in words(missing.output)
    done = CliRunner().invoke(main, ["restore", str(target), "--config", str(settings)])
    assert done.exit_code == 0, done.output
    assert "restored-osteon.toml" in "".join(done.output.split())  # a terminal breaks a long path
    assert "osteon queue release" in words(done.output)
    assert {p.stat().st_uid for p in box.state_dir.rglob("*")} == {os.geteuid()}
