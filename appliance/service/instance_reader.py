"""Readers of instances, with child processes that may die: `Reader` for analysis, `HeaderReader` for headers.

The analyse role and ``osteon read`` share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pydicom.dataset import Dataset

from appliance.analysis.eligibility import UNANSWERED
from appliance.analysis.pipeline import Pipeline
from appliance.config import Analyse
from appliance.domain.finding import NotAnalysed
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.ports import Analysis
from appliance.preprocessing.reference import displayed

from .examined_instance import HEADER_ALONE, Examined, Load, examine
from .isolated_pool import IsolatedPool
from .isolation import Isolated
from .reading import Reading

T = TypeVar("T")


class Reader:
    """Examines instances in child processes and analyses them in this one.

    One thread waits for each child process. Instances are begun in the order in which they are asked for.

    Attributes
    ----------
    processes
        Number of child processes.
    """

    def __init__(self, pipeline: Pipeline, processes: int = 1) -> None:
        self.processes = processes
        self._pipeline = pipeline
        self._examine = IsolatedPool(examine, processes)
        self._threads = ThreadPoolExecutor(processes, "reading")

    def examine(self, load: Load, calling_ae_title: str = "") -> Examined:
        """Parse and decode the instance that `load` returns, in a child process.

        Raises
        ------
        Rejected
            If it gets no answer: the bytes are no instance, or the instance is no radiograph.
        Transient
            ``decoder_killed`` if another process ended the child.
        """
        return self._submit(self._examine_now, load, calling_ae_title).result()

    def read(self, examined: Examined) -> Reading:
        """Run stages 1 to 3 on a decoded radiograph; return the reason if it is not analysed."""
        return self.read_all([examined])[0]

    def read_all(self, several: Sequence[Examined]) -> list[Reading]:
        """Run `read` on several radiographs as one batch."""
        analyses = iter(self._pipeline.analyse_all([e.radiograph for e in several if e.radiograph]))
        return [self._reading(examined, analyses) for examined in several]

    def close(self) -> None:
        """End the child processes, also in the middle of an instance."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._examine.interrupt()
        self._threads.shutdown()
        self._examine.close()

    def _submit(self, function: Callable[..., T], *arguments: object) -> Future[T]:
        """Queue a call for one of the threads that wait for the child processes."""
        return self._threads.submit(function, *arguments)

    def _examine_now(self, load: Load, calling_ae_title: str) -> Examined:
        """Examine an instance, on a thread; if its pixels end the child process, examine its header alone."""
        rules = self._pipeline.rules
        try:
            examined = self._examine(load, calling_ae_title, rules)
        except Rejected as error:
            if error.code != ReasonCode.DECODER_DIED:
                raise
            reason = NotAnalysed(code=error.code, reason=error.sentence)
            examined = self._examine(load, calling_ae_title, rules, reason)
        if examined.reason and examined.reason.code in UNANSWERED:
            raise Rejected(examined.reason.code, examined.reason.reason)
        return examined

    def _reading(self, examined: Examined, analyses: Iterator[Analysis]) -> Reading:
        if examined.radiograph is None:
            assert examined.reason is not None
            result = self._pipeline.not_analysed(examined.header, examined.reason)
            return Reading(source=examined.source, analysis=Analysis(result=result))
        stored = examined.radiograph.stored
        return Reading(source=examined.source, analysis=next(analyses), grey=displayed(stored), window=stored.window)


class HeaderReader:
    """Reads data sets without pixels, in a child process of its own that never waits for a decoder."""

    def __init__(self, rules: Analyse) -> None:
        self._rules = rules
        self._examine = Isolated(examine)

    def source(self, load: Load, calling_ae_title: str = "") -> Dataset:
        """Return the data set of the instance that `load` returns; raises as `Reader.examine`."""
        return self._examine(load, calling_ae_title, self._rules, HEADER_ALONE).source

    def close(self) -> None:
        """End the child process."""
        self._examine.close()
