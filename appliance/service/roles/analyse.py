"""The analyse role: the only one that touches the GPU."""

from __future__ import annotations

import logging

from sqlalchemy import Engine

from appliance.clock import read_clocks
from appliance.config import Configuration
from appliance.domain.job import Settling
from appliance.domain.phase import Phase
from appliance.gpu import GpuFigures, figures, write_figures
from appliance.service.analyser import Analyser
from appliance.service.artefacts import Renderer
from appliance.service.gpu_watch import GpuWatch
from appliance.service.instance_reader import HeaderReader
from appliance.service.isolated_pool import default_count
from appliance.service.pipeline_assembly import assemble_workbench, fingerprints_of
from appliance.service.recheck import recheck
from appliance.service.rejection_notes import RejectionNotes
from appliance.service.render_pool import RenderPool, RendersHere, process_count
from appliance.service.reporter import Reporter
from appliance.service.spool_reader import SpoolReader
from appliance.service.superseding import Superseding
from appliance.service.systemd_notify import notifier, start_notifier
from appliance.service.trials import Trials
from appliance.service.worker import owner
from appliance.storage.instances import AnalysisQueue
from appliance.storage.phases import PhaseBook, enter_sites
from appliance.storage.spool import FileSpool
from appliance.storage.studies import StudyQueue
from appliance.storage.trials import TrialQueue, TrialStore
from appliance.storage.wakeups import Bell

log = logging.getLogger(__name__)

BATCH_SIZE = {"cpu": 1, "gpu": 8}
"""Most radiographs inferred together, by device. On a GPU a batch shares the waiting time; the size is not yet measured
on one. A CPU takes as long for eight together as for eight one by one (docs/performance.md)."""


class AnalyseRole:
    """Analyses radiographs with one pack, and reports on studies that have settled."""

    name = "analyse"

    def __init__(self, config: Configuration, engine: Engine) -> None:
        known = fingerprints_of(config)
        self._workbench = assemble_workbench(config, start_notifier())
        self._gpu_watch = GpuWatch(config, self._workbench.compute)
        self._state_dir = config.state_dir
        self.bell = Bell().listen(engine, self.name)
        analysis_queue = AnalysisQueue(engine, owner(self.name), most_attempts=config.analyse.attempts)
        study_queue = StudyQueue(engine, owner(self.name), most_attempts=config.analyse.attempts)
        trial_queue = TrialQueue(engine, owner(self.name))
        self._queues = (analysis_queue, study_queue)
        for queue in (*self._queues, trial_queue):
            queue.release()
        spool = FileSpool(config.spool_dir)
        phases = PhaseBook(engine=engine, fingerprints=known)
        if set_back := enter_sites(engine, known, Phase(config.rollout.first_phase)):
            names = ", ".join(set_back)
            log.warning("in shadow until a person sets the phase, since their engines have changed: %s", names)
        settling = Settling(settle_s=config.study.settle_s, longest_s=config.study.longest_s)
        self._reader = SpoolReader(self._workbench.pipeline, spool, config.analyse.decoders or default_count())
        recheck(engine, self._reader, self._workbench.pipeline.provenance, known, start_notifier())
        self._headers = HeaderReader(config.analyse)
        renderer = Renderer(destinations=config.destinations, put=spool.put, draw=self._workbench.draw)
        count = process_count()
        self._pool = RenderPool(count, config.destinations, config.spool_dir, renderer.draw) if count else None
        self._analyser = Analyser(
            engine,
            analysis_queue,
            self._reader,
            self._pool or RendersHere(renderer),
            RejectionNotes(analysis_queue, spool, self._headers, settling),
            settling=settling,
            phases=phases,
            batch_size=config.analyse.batch or BATCH_SIZE[self._workbench.compute.device],
            notify=notifier(),
        )
        self._reporter = Reporter(engine, study_queue, spool, self._headers, renderer, phases)
        self._superseding = Superseding(engine, spool, self._headers, config.destinations)
        self._trials = Trials(
            trial_queue,
            TrialStore(engine, config.trials_dir),
            self._reader.read,
            rules=config.analyse,
            draw=self._workbench.draw,
            wake=self.bell.ring,
        )

    def step(self) -> bool:
        """Report on one settled study, analyse one batch, and reject replaced objects; return False without work.

        A trial has its turn when nothing else is due.
        """
        self._gpu_watch.check()
        reported = self._reporter.step()
        is_busy = any((self._analyser.step(), self._superseding.step(), reported))
        return is_busy or self._trials.step()

    @property
    def rest_s(self) -> float:
        """Seconds until a job is due that waits for its time."""
        return min(self._trials.rest_s, *(queue.rest_s for queue in self._queues))

    def detail(self) -> str:
        """Return pack, hardware with the reason for its choice, and the count of analyses."""
        provenance = self._workbench.pipeline.provenance
        sentence = (
            f"pack {provenance.model} on {provenance.compute}: {self._workbench.compute.reason}; "
            f"{self._analyser.done} analysed since start"
        )
        gpu = self._gpu_figures().sentence()
        return f"{sentence}; GPU {gpu}" if gpu else sentence

    def close(self) -> None:
        """Give back what is being rendered, and end the child processes."""
        self.bell.close()
        self._gpu_watch.close()
        self._trials.close()
        self._analyser.close()
        if self._pool:
            self._pool.close()
        self._reader.close()
        self._headers.close()

    def _gpu_figures(self) -> GpuFigures:
        """Measure the GPU, and leave the figures for the status role; none without a GPU."""
        compute = self._workbench.compute
        if compute.device == "cpu":
            if compute.has_unused_gpu:
                write_figures(self._state_dir, GpuFigures(unused=compute.reason), read_clocks())
            return GpuFigures()
        measured = figures()
        write_figures(self._state_dir, measured, read_clocks())
        return measured
