"""Examined instances: parsed, and decoded if they are to be analysed, else with the reason.

`examine` meets bytes from the network, so it runs in a child process: see `isolation`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.dataset import Dataset

from appliance.analysis.eligibility import UNANSWERED, why_not
from appliance.config import Analyse
from appliance.dicom.objects.patient_study import identity_digest
from appliance.dicom.part10 import PIXEL_DATA
from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset, read_parts
from appliance.domain.finding import NotAnalysed
from appliance.domain.radiograph import Header, Radiograph, StoredValues
from appliance.domain.reason import ReasonCode
from appliance.domain.sentence import Sentence
from appliance.errors import Rejected

Load = Callable[[], bytes]
"""Returns the bytes of an instance; has to be picklable, since the child process calls it."""

HEADER_ALONE = NotAnalysed(code=ReasonCode.HEADER_ALONE, reason=Sentence.of("its pixels are not asked for"))
"""Reason for which `examine` decodes no pixels when only the header is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A parsed instance: decoded in `radiograph`, or not analysed for `reason`.

    Attributes
    ----------
    source
        Data set without its pixels.
    digest
        SHA-256 of the content that a result depends on: identity and pixels, or identity and reason. It is the same in
        every transfer syntax.
    """

    source: Dataset
    header: Header
    digest: str
    radiograph: Radiograph | None = None
    reason: NotAnalysed | None = None

    @property
    def size_px(self) -> int:
        """Number of decoded pixels."""
        return self.radiograph.stored.pixels.size if self.radiograph else 0


def examine(load: Load, calling_ae_title: str, rules: Analyse, known: NotAnalysed | None = None) -> Examined:
    """Parse an instance, and decode its pixels if `rules` let it be analysed.

    Parameters
    ----------
    known
        Reason for which its pixels are not to be decoded, for example that they ended a process before.

    Raises
    ------
    Rejected
        If the bytes are no DICOM instance, or too broken to tell patient and study.
    """
    ds, defect = read_parts(load())
    source = _without_pixels(ds)
    header = header_from_dataset(ds, calling_ae_title)
    reason = why_not(header, rules)
    if defect and (reason is None or reason.code not in UNANSWERED):
        reason = defect
    reason = known or reason
    radiograph = None
    if reason is None:
        try:
            radiograph = radiograph_from_dataset(ds, header, rules.windows)
        except Rejected as error:
            reason = NotAnalysed(code=error.code, reason=error.sentence)
    return Examined(
        source=source,
        header=header,
        digest=_digest(ds, radiograph.stored if radiograph else reason),
        radiograph=radiograph,
        reason=reason,
    )


def _without_pixels(ds: Dataset) -> Dataset:
    """Copy `ds` without its pixels, elements still raw: raw bytes can be pickled, some of pydicom's values cannot."""
    tags = ds.keys()  # iterating over the data set itself would convert its elements
    made = Dataset({tag: ds.get_item(tag, keep_deferred=True) for tag in tags if tag != PIXEL_DATA})
    is_implicit_vr, is_little_endian = ds.original_encoding
    made.set_original_encoding(is_implicit_vr, is_little_endian, ds.original_character_set)
    made.file_meta = ds.file_meta
    return made


def _digest(ds: Dataset, content: StoredValues | NotAnalysed | None) -> str:
    """Digest identity, values and polarity; the window is left out, since archives add or change it."""
    sha = hashlib.sha256(identity_digest(ds).encode())
    if isinstance(content, StoredValues):
        sha.update(repr((content.pixels.shape, content.slope, content.intercept, content.invert)).encode())
        sha.update(content.pixels.data)
    elif content:
        sha.update(content.code.encode())
    return sha.hexdigest()
