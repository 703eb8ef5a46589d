"""Phases changed by people: the command line, the page, the gate before live, and the condition after a revocation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, delete

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.audit import Door
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.service.pipeline_assembly import fingerprints_of, pack_of
from appliance.status.app import create_app
from appliance.status.facts import observe
from appliance.status.health import conditions
from appliance.status.remedies import remedy_of
from appliance.storage.audit import newest_entries
from appliance.storage.database import readers
from appliance.storage.going_live import change_phase
from appliance.storage.phases import PhaseBook, enter_sites, set_back, set_phase, site_phases
from appliance.storage.spool import FileSpool
from appliance.storage.tables import phases
from provisioning.cli.main import main
from provisioning.demonstration.run import _go_live
from tests.support.people import anna
from tests.support.phases import set_phases
from tests.support.validated import clear_cases, fill_validation

SHADOW, FAMILIARISE, VALIDATE, LIVE = Phase
CLEARS = dict.fromkeys(Site, True)


@pytest.fixture
def config(tmp_path: Path, database_url: str, engine: Engine) -> Configuration:
    set_phases(engine, FAMILIARISE, [Site.WRIST, Site.LOWER_LEG])
    lines = (f"state_dir = {json.dumps(str(tmp_path))}", f"database_url = {json.dumps(database_url)}")
    (tmp_path / "osteon.toml").write_text("\n".join((*lines, "analyse.pack = 'phantom'\n")))
    return Configuration.model_validate({"state_dir": tmp_path, "analyse": {"pack": "phantom"}})


def osteon(config: Configuration, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--config", str(config.state_dir / "osteon.toml")])


def phase_of(engine: Engine, site: Site = Site.WRIST) -> Phase:
    with engine.connect() as c:
        return next(each.phase for each in site_phases(c) if each.site is site)


def test_command_sets_a_phase_with_its_reason_and_the_person(config: Configuration, engine: Engine) -> None:
    assert osteon(config, "phase", "set", "wrist", "validate").exit_code == 2, "a reason is needed"
    done = osteon(config, "phase", "set", "wrist", "validate", "--reason", "the ward round agreed")
    assert done.exit_code == 0 and "wrist: validate" in done.output
    assert (phase_of(engine), phase_of(engine, Site.LOWER_LEG)) == (VALIDATE, FAMILIARISE)
    with engine.connect() as c:
        (entry,) = newest_entries(c, 1)
    assert (entry.door, entry.subject) == (Door.COMMAND_LINE, "site wrist")
    assert (entry.reason, entry.detail) == ("the ward round agreed", "from familiarise to validate")
    both = osteon(config, "phase", "set", "wrist,lower_leg", "validate", "--reason", "the ward round agreed")
    assert both.output == "wrist, lower leg: validate\n"
    assert osteon(config, "phase", "set", "wrist,tail", "validate", "--reason", "x").exit_code == 2
    osteon(config, "phase", "set", "all", "shadow", "--reason", "maintenance")
    listed = [json.loads(line) for line in osteon(config, "phase", "list", "--json").output.splitlines()]
    assert [(one["site"], one["phase"]) for one in listed] == [("wrist", "shadow"), ("lower_leg", "shadow")]
    assert "maintenance" in osteon(config, "phase", "list").output


def test_command_refuses_live_without_a_validation(config: Configuration, engine: Engine) -> None:
    done = osteon(config, "phase", "set", "wrist", "live", "--reason", "we trust it")
    assert done.exit_code == 1 and "osteon validate start" in done.output
    assert phase_of(engine) is FAMILIARISE


@pytest.mark.proves("SAF-25")
def test_gate_that_is_not_passed_keeps_a_site_from_going_live(engine: Engine) -> None:
    from tests.support.validations import begin

    begin(engine, Site.WRIST)
    with pytest.raises(Rejected) as caught:
        change_phase(engine, [Site.WRIST], LIVE, anna("we trust it"), CLEARS)
    assert caught.value.code is ReasonCode.NOT_VALIDATED
    assert "\n- 0 of the 10 radiographs of the sample are drawn\n- " in caught.value.reason, "one criterion a line"
    assert phase_of(engine) is VALIDATE


@pytest.mark.proves("SAF-25")
def test_engine_that_changed_since_its_gate_was_looked_at_does_not_go_live(engine: Engine) -> None:
    set_phases(engine, VALIDATE, [Site.WRIST], {Site.WRIST: "a"})
    with pytest.raises(Rejected) as caught:
        set_phase(engine, [Site.WRIST], LIVE, anna("validated"), passed="yes", fingerprints={Site.WRIST: "b"})
    assert caught.value.code is ReasonCode.ENGINE_CHANGED
    set_phase(engine, [Site.WRIST], LIVE, anna("validated"), passed="yes", fingerprints={Site.WRIST: "a"})
    assert phase_of(engine) is LIVE


def test_revocation_is_a_condition_until_a_person_sets_the_phase(config: Configuration, engine: Engine) -> None:
    set_phases(engine, LIVE, [Site.WRIST], {Site.WRIST: "a"})

    def broken() -> list[str]:
        found = conditions(observe(readers(engine), config, now()))
        return [c.sentence for c in found if c.name == "phase.wrist" and not c.ok]

    assert broken() == []
    enter_sites(engine, {Site.WRIST: "b"}, FAMILIARISE)
    (sentence,) = broken()
    assert "back in the phase shadow" in sentence and "nothing about it leaves the box" in sentence
    assert remedy_of("phase.wrist")
    set_phase(engine, [Site.WRIST], SHADOW, anna("seen"))
    assert broken() == []


def test_page_shows_the_phases(config: Configuration, engine: Engine) -> None:
    client = create_app(readers(engine), config, pack_of(config), "1.2.3").test_client()
    assert "familiarise: wrist, lower leg" in client.get("/").text
    assert "familiarise <small>since" in client.get("/pack").text
    assert "Set the phase" not in client.get("/pack").text, "a visitor only reads"
    with engine.begin() as c:
        c.execute(delete(phases))
    assert "Phases" not in client.get("/").text


def gate_that_passes(engine: Engine, spool: FileSpool) -> None:
    fill_validation(engine, spool, clear_cases())
    change_phase(engine, [Site.WRIST], LIVE, anna("validated"), CLEARS)


def test_gate_that_is_passed_makes_a_site_live(engine: Engine, spool: FileSpool) -> None:
    gate_that_passes(engine, spool)
    assert (phase_of(engine), phase_of(engine, Site.ANKLE)) == (LIVE, VALIDATE)
    with engine.connect() as c:
        (entry,) = newest_entries(c, 1)
    assert "the true accuracy lies between" in entry.detail


@pytest.mark.parametrize(
    "step_back",
    [
        lambda engine: set_back(engine, [Site.WRIST], FAMILIARISE, "the hardware has changed"),
        lambda engine: change_phase(engine, [Site.WRIST], SHADOW, anna("it missed three fractures"), CLEARS),
        lambda engine: (
            enter_sites(engine, {Site.WRIST: "other"}, FAMILIARISE)
            + enter_sites(engine, {Site.WRIST: "0" * 64}, FAMILIARISE)
        ),
    ],
)
@pytest.mark.proves("SAF-25")
def test_site_that_was_set_back_needs_another_validation(
    engine: Engine, spool: FileSpool, step_back: Callable[[Engine], object]
) -> None:
    gate_that_passes(engine, spool)
    step_back(engine)
    change_phase(engine, [Site.WRIST], VALIDATE, anna("once more"), CLEARS)
    with pytest.raises(Rejected, match="set back after the validation started: start another one"):
        change_phase(engine, [Site.WRIST], LIVE, anna("never mind"), CLEARS)


def test_validated_site_that_is_not_live_yet_needs_another_one_after_a_failed_recheck(
    engine: Engine, spool: FileSpool
) -> None:
    fill_validation(engine, spool, clear_cases(), phase=SHADOW)
    assert set_back(engine, [Site.WRIST], FAMILIARISE, "the hardware has changed") == []
    with pytest.raises(Rejected, match="set back after the validation started"):
        change_phase(engine, [Site.WRIST], LIVE, anna("validated"), CLEARS)
    change_phase(engine, [Site.ANKLE], LIVE, anna("validated"), CLEARS)


def test_demonstration_starts_with_every_site_live(config: Configuration, engine: Engine) -> None:
    _go_live(engine, config)
    book = PhaseBook(engine=engine, fingerprints=fingerprints_of(config))
    assert set(book.now().values()) == {LIVE}
    assert enter_sites(engine, fingerprints_of(config), FAMILIARISE) == [], "its analyse role sets none back"
    with engine.connect() as c:
        assert "demonstration" in newest_entries(c, 1)[0].detail
