"""`osteon demo --rollout`: a rollout in minutes, from shadow to live, by the product itself and simulated readers."""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from appliance.config import Configuration, read_configuration
from appliance.domain.audit import Door, Intervention
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import Read, ReadAnswer, ReadSource, SampleKind, Validation
from appliance.errors import Fault
from appliance.service.pipeline_assembly import fingerprints_of, pack_of
from appliance.service.supervisor import Supervisor
from appliance.storage.audit import check_log
from appliance.storage.database import open_database, readers
from appliance.storage.drift import advance_drift, drift_of_sites
from appliance.storage.going_live import change_phase
from appliance.storage.reads import offered, record_read, waiting_count
from appliance.storage.scored import ScoredSample, scored_sample
from appliance.storage.validations import end_validation, progress, start_validation
from provisioning.operation.reports import write_report_file

from .box import (
    empty_folder,
    ending_in_order,
    send,
    wait_for_interrupt,
    wait_for_jobs,
    wait_for_roles,
    write_configuration,
)
from .peers import DemonstrationHospital
from .rollout_cases import SITES as SITES_IN_TURN
from .rollout_cases import Case, draw_phantoms, labelled_radiographs

PHANTOMS: Final = 600

SITES: Final = tuple(dict.fromkeys(SITES_IN_TURN))

LABELLED: Final = 260
"""Most radiographs of the sample of people: a few of the folder are the same picture twice, and are drawn once."""

SHARE: Final = 0.95
"""Share of the patients that are drawn; a hospital takes less."""

READER_ERROR: Final = 0.002
"""Chance that a simulated reader says the opposite of the truth."""

READER_UNSURE: Final = 0.005
"""Chance that a simulated reader is unsure."""

READERS: Final = ("reader 1", "reader 2")

