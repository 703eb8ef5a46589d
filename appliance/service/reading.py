"""From bytes to an analysis: what the analyse role and `osteon read` do alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from appliance.analysis.eligibility import UNANSWERED, why_not
from appliance.analysis.pipeline import Analysis, Pipeline
from appliance.config import Analyse
from appliance.dicom.patient_study import identity_digest
from appliance.dicom.reader import header_from_dataset, radiograph_from_dataset, read_dataset
from appliance.domain.finding import NotAnalysed
from appliance.domain.radiograph import Header, Radiograph, StoredValues, Window
from appliance.errors import Rejected
from appliance.preprocessing.reference import displayed

from .isolation import Isolated

PIXEL_DATA = 0x7FE00010

HEADER_ALONE = NotAnalysed(code="header_alone", reason="its pixels are not asked for")
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
    """Reads instances in a process that may die, and analyses them in this one."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._examine = Isolated(examine)

    def examine(self, load: Callable[[], bytes], calling_ae_title: str = "") -> Examined:
        """Parse and decode the instance that `load` gives in the other process, whatever it does to that.

        Raises
        ------
        Rejected
            If there is nobody to answer: the bytes are no instance, or an object that is none of ours.
        Transient
            If the process was killed by somebody else.
        """
        rules = self._pipeline.rules
        try:
            examined = self._examine(load, calling_ae_title, rules)
        except Rejected as error:
            if error.code != "decoder_died":
                raise
            reason = NotAnalysed(code=error.code, reason=error.reason)
            examined = self._examine(load, calling_ae_title, rules, reason)
        if examined.reason and examined.reason.code in UNANSWERED:
            raise Rejected(examined.reason.code, examined.reason.reason)
        return examined

    def expect(self, load: Callable[[], bytes], calling_ae_title: str) -> None:
        """The next call of `examine` is for this instance, most likely: the other process can begin."""
        self._examine.expect(load, calling_ae_title, self._pipeline.rules)

    def read(self, examined: Examined) -> Reading:
        """Stages 1 to 3, or the reason why not."""
        if examined.radiograph is None:
            assert examined.reason is not None
            result = self._pipeline.not_analysed(examined.header, examined.reason)
            return Reading(source=examined.source, analysis=Analysis(result=result))
        analysis = self._pipeline.analyse(examined.radiograph)
        stored = examined.radiograph.stored
        return Reading(source=examined.source, analysis=analysis, grey=displayed(stored), window=stored.window)

    def close(self) -> None:
        """End the reading process."""
        self._examine.close()


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
