"""The grayscale softcopy presentation state: regions and text over the radiograph, in the window that was analysed.

Regions and text are two layers, so that a radiologist can switch off either. A presentation state replaces the grey
scale attributes of the image, so all of them are repeated here. This includes the polarity: over a MONOCHROME1 image
the Presentation LUT Shape is INVERSE; IDENTITY would show the negative.

References
----------
DICOM PS3.3 A.33.1 (Grayscale Softcopy Presentation State IOD), C.10.4, C.10.5, C.10.7, C.11.1, C.11.6, C.11.8,
C.11.10, C.11.11, C.11.12; PS3.4 annex N.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from highdicom.color import CIELabColor
from pydicom.dataset import Dataset
from pydicom.uid import UID, GrayscaleSoftcopyPresentationStateStorage

from appliance.dicom.part10 import with_file_meta
from appliance.dicom.reading.attributes import as_list, copied, text
from appliance.dicom.reading.shutter import EDGES
from appliance.dicom.reading.windows import is_negative, voi_lut_of
from appliance.domain.finding import Answer, Box
from appliance.domain.radiograph import Window
from appliance.domain.result import SECOND_READER, Result
from appliance.picture.palette import ANSWER_COLOURS

from .document import reference, sop_reference
from .patient_study import patient_study
from .series import anatomy, stamp
from .spacing import spacing
from .tracking import tracked

REGIONS, WORDS = "OSTEON REGIONS", "OSTEON WORDS"
LAYERS = {REGIONS: "Regions that the second reader analysed", WORDS: "Its answer for each region"}
"""Graphic layers (VR CS, at most 16 characters), from back to front."""

DASHES = 0xFF00FF00
"""Line Pattern, a bit for each unit of length (DICOM PS3.3 C.10.5.1.3)."""

LINES_PER_HEIGHT = 40
"""Image height in heights of a text box; the viewer chooses the size of the letters in it."""

GREYSCALE = ("MONOCHROME1", "MONOCHROME2")
"""Photometric interpretations that a grayscale presentation state applies to (DICOM PS3.3 A.33.1)."""


def is_presentable(source: Dataset) -> bool:
    """Return whether a grayscale presentation state may refer to `source`; it may not to a radiograph sent as RGB."""
    return text(source, "PhotometricInterpretation") in GREYSCALE


def presentation_state(source: Dataset, result: Result, window: Window) -> Dataset:
    """Make the presentation state for `result`, which must have findings; `part10_bytes` writes it.

    Parameters
    ----------
    window
        `StoredValues.window`, over the output of the Modality LUT; not used if the source has a VOI LUT.
    """
    image = reference(source)
    shown = sop_reference(image.sop_class_uid, image.sop_instance_uid)
    rows, columns = (int(text(source, keyword)) for keyword in ("Rows", "Columns"))
    ds = patient_study(source)
    stamp(ds, source, result, "pr", "regions")
    ds.SOPClassUID = GrayscaleSoftcopyPresentationStateStorage
    ds.SOPInstanceUID = result.uid("pr")
    ds.StudyInstanceUID = result.study_instance_uid
    ds.Modality = "PR"
    ds.update(anatomy(source, result))
    ds.ContentLabel = f"OSTEON REV {result.revision}" if result.revision > 1 else "OSTEON"
    ds.ContentDescription = SECOND_READER
    ds.ContentCreatorName = "Osteon^Second reader"
    ds.PresentationCreationDate = ds.ContentDate
    ds.PresentationCreationTime = ds.ContentTime
    del ds.ContentDate, ds.ContentTime  # not attributes of this IOD
    series = Dataset()
    series.SeriesInstanceUID = image.series_instance_uid
    series.ReferencedImageSequence = [shown]
    ds.ReferencedSeriesSequence = [series]
    ds.DisplayedAreaSelectionSequence = [_displayed_area(source, rows, columns)]
    ds.GraphicAnnotationSequence = list(_annotations(result, shown, rows, columns))
    ds.GraphicLayerSequence = list(_layers(result.answer))
    ds.update(_shutter(source))
    ds.update(_modality_lut(source))
    ds.SoftcopyVOILUTSequence = [_voi(source, window)]
    ds.PresentationLUTShape = "INVERSE" if is_negative(source) else "IDENTITY"
    return with_file_meta(ds)


def _displayed_area(source: Dataset, rows: int, columns: int) -> Dataset:
    """Return the item that shows the whole image, fitted to the screen (DICOM PS3.3 C.10.4)."""
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [columns, rows]
    area.PresentationSizeMode = "SCALE TO FIT"
    area.PresentationPixelAspectRatio = [1, 1]
    known = spacing(source)
    for keyword in ("PixelSpacing", "NominalScannedPixelSpacing"):
        high, wide = (round(1e4 * float(v)) for v in known.get(keyword) or (1, 1))
        if high > 0 and wide > 0 and high != wide:
            area.PresentationPixelAspectRatio = [high, wide]
    return area


def _annotations(result: Result, shown: Dataset, rows: int, columns: int) -> Iterator[Dataset]:
    """Return the items of both layers: an outline and a text for each finding."""
    regions = Dataset()
    words = Dataset()
    for layer, item in ((REGIONS, regions), (WORDS, words)):
        item.ReferencedImageSequence = [shown]
        item.GraphicLayer = layer
    regions.GraphicObjectSequence = []
    words.TextObjectSequence = []
    for region in tracked(result):
        box, answer = region.finding.box, region.finding.answer
        outline = _outline(box, answer, rows, columns)
        outline.TrackingID, outline.TrackingUID = region.identifier, region.uid
        regions.GraphicObjectSequence.append(outline)
        probability = region.finding.percent
        if answer is Answer.NEGATIVE:  # a bare "3%" would read as the certainty of the negative
            probability = f"probability of one {probability}"
        line = f"{region.identifier}: {answer.label}, {probability}"
        words.TextObjectSequence.append(_text_object(line, box, rows, columns))
    return iter((regions, words))


def _outline(box: Box, answer: Answer, rows: int, columns: int) -> Dataset:
    """Return a closed polyline: dashed for doubt, else solid."""
    x0, y0, x1, y1 = _clipped(box, rows, columns)
    item = Dataset()
    item.GraphicAnnotationUnits = "PIXEL"
    item.GraphicDimensions = 2
    item.NumberOfGraphicPoints = 5
    item.GraphicData = [x0, y0, x1, y0, x1, y1, x0, y1, x0, y0]
    item.GraphicType = "POLYLINE"
    item.GraphicFilled = "N"
    item.LineStyleSequence = [_line_style(answer)]
    return item


def _line_style(answer: Answer) -> Dataset:
    style = Dataset()
    style.PatternOnColorCIELabValue = _cielab(answer)
    style.PatternOnOpacity = 1.0
    style.LineThickness = 1.0 if answer is Answer.NEGATIVE else 2.0
    style.LineDashingStyle = "SOLID"
    if answer is Answer.DOUBT:
        style.LineDashingStyle = "DASHED"
        style.LinePattern = DASHES
        style.PatternOffOpacity = 0.0
    style.ShadowStyle = "OFF"
    style.ShadowOffsetX = style.ShadowOffsetY = 0.0
    style.ShadowColorCIELabValue = [0, 32896, 32896]  # black
    style.ShadowOpacity = 0.0
    return style


def _text_object(line: str, box: Box, rows: int, columns: int) -> Dataset:
    """Return a text above the box, or below it where there is no room; it may extend to the right edge of the image."""
    x0, y0, _, y1 = _clipped(box, rows, columns)
    height = max(1.0, rows / LINES_PER_HEIGHT)
    top = y0 - height if y0 > height else min(y1, rows - height)
    item = Dataset()
    item.BoundingBoxAnnotationUnits = "PIXEL"
    item.UnformattedTextValue = line
    item.BoundingBoxTopLeftHandCorner = [x0, max(top, 0.0)]
    item.BoundingBoxBottomRightHandCorner = [float(columns), max(top, 0.0) + height]
    item.BoundingBoxTextHorizontalJustification = "LEFT"
    return item


def _clipped(box: Box, rows: int, columns: int) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box.as_tuple()
    return min(x0, columns), min(y0, rows), min(x1, columns), min(y1, rows)


def _layers(answer: Answer) -> Iterator[Dataset]:
    for order, (name, description) in enumerate(LAYERS.items(), 1):
        layer = Dataset()
        layer.GraphicLayer = name
        layer.GraphicLayerOrder = order
        layer.GraphicLayerRecommendedDisplayGrayscaleValue = 0xFFFF
        layer.GraphicLayerRecommendedDisplayCIELabValue = _cielab(answer)
        layer.GraphicLayerDescription = description
        yield layer


def _cielab(answer: Answer) -> list[int]:
    return list(CIELabColor.from_rgb(*ANSWER_COLOURS[answer]).value)


def _shutter(source: Dataset) -> Dataset:
    """Return the complete shutters of the source, in black (DICOM PS3.3 C.7.6.11, C.11.12)."""
    made = Dataset()
    shapes = []
    for shape in as_list(source.get("ShutterShape")):
        edges = copied(source, EDGES.get(str(shape), ()))
        if edges and len(edges) == len(EDGES[str(shape)]):
            shapes.append(str(shape))
            made.update(edges)
    if shapes:
        made.ShutterShape = shapes
        made.ShutterPresentationValue = 0
    return made


def _modality_lut(source: Dataset) -> Dataset:
    """Return the Modality LUT module of the source; empty if it has none (DICOM PS3.3 C.11.1)."""
    made = Dataset()
    if source.get("ModalityLUTSequence"):
        table = _table(source, source.ModalityLUTSequence[0])
        table.ModalityLUTType = text(source.ModalityLUTSequence[0], "ModalityLUTType") or "US"
        made.ModalityLUTSequence = [table]
    elif "RescaleSlope" in source or "RescaleIntercept" in source:
        made.RescaleSlope = text(source, "RescaleSlope") or "1"
        made.RescaleIntercept = text(source, "RescaleIntercept") or "0"
        made.RescaleType = text(source, "RescaleType") or "US"
    return made


def _voi(source: Dataset, window: Window) -> Dataset:
    """Return the Softcopy VOI LUT item for the whole image: the VOI LUT of the source, or `window`."""
    item = Dataset()
    if (lut := voi_lut_of(source)) is not None:
        item.VOILUTSequence = [_table(source, lut, stretch=True)]
        return item
    item.WindowCenter, item.WindowWidth = f"{window.center:.10g}", f"{window.width:.10g}"
    if window.function != "LINEAR":
        item.VOILUTFunction = window.function
    return item


def _table(source: Dataset, lut: Dataset, *, stretch: bool = False) -> Dataset:
    """Convert a LUT to 16-bit little-endian words; only 8 and 16 bits are allowed here (DICOM PS3.3 C.11.1.1).

    Parameters
    ----------
    stretch
        Scale the output to 16 bits: that of a VOI LUT is relative to its depth, that of a Modality LUT is a quantity.
    """
    entries, first, bits = (int(v) for v in lut.LUTDescriptor)
    data = lut.LUTData
    if isinstance(data, bytes):
        packed = bits <= 8 and len(data) <= (entries or 65536) + 1
        word = "<u2" if _is_little_endian(source) else ">u2"
        levels = np.frombuffer(data, np.uint8 if packed else word)
    else:
        levels = np.atleast_1d(np.asarray(data, np.uint16))
    levels = levels[: entries or 65536].astype(np.uint32)
    if stretch:
        levels = np.minimum(levels * 0xFFFF // (2**bits - 1), 0xFFFF)
    made = Dataset()
    made.add_new("LUTDescriptor", "SS" if first < 0 else "US", [entries, first, 16])
    made.LUTExplanation = text(lut, "LUTExplanation")
    made.add_new("LUTData", "OW", levels.astype("<u2").tobytes())
    return made


def _is_little_endian(source: Dataset) -> bool:
    meta = getattr(source, "file_meta", None)
    return meta is None or UID(meta.get("TransferSyntaxUID") or "1.2.840.10008.1.2").is_little_endian