CHUNK: Final = 40
"""Radiographs that are sent together while the sample fills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The number of radiographs in each part of the story; the sample takes as many as it needs of the rest."""

    total: int
    shadow: int
    familiarise: int
    sample: int
    drifted: int

    @classmethod
    def of(cls, total: int) -> Plan:
        """Return the plan for so many radiographs: half of them for the sample, most others of another detector."""
        return cls(
            total=total, shadow=total // 60, familiarise=total // 60, sample=total // 2, drifted=total * 23 // 60
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the closing table: radiographs sent in a phase, and what the hospital received of them."""

    name: str
    sent: int
    in_pacs: int
    reports: int
    under_evaluation: int
    flagged: int


@dataclass
class Story:
    """A rollout as it goes on: the box, the hospital, and the steps so far."""

    config: Configuration
    engine: Engine
    hospital: DemonstrationHospital
    supervisor: Supervisor
    console: Console
    cases: Iterator[Case]
    steps: list[Step] = field(default_factory=list)
    truth: dict[str, bool] = field(default_factory=dict)

    def send(self, name: str, count: int) -> int:
        """Send the next `count` radiographs, wait until everything about them is done, and add a step."""
        sent = list(islice(self.cases, count))
        self.truth |= {case.sop_instance_uid: case.is_fractured for case in sent}
        known = set(self.hospital.ris.arrivals)
        in_pacs = len(self.hospital.pacs.arrivals)
        if sent:
            send([(case.name, case.file) for case in sent], self.config, self.console)
            wait_for_jobs(readers(self.engine), len(sent), self.supervisor.watch, self.console)
        for case in sent:
            case.file.unlink()
        messages = [
            (self.hospital.ris.folder / file).read_bytes() for file in self.hospital.ris.arrivals.keys() - known
        ]
        step = Step(
            name=name,
            sent=len(sent),
            in_pacs=len(self.hospital.pacs.arrivals) - in_pacs,
            reports=len(messages),
            under_evaluation=sum(b"under evaluation" in message for message in messages),
            flagged=sum(is_flagged(message) for message in messages),
        )
        self.steps.append(step)
        return len(sent)

    def set_phase(self, sites: Sequence[Site], phase: Phase, reason: str) -> None:
        """Set the phase of sites as an operator does, and tell it; raises Rejected where the gate does not let it."""
        change_phase(self.engine, sites, phase, by_hand(reason), self.clears())
        self.console.rule(f"{', '.join(site.label.template for site in sites)}: {phase}")

    def fill_sample(self, sites: Sequence[Site], size: int, share: float) -> Validation:
        """Open a validation, and send radiographs until its sample is full or none is left."""
        opened = start_validation(
            self.engine, kind=SampleKind.RANDOM, sites=sites, size=size, share=share, by=by_hand("first sample")
        )
        before = len(self.steps)
        while (missing := size - self.drawn(opened)) > 0:
            if not self.send("validate", min(CHUNK, int(missing / share) + 1)):
                break
        self.steps[before:] = [joined(self.steps[before:])] if self.steps[before:] else []
        return opened

    def drawn(self, validation: Validation) -> int:
        """Return the number of radiographs in the sample."""
        with readers(self.engine).connect() as c:
            return progress(c, validation).drawn

    def read_sample(self) -> int:
        """Let the simulated readers read every radiograph that they are offered; return the number of wrong reads."""
        chance, wrong = random.Random(1), 0
        while waiting_count(self.engine):
            for reader in READERS:
                found = offered(self.engine, reader)
                if found is None:
                    continue
                truth = self.truth[found.sop_instance_uid]
                errs = chance.random() < READER_ERROR
                wrong += errs
                answer = ReadAnswer.FRACTURE if truth is not errs else ReadAnswer.NONE
                if chance.random() < READER_UNSURE:
                    answer = ReadAnswer.UNSURE
                read = Read(reader=reader, source=ReadSource.PAGE, answer=answer)
                by = Intervention(person=reader, door=Door.ACCOUNT, reason="a simulated read")
                record_read(self.engine, found.draw_id, found.result_id, read, by)
        return wrong

    def scored(self, validation: Validation) -> ScoredSample:
        """Return the sample with its score and its gate."""
        with readers(self.engine).connect() as c:
            return scored_sample(c, validation, self.clears())

    def clears(self) -> dict[Site, bool]:
        """Return whether the engine of each site may clear."""
        return {Site(site): spec.clears for site, spec in pack_of(self.config).classifiers.items()}


def demonstrate_rollout(
    folder: Path, console: Console, radiographs: Path | None = None, limit: int | None = None, *, keep: bool = False
) -> ScoredSample:
    """Play a rollout, and leave everything that the hospital received, and the report, in `folder`.

    Parameters
    ----------
    folder
        Is emptied first if an earlier demonstration wrote it.
    radiographs
        Folder of labelled radiographs, read by the pack ``fracatlas``, up to the gate; None: `PHANTOMS` phantoms.
    limit
        Number of radiographs. With fewer than `PHANTOMS` the sample is too small to pass.
    keep
        Leave everything running until Ctrl-C.

    Raises
    ------
    Fault
        ``demo_folder``, ``no_radiographs``, ``demo_start`` as `run.demonstrate`; ``demo_rollout`` if the shadow was not
        dark, or the audit log is not whole.
    """
    empty_folder(folder)
    with ending_in_order(), tempfile.TemporaryDirectory(prefix="osteon-demo-") as state:
        hospital = DemonstrationHospital(folder)
        try:
            pack = "fracatlas" if radiographs else "phantom"
            path = write_configuration(Path(state), hospital, pack, 'rollout.first_phase = "shadow"')
            config = read_configuration(path)
            inputs = Path(state) / "in"
            plan = Plan.of(limit or PHANTOMS)
            if radiographs:
                cases = labelled_radiographs(inputs, radiographs, sorted(fingerprints_of(config)), limit)
            else:
                cases = draw_phantoms(inputs, plan.total, plan.drifted, console)
            engine = open_database(config.database)
            with Supervisor(path, folder / "logs") as supervisor:
                wait_for_roles(engine, supervisor, folder, console)
                story = Story(config, engine, hospital, supervisor, console, iter(cases))
                sample = _play_labelled(story, cases) if radiographs else _play_phantoms(story, plan)
                report = folder / "validation.html"
                write_report_file(config, report, SampleKind.RANDOM, None, by_hand("end of the demonstration"))
                _check_audit_log(engine)
                console.print(steps_table(story.steps))
                console.print(f"Report of the validation: {report.resolve()}")
                if keep:
                    page = f"http://127.0.0.1:{config.status.port}/rollout"
                    console.print(f"Rollout on the status page: {page}  -  Ctrl-C ends the demonstration")
                    wait_for_interrupt(supervisor)
            engine.dispose()
        finally:
            hospital.close()
    return sample


def _play_phantoms(story: Story, plan: Plan) -> ScoredSample:
    console = story.console
    console.rule("knee, wrist, shoulder: shadow")
    story.send("shadow", plan.shadow)
    if story.steps[0].in_pacs or story.steps[0].reports:
        raise Fault(ReasonCode.DEMO_ROLLOUT, "something left the box although every site was in shadow")
    story.set_phase(SITES, Phase.FAMILIARISE, "the team has seen the results on the page")
    story.send("familiarise", plan.familiarise)
    story.set_phase(SITES, Phase.VALIDATE, "the readers are there")
    sample = _validate(story, story.fill_sample(SITES, plan.sample, SHARE))
    passed = [site for site in SITES if sample.gate.passes(site)]
    if passed:
        story.set_phase(passed, Phase.LIVE, "the sample passes the gate")
    rest = plan.total - plan.drifted - sum(step.sent for step in story.steps)
    story.send("live" if passed else "validate, after the sample", rest)
    console.rule("another detector")
    story.send("another detector", plan.drifted)
    while advance_drift(story.engine):
        pass
    console.print(drift_table(story.engine))
    return sample


def _play_labelled(story: Story, cases: Sequence[Case]) -> ScoredSample:
    sites = sorted(fingerprints_of(story.config))
    story.set_phase(sites, Phase.VALIDATE, "labelled radiographs of people: what can the pack do with them?")
    return _validate(story, story.fill_sample(sites, min(LABELLED, len(cases)), 1.0))


def _validate(story: Story, opened: Validation) -> ScoredSample:
    """Let the sample be read, end the validation, and show score and gate."""
    wrong = story.read_sample()
    ended, _ = end_validation(story.engine, SampleKind.RANDOM, by_hand("the sample is read"))
    sample = story.scored(ended)
    story.console.print(
        f"{sample.progress.read} of {opened.size} read by simulated readers, who err in {READER_ERROR:.1%} (here: "
        f"{wrong}) and are unsure in {READER_UNSURE:.1%}"
    )
    story.console.print(gate_table(sample))
    return sample


def _check_audit_log(engine: Engine) -> None:
    with readers(engine).connect() as c:
        found = check_log(c)
    if found.defect:
        raise Fault(ReasonCode.DEMO_ROLLOUT, f"the audit log is not whole: {found.defect}")


def by_hand(reason: str) -> Intervention:
    """Return the person of the demonstration, with a reason."""
    return Intervention(person="osteon demo", door=Door.COMMAND_LINE, reason=reason)


def is_flagged(message: bytes) -> bool:
    """Return whether an ORU message flags its study on the worklist: an abnormal flag in OBX-8."""
    return re.search(rb"\rOBX\|(?:[^|\r]*\|){7}AA?\|", message) is not None


def joined(steps: Sequence[Step]) -> Step:
    """Return several steps of one phase as one."""
    names = ("sent", "in_pacs", "reports", "under_evaluation", "flagged")
    return Step(name=steps[0].name, **{name: sum(getattr(step, name) for step in steps) for name in names})


def steps_table(steps: Sequence[Step]) -> Table:
    """Return the closing table: radiographs in each phase, and what left the box about them."""
    table = Table("phase", title="SYNTHETIC: drawn radiographs or a public data set, simulated readers")
    for name in ("radiographs", "objects in the PACS", "reports in the RIS", "under evaluation", "flagged"):
        table.add_column(name, justify="right")
    for step in steps:
        counts = (step.sent, step.in_pacs, step.reports, step.under_evaluation, step.flagged)
        table.add_row(step.name, *map(str, counts))
    return table


def gate_table(sample: ScoredSample) -> Table:
    """Return the criteria of the gate, for the whole sample and for each site."""
    table = Table("of", "criterion", "", "reason")
    gate = sample.gate
    for name, criteria in (("all", gate.overall), *((str(site.label), gate.sites[site]) for site in gate.sites)):
        for criterion in criteria:
            met = "[green]met[/]" if criterion.passed else "[yellow]not met[/]"
            table.add_row(name, criterion.need, met, criterion.sentence)
    for site in gate.sites:
        table.add_row(str(site.label), "goes live", "[green]yes[/]" if gate.passes(site) else "[yellow]no[/]", "")
    return table


def drift_table(engine: Engine) -> Table:
    """Return what each live site's newest full window of radiographs shows beside its reference."""
    table = Table("site", "radiographs", "figure", "PSI", "p", "", title="drift since the validation")
    with readers(engine).connect() as c:
        found = drift_of_sites(c)
    for site, windows in found.items():
        if not windows:
            table.add_row(str(site.label), "-", "", "", "", "no window is full yet")
        for window in windows:
            for one in window.comparisons:
                verdict = "[red]drifts[/]" if one.is_drift else "as before"
                table.add_row(
                    str(site.label), str(window.size), one.figure, f"{one.psi:.2f}", f"{one.p_value:.1g}", verdict
                )
    return table
