"""`osteon validate plan` and `osteon validate score` on a database with radiographs, draws and reads."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, select, update

from appliance.clock import now
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.validation import Read, ReadAnswer, ReadSource, SampleKind
from appliance.storage.database import open_database
from appliance.storage.mix import site_mix
from appliance.storage.reads import import_reads
from appliance.storage.spool import FileSpool
from appliance.storage.tables import draws, results, traits, validations
from provisioning.cli.main import main
from provisioning.operation import validation_plan
from tests.support.outbox import radiograph
from tests.support.people import anna
from tests.support.results import finding, result, unanalysed
from tests.support.validations import Hospital, begin, set_phases


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "osteon.toml"
    file.write_text(f'state_dir = "{tmp_path}"\n[analyse]\npack = "phantom"\n')
    return file


@pytest.fixture
def hospital(file: Path) -> Hospital:
    engine = open_database(f"sqlite:///{file.parent / 'osteon.db'}")
    return Hospital(engine, FileSpool(file.parent / "spool"))


def osteon(file: Path, *arguments: str) -> str:
    done = CliRunner().invoke(main, [*arguments, "--config", str(file)], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    return done.output


def record(file: Path, *arguments: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(osteon(file, *arguments, "--json"))
    return made


def cleared(number: int) -> Any:
    """Make a result without any unread region: negative."""
    return replace(result(radiograph(number), finding(0.1)), not_read=())


def date_now(engine: Engine) -> None:
    with engine.begin() as c:
        c.execute(update(results).values(created_at=now()))


def read_all(engine: Engine, answer: ReadAnswer) -> None:
    with engine.connect() as c:
        ids = c.execute(select(draws.c.id).order_by(draws.c.id)).scalars().all()
    given = [(draw_id, Read(reader="dr", source=ReadSource.CSV, answer=answer)) for draw_id in ids]
    assert set(import_reads(engine, SampleKind.RANDOM, given, anna(""), "a table")) == {""}


def test_score_prints_rates_coverage_and_the_gate(file: Path, hospital: Hospital) -> None:
    begin(hospital.engine, size=3)
    hospital.analyse(1)
    hospital.analyse(2, made=cleared(2))
    hospital.analyse(3, made=unanalysed(radiograph(3)))
    read_all(hospital.engine, ReadAnswer.FRACTURE)
    printed = osteon(file, "validate", "score")
    assert "validation 1, random sample of wrist: 3 of 3 drawn, 3 read blinded" in printed
    assert "1/2 50.0% (1.3% to 98.7%)" in printed
    assert "may not go live" in printed
    found = record(file, "validate", "score")
    assert found["score"]["sites"]["wrist"]["measures"]["sensitivity"] == {
        "k": 1,
        "n": 2,
        "point": 0.5,
        "low": pytest.approx(0.012579, abs=1e-6),
        "high": pytest.approx(0.987421, abs=1e-6),
    }
    assert found["score"]["overall"]["coverage"]["not_analysed"] == 1
    assert found["disagreements"] == [2]
    assert found["gate"]["passes"] == []
    assert "secret" not in found["validation"]
    assert len(found["definitions"]) > 5


def test_score_of_a_site_that_the_pack_lets_clear_says_so(file: Path, hospital: Hospital) -> None:
    begin(hospital.engine, Site.WRIST, Site.HAND)
    sites = record(file, "validate", "score")["gate"]["sites"]
    clears = {site: criteria[-1]["passed"] for site, criteria in sites.items()}
    assert clears == {"wrist": True, "hand": False}  # the pack has no engine for the hand


def test_score_of_an_open_sample_is_its_progress_alone(file: Path, hospital: Hospital, tmp_path: Path) -> None:
    validation = begin(hospital.engine, size=2)
    hospital.analyse(1)
    read_all(hospital.engine, ReadAnswer.FRACTURE)
    printed = osteon(file, "validate", "score")
    assert "1 of 2 drawn, 1 read blinded" in printed and "accuracy" not in printed
    assert set(record(file, "validate", "score")) == {"validation", "progress", "gate"}
    done = CliRunner().invoke(
        main, ["validate", "report", "--out", str(tmp_path / "r.html"), "--config", str(file)], env={"COLUMNS": "300"}
    )
    assert done.exit_code == 1 and "1 of the 2 radiographs of the sample are drawn" in done.output
    hospital.analyse(2)
    assert "accuracy" not in osteon(file, "validate", "score"), "it is full, but not read"
    with hospital.engine.begin() as c:
        c.execute(update(validations).where(validations.c.id == validation.validation_id).values(ended_at=now()))
    assert "accuracy" in osteon(file, "validate", "score")


@pytest.mark.parametrize("begun", [False, True])
def test_score_without_a_validation_is_refused(file: Path, begun: bool) -> None:
    if begun:
        open_database(f"sqlite:///{file.parent / 'osteon.db'}")
    done = CliRunner().invoke(main, ["validate", "score", "--config", str(file)])
    assert done.exit_code == 1
    assert "osteon validate start" in done.output


def test_plan_without_radiographs_assumes_shares_and_says_so(file: Path) -> None:
    printed = osteon(file, "validate", "plan")
    assert "assumed: too few radiographs came in 90 days" in printed
    assert "440 or more radiographs, answered and read, pass the criterion of accuracy with a chance of" in printed
    assert "not attainable" not in printed, "so few regions exclude nothing"
    found = record(file, "validate", "plan")
    assert (found["coverage"], found["fractures"], found["are_measured"], found["sites"]) == (0.7, 0.2, False, [])
    assert [one["scored"] for one in found["samples"]] == [200, 300, 440, 500, 564]
    assert (found["samples"][0]["to_draw"], found["samples"][0]["weeks"]) == (286, None)


def test_plan_for_an_accuracy_below_the_limit_says_that_none_suffices(file: Path) -> None:
    printed = osteon(file, "validate", "plan", "--accuracy", "0.94")
    assert "no sample passes the criterion of accuracy with a chance of 80%: it is below 95%" in printed


def test_plan_shows_the_hospitals_own_mix_beside_the_packs(
    file: Path, hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation_plan, "ENOUGH", 10)
    for number in range(1, 6):
        hospital.analyse(2 * number)
        hospital.analyse(2 * number + 1, made=cleared(2 * number + 1))
    hospital.analyse(100, made=unanalysed(radiograph(100)), header_site=Site.HAND)
    date_now(hospital.engine)
    with hospital.engine.begin() as c:
        c.execute(update(results).where(results.c.id == 1).values(created_at=now() - timedelta(days=13.5)))
        c.execute(update(traits).values(age_band="80+", device="MAKER [M]"))
        c.execute(update(traits).where(traits.c.result_id <= 4).values(age_band="0-17", device=""))
    found = record(file, "validate", "plan")
    assert (found["coverage"], found["fractures"], found["are_measured"]) == (1.0, 0.5, True)
    (wrist,) = found["sites"]
    assert (wrist["site"], wrist["pack"], wrist["clears"]) == ("wrist", "phantom", True)
    assert wrist["ages"] == [
        {"name": "80+", "here": 0.6, "stated": None},
        {"name": "0-17", "here": 0.4, "stated": None},
    ]
    assert wrist["patients_per_week"] == pytest.approx(5), "not of 90 days"
    assert found["samples"][0]["weeks"] == pytest.approx(200 / (5 * 0.2))
    printed = osteon(file, "validate", "plan", "--fractures", "0.1", "--share", "0.5")
    assert "weeks at 50%" in printed and " 80 " in printed
    assert "MAKER [M]: 60%" in printed and "unknown: 40%" in printed
    assert "as in the last 14 days" in printed and "10% show a fracture" in printed
    assert "pack phantom states neither ages nor devices of its data" in printed


def test_plan_names_the_sites_that_the_figures_of_the_pack_exclude(file: Path) -> None:
    file.write_text(file.read_text().replace("phantom", "fracatlas"))
    printed = osteon(file, "validate", "plan")
    assert "wrist: not attainable with this pack: in its own data the engine was right in 76% of the regions" in printed
    assert set(record(file, "validate", "plan")["out_of_reach"]) == {"ankle", "wrist", "pelvis", "forearm"}


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ("300", "about 210 of them will be answered and read (70%, assumed: too few came so far); if 97.7% of answers"),
        ("200", "about 140 of them will be answered and read (70%, assumed: too few came so far): the gate needs 200"),
    ],
)
def test_start_says_what_to_expect_of_the_size(file: Path, hospital: Hospital, size: str, says: str) -> None:
    set_phases(hospital.engine, Phase.VALIDATE, Site.WRIST)
    assert says in osteon(file, "validate", "start", "--sites", "wrist", "--size", size, "--reason", "quarter 1")


def test_mix_counts_each_radiograph_once_and_old_ones_not(hospital: Hospital) -> None:
    hospital.analyse(1, study=1)
    hospital.analyse(2, study=1)
    corrected = radiograph(1, 1)
    corrected.StudyDescription = "corrected"
    hospital.analyse(1, study=1, ds=corrected, made=cleared(1))
    hospital.analyse(3, header_site=Site.ANKLE)
    with hospital.engine.begin() as c:
        c.execute(update(results).values(created_at=now()))
        c.execute(update(results).where(results.c.id == 4).values(created_at=now() - timedelta(days=100)))
        (found,) = site_mix(c, now() - timedelta(days=90)).items()
    site, mix = found
    assert (site, mix.radiographs, mix.patients, mix.answered, mix.suspicious) == (Site.WRIST, 2, 1, 2, 1)
