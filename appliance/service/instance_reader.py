"""From bytes to an analysis: what the analyse role and `osteon read` do alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from appliance.analysis.eligibility import UNANSWERED, why_not
from appliance.analysis.pipeline import Analysis, Pipeline
from appliance.config import Analyse
from appliance.dicom.objects.patient_study import identity_digest
from appliance.dicom.part10 import PIXEL_DATA
from appliance.dicom.reading.reader import LARGEST_PX, header_from_dataset, radiograph_from_dataset, read_dataset
from appliance.domain.finding import NotAnalysed
from appliance.domain.radiograph import Header, Radiograph, StoredValues, Window
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected
from appliance.preprocessing.reference import displayed

from .isolation import Isolated

TOGETHER_PX = LARGEST_PX
"""Radiographs that are in hand together have no more pixels than one may have, and take as much memory."""

Load = Callable[[], bytes]
"""Gives the bytes of an instance; two that are equal give the same."""

HEADER_ALONE = NotAnalysed(code=ReasonCode.HEADER_ALONE, reason="its pixels are not asked for")
"""The reason with which `examine` decodes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """An instance, parsed and decoded, or why it is not analysed: `radiograph` or `reason`.

    Attributes
    ----------
    source
        Data set without its pixels.
    digest
        SHA-256 of what an answer depends on, identity and pixels (else the reason): the same in every transfer syntax.
    """

    source: Dataset
    header: Header
    digest: str
    radiograph: Radiograph | None = None
    reason: NotAnalysed | None = None

    @property
    def size_px(self) -> int:
        """Pixels that were decoded."""
        return self.radiograph.stored.pixels.size if self.radiograph else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An analysis with what its answers are rendered from.

    Attributes
    ----------
    grey
        (H, W) uint8 as a viewer shows the radiograph; None if there are no usable pixels.
    window
        By which it shows it; None as above.
    """

    source: Dataset
    analysis: Analysis
    grey: NDArray[np.uint8] | None = field(default=None, repr=False)
    window: Window | None = None


class Reader:
    """Reads instances in a process that may die, also before their turn, and analyses them in this one.

    A thread of its own waits for that process, for one instance after the other.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._examine = Isolated(examine)
        self._thread = ThreadPoolExecutor(1, "reading")
        self._ahead: dict[tuple[Load, str], Future[Examined | None]] = {}

    def examine(self, load: Load, calling_ae_title: str = "") -> Examined:
        """Parse and decode the instance that `load` gives in the other process, whatever it does to that.

        Raises
        ------
        Rejected
            If there is nobody to answer: the bytes are no instance, or an object that is none of ours.
        Transient
            If the process was killed by somebody else.
        """
        begun = self._ahead.pop((load, calling_ae_title), None)
        if begun and (examined := begun.result()):
            return examined
        for instance, later in list(self._ahead.items()):
            if later.cancel():  # it has not begun, and is not first in the queue after all
                del self._ahead[instance]
        return self._thread.submit(self._examined, load, calling_ae_title).result()

    def _examined(self, load: Load, calling_ae_title: str) -> Examined:
        rules = self._pipeline.rules
        try:
            examined = self._examine(load, calling_ae_title, rules)
        except Rejected as error:
            if error.code != ReasonCode.DECODER_DIED:
                raise
            reason = NotAnalysed(code=error.code, reason=error.reason)
            examined = self._examine(load, calling_ae_title, rules, reason)
        if examined.reason and examined.reason.code in UNANSWERED:
            raise Rejected(examined.reason.code, examined.reason.reason)
        return examined

    def look_ahead(self, coming: Sequence[tuple[Load, str]]) -> None:
        """Have the instances that come next read while this thread does something else; any others are forgotten."""
        for instance in self._ahead.keys() - set(coming):
            self._ahead.pop(instance).cancel()
        for instance in coming:
            begun = self._ahead.get(instance)
            if begun is None or (begun.done() and not begun.exception() and begun.result() is None):
                self._ahead[instance] = self._thread.submit(self._unless_full, *instance)

    def read_ahead(self, load: Load, calling_ae_title: str) -> Examined | None:
        """What was read of an instance before its turn, if that was and went well; `examine` gives it away."""
        begun = self._ahead.get((load, calling_ae_title))
        return _read_by(begun) if begun else None

    def _unless_full(self, load: Load, calling_ae_title: str) -> Examined | None:
        """Nothing if what is read ahead has as many pixels as there may be."""
        read = [_read_by(begun) for begun in list(self._ahead.values())]  # a list at once: it is another thread's
        held_px = sum(examined.size_px for examined in read if examined)
        return self._examined(load, calling_ae_title) if held_px < TOGETHER_PX else None

    def read(self, examined: Examined) -> Reading:
        """Stages 1 to 3, or the reason why not."""
        return self.read_all([examined])[0]

    def read_all(self, several: Sequence[Examined]) -> list[Reading]:
        """As `read`, for all of them at once."""
        analyses = iter(self._pipeline.analyse_all([e.radiograph for e in several if e.radiograph]))
        return [self._reading(examined, analyses) for examined in several]

    def _reading(self, examined: Examined, analyses: Iterator[Analysis]) -> Reading:
        if examined.radiograph is None:
            assert examined.reason is not None
            result = self._pipeline.not_analysed(examined.header, examined.reason)
            return Reading(source=examined.source, analysis=Analysis(result=result))
        stored = examined.radiograph.stored
        return Reading(source=examined.source, analysis=next(analyses), grey=displayed(stored), window=stored.window)

    def close(self) -> None:
        """End the reading process, whatever it reads."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._examine.interrupt()
        self._thread.shutdown()
        self._examine.close()


def _read_by(begun: Future[Examined | None]) -> Examined | None:
    """What came of it by now."""
    return begun.result() if begun.done() and not begun.cancelled() and not begun.exception() else None


class Headers:
    """Data sets without pixels, read in a process of its own that may die: it never waits for a decoder."""

    def __init__(self, rules: Analyse) -> None:
        self._rules = rules
        self._examine = Isolated(examine)

    def source(self, load: Callable[[], bytes], calling_ae_title: str = "") -> Dataset:
        """The data set of the instance that `load` gives; raises as `Reader.examine`."""
        return self._examine(load, calling_ae_title, self._rules, HEADER_ALONE).source

    def close(self) -> None:
        """End the process."""
        self._examine.close()


def examine(
    load: Callable[[], bytes], calling_ae_title: str, rules: Analyse, known: NotAnalysed | None = None
) -> Examined:
    """Parse an instance and, if it is for us, decode it; `known` is a reason for which it is not to be decoded again.

    Raises
    ------
    Rejected
        If the bytes are no instance.
    """
    ds = read_dataset(load())
    source = _without_pixels(ds)
    header = header_from_dataset(ds, calling_ae_title)
    reason, radiograph = known or why_not(header, rules), None
    if reason is None:
        try:
            radiograph = radiograph_from_dataset(ds, header, rules.windows)
        except Rejected as error:
            reason = NotAnalysed(code=error.code, reason=error.reason)
    return Examined(
        source=source,
        header=header,
        digest=_digest(ds, radiograph.stored if radiograph else reason),
        radiograph=radiograph,
        reason=reason,
    )


def _without_pixels(ds: Dataset) -> Dataset:
    """The elements as they were read: values that pydicom has made cannot all be pickled, bytes can."""
    tags = ds.keys()  # iterating over the data set itself would convert its elements
    made = Dataset({tag: ds.get_item(tag, keep_deferred=True) for tag in tags if tag != PIXEL_DATA})
    is_implicit_vr, is_little_endian = ds.original_encoding
    made.set_original_encoding(is_implicit_vr, is_little_endian, ds.original_character_set)
    made.file_meta = ds.file_meta
    return made


def _digest(ds: Dataset, seen: StoredValues | NotAnalysed | None) -> str:
    """Of identity, values and polarity; not of the window, which archives add or change."""
    sha = hashlib.sha256(identity_digest(ds).encode())
    if isinstance(seen, StoredValues):
        sha.update(repr((seen.pixels.shape, seen.slope, seen.intercept, seen.invert)).encode())
        sha.update(seen.pixels.data)
    elif seen:
        sha.update(seen.code.encode())
    return sha.hexdigest()
