"""`osteon validate refit`: from the reads of a sample to a pack that can be installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, select

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.identifiers import Site
from appliance.domain.job import State
from appliance.domain.phase import Phase
from appliance.domain.validation import Read, ReadAnswer, ReadSource, SampleKind
from appliance.preprocessing.recipe import DIGEST
from appliance.service.pipeline_assembly import fingerprints_of
from appliance.storage.database import open_database
from appliance.storage.reads import import_reads
from appliance.storage.spool import FileSpool
from appliance.storage.tables import deliveries, draws
from appliance.storage.validations import end_validation, start_validation
from engines.pack import read_pack
from provisioning.cli.main import main
from provisioning.operation import validation_refit
from tests.support.outbox import radiograph
from tests.support.people import anna
from tests.support.results import unanalysed
from tests.support.validations import Hospital, set_phases

FRACTURES = (0.9, 0.95, 0.8, 0.85)
OTHERS = (0.05, 0.1, 0.2, 0.4, 0.15, 0.3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "osteon.toml"
    file.write_text(f'state_dir = "{tmp_path}"\n[analyse]\npack = "phantom"\n')
    return file


def osteon(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--config", str(file)], env={"COLUMNS": "300"})


def validated(file: Path, fingerprint: str) -> None:
    """Validate the wrist: reads of fractures and others, of a radiograph without a finding, and an unblinded one."""
    engine = open_database(f"sqlite:///{file.parent / 'osteon.db'}")
    hospital = Hospital(engine, FileSpool(file.parent / "spool"))
    set_phases(engine, Phase.VALIDATE, Site.WRIST, fingerprint=fingerprint)
    start_validation(engine, kind=SampleKind.RANDOM, sites=[Site.WRIST], size=20, share=1.0, by=anna("test"))
    for number, probability in enumerate((*FRACTURES, *OTHERS), 1):
        hospital.analyse(number, probability=probability)
    hospital.analyse(98, made=unanalysed(radiograph(98)))
    hospital.analyse(99, probability=0.99)
    with engine.connect() as c:
        ids = c.execute(select(draws.c.id).order_by(draws.c.id)).scalars().all()
    answers = [ReadAnswer.FRACTURE] * len(FRACTURES) + [ReadAnswer.NONE] * (len(OTHERS) + 2)
    given = [
        (key, Read(reader="dr", source=ReadSource.CSV, answer=answer)) for key, answer in zip(ids, answers, strict=True)
    ]
    made = {"study_instance_uid": str(radiograph(99).StudyInstanceUID), "state": State.DONE, "not_before": now()}
    with engine.begin() as c:  # an answer has left: its read is not blinded
        row = {"destination": "pacs", "kind": "sc", "identifier": "1", "digest": "d", "created_at": now()}
        c.execute(insert(deliveries).values(**row, **made))
    assert set(import_reads(engine, SampleKind.RANDOM, given, anna(""), "a table")) == {""}
    end_validation(engine, SampleKind.RANDOM, anna("all are read"))


def wrist(file: Path) -> str:
    config = Configuration.model_validate({"state_dir": file.parent, "analyse": {"pack": "phantom"}})
    return fingerprints_of(config)[Site.WRIST]


def test_refitted_pack_can_be_verified_and_states_ages_and_devices(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation_refit, "LEAST_FRACTURES_OF_SITE", len(FRACTURES))
    monkeypatch.setattr(validation_refit, "LEAST_OTHERS_OF_SITE", len(OTHERS))
    validated(file, wrist(file))
    done = osteon(file, "validate", "refit", "--site", "wrist", "--out", str(tmp_path / "new"))
    assert done.exit_code == 0, done.output
    assert "10, 4 fractured" in done.output
    made = read_pack(tmp_path / "new", DIGEST)
    assert made.version == "0.4.1-local-1"
    assert made.classifiers["wrist"].performance["ages"] == {"unknown": 1.0}
    verified = osteon(file, "pack", "verify", str(tmp_path / "new"))
    assert verified.exit_code == 0, verified.output
    again = osteon(file, "validate", "refit", "--site", "wrist", "--out", str(tmp_path / "new"))
    assert again.exit_code == 1 and "is there already" in again.output


def test_refit_is_refused_without_enough_reads(file: Path, tmp_path: Path) -> None:
    validated(file, wrist(file))
    done = osteon(file, "validate", "refit", "--site", "wrist", "--out", str(tmp_path / "new"))
    assert done.exit_code == 1
    assert "wrist: 4 fractures and 6 others are read; refitting takes 10 and 30" in done.output
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("site", "number", "words"),
    [
        ("wrist", (), "the engine of wrist is not the one that validation 1 is about"),
        ("knee", (), "validation 1 is not about knee"),
        ("hand", (), "no engine of the pack serves hand"),
        ("wrist", ("--validation", "7"), "there is no validation 7"),
    ],
)
def test_refit_of_another_engine_or_validation_is_refused(
    file: Path, tmp_path: Path, site: str, number: tuple[str, ...], words: str
) -> None:
    engine = open_database(f"sqlite:///{file.parent / 'osteon.db'}")
    set_phases(engine, Phase.VALIDATE, Site.WRIST, fingerprint="another")
    start_validation(engine, kind=SampleKind.RANDOM, sites=[Site.WRIST], size=20, share=1.0, by=anna("test"))
    done = osteon(file, "validate", "refit", "--site", site, "--out", str(tmp_path / "new"), *number)
    assert done.exit_code == 1
    assert words in done.output
