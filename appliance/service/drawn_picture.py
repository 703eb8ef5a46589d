"""The picture of a radiograph for a reader: it meets bytes from the network, and so runs in a child process."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from appliance.analysis.traits import traits_of
from appliance.config import PresetWindow
from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset, read_parts
from appliance.domain.radiograph import Header
from appliance.domain.validation import DrawnPicture
from appliance.errors import Rejected
from appliance.preprocessing.reference import displayed

from .examined_instance import Load


def picture_of(load: Load, presets: Sequence[PresetWindow], reason: str = "") -> DrawnPicture:
    """Return the radiograph as a viewer displays it, with the few facts that a reader needs.

    Parameters
    ----------
    reason
        Why its pixels are not to be decoded, for example that they ended a process before.

    Raises
    ------
    Rejected
        If the bytes are no DICOM instance, or not in the spool.
    """
    ds, _ = read_parts(load())
    header = header_from_dataset(ds)
    if not reason:
        try:
            pixels = displayed(radiograph_from_dataset(ds, header, presets).stored)
        except Rejected as error:
            reason = error.reason
        else:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG", compress_level=1)
            return _with_facts(header, file.getvalue(), "")
    return _with_facts(header, b"", reason)


def _with_facts(header: Header, png: bytes, reason: str) -> DrawnPicture:
    traits = traits_of(header, "", "", None)
    return DrawnPicture(
        png=png,
        reason=reason,
        side=header.laterality,
        view=traits.view,
        age_band=traits.age_band,
        has_burned_in_text=traits.has_burned_in_text,
    )
