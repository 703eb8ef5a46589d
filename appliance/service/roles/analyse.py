"""The analyse role: the only one that touches the GPU."""

from __future__ import annotations

from sqlalchemy import Engine

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.job import Settling
from appliance.gpu import GpuFigures, figures, write_figures
from appliance.service.analyser import Analyser
from appliance.service.artefacts import Renderer
from appliance.service.instance_reader import Headers, Reader
from appliance.service.pipeline_assembly import assemble_workbench
from appliance.service.reporter import Reporter
from appliance.service.systemd_notify import start_notifier
from appliance.service.worker import POLL_S, owner
from appliance.storage.instances import AnalysisQueue
from appliance.storage.spool import FileSpool
from appliance.storage.studies import StudyQueue

BATCH = {"cpu": 1, "gpu": 8}
"""Radiographs that are inferred together: on a GPU, so that what is waited for once a batch is little for each; no GPU
was asked yet how many pay. A CPU takes no less time for eight together than one by one (docs/performance.md)."""


class AnalyseRole:
    """Radiographs as they come, by the engines of one pack; and the reports of studies that have settled."""

    name = "analyse"
    idle_s = POLL_S

    def __init__(self, config: Configuration, engine: Engine) -> None:
        self._workbench = assemble_workbench(config, start_notifier())
        self._state_dir = config.state_dir
        queue = AnalysisQueue(engine, owner(self.name), most_attempts=config.analyse.attempts)
        queue.release()
        spool = FileSpool(config.spool_dir)
        self._reader, self._headers = Reader(self._workbench.pipeline), Headers(config.analyse)
        readers = (self._reader, self._headers)
        batch = config.analyse.batch or BATCH[self._workbench.compute.device]
        settling = Settling(settle_s=config.study.settle_s, longest_s=config.study.longest_s)
        renderer = Renderer(destinations=config.destinations, put=spool.put, draw=self._workbench.draw)
        self._analyser = Analyser(engine, queue, spool, *readers, renderer, settling, batch)
        settled = StudyQueue(engine, owner(self.name), most_attempts=config.analyse.attempts)
        settled.release()
        self._reporter = Reporter(engine, settled, spool, self._headers, renderer)

    def step(self) -> bool:
        reported = self._reporter.step()
        return self._analyser.step() or reported

    def detail(self) -> str:
        made_by = self._workbench.pipeline.provenance
        on = f"{made_by.compute}: {self._workbench.compute.reason}"
        gpu = self._gpu().sentence()
        return f"pack {made_by.model} on {on}; {self._analyser.done} analysed since start" + (
            f"; GPU {gpu}" * bool(gpu)
        )

    def _gpu(self) -> GpuFigures:
        """How the GPU is, left for the status role too; nothing where none is used."""
        if self._workbench.compute.device == "cpu":
            return GpuFigures()
        seen = figures()
        write_figures(self._state_dir, seen, now())
        return seen

    def close(self) -> None:
        self._reader.close()
        self._headers.close()
