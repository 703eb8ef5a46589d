"""The grayscale softcopy presentation state: regions and text over the radiograph, in the window that was analysed.

Areas that were read, marks of suspicions and text are layers, so that a radiologist can switch off each. A
presentation state replaces the grey scale attributes of the image, so all of them are repeated here. This includes
the polarity: over a MONOCHROME1 image the Presentation LUT Shape is INVERSE; IDENTITY would show the negative.

References
----------
DICOM PS3.3 A.33.1 (Grayscale Softcopy Presentation State IOD), C.10.4, C.10.5, C.10.7, C.11.1, C.11.6, C.11.8,
C.11.10, C.11.11, C.11.12; PS3.4 annex N.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, GrayscaleSoftcopyPresentationStateStorage

from appliance.dicom.part10 import with_file_meta
from appliance.dicom.reading.attributes import copied, text
from appliance.dicom.reading.lookup_table import LookupTable
from appliance.dicom.reading.modality import modality_of
from appliance.dicom.reading.shutter import EDGES, whole_shutters
from appliance.dicom.reading.windows import is_negative, voi_lut_of
from appliance.domain.finding import Answer, Box, Verdict
from appliance.domain.radiograph import Window
from appliance.domain.result import SECOND_READER, Result
from appliance.domain.sentence import Sentence
from appliance.picture.palette import ANSWER_COLOURS
from appliance.words import ENGLISH, Language

from .document import reference, sop_reference
from .mark import box_outline, mark_outline
from .patient_study import patient_study
from .report_sentences import limits, unread_sentence, verdict_sentence, withheld_sentence
from .series import anatomy, evaluation_warning, stamp
from .spacing import spacing
from .tracking import tracked

REGIONS, MARKS, WORDS = "OSTEON REGIONS", "OSTEON MARKS", "OSTEON WORDS"
LAYERS = {
    REGIONS: Sentence.of("Regions that the second reader read"),
    MARKS: Sentence.of("Its suspicions: outline and hottest point"),
    WORDS: Sentence.of("Its answers, and everything that it did not read"),
}
"""Graphic layers (VR CS, at most 16 characters), from back to front."""

NEUTRAL = Verdict.NEGATIVE
"""Verdict in whose thin line every region is drawn: only a mark has the colour of a suspicion."""

DASHES = 0xFF00FF00
"""Line Pattern, a bit for each unit of length (DICOM PS3.3 C.10.5.1.3)."""

LONGEST_TEXT = 1024
"""Longest Unformatted Text Value (VR ST), in characters."""

LINES_PER_HEIGHT = 40
"""Image height in heights of a text box; the viewer chooses the size of the letters in it."""

GREYSCALE = ("MONOCHROME1", "MONOCHROME2")
"""Photometric interpretations that a grayscale presentation state applies to (DICOM PS3.3 A.33.1)."""


def is_presentable(source: Dataset) -> bool:
    """Return whether a grayscale presentation state may refer to `source`; it may not to a radiograph sent as RGB."""
    return text(source, "PhotometricInterpretation") in GREYSCALE


def presentation_state(source: Dataset, result: Result, window: Window, language: Language = ENGLISH) -> Dataset:
    """Make the presentation state for `result`, which must have findings; `part10_bytes` writes it.

    Parameters
    ----------
    window
        `StoredValues.window`, over the output of the Modality LUT, or of the VOI LUT of the source.
    """
    image = reference(source)
    shown = sop_reference(image.sop_class_uid, image.sop_instance_uid)
    rows, columns = (int(text(source, keyword)) for keyword in ("Rows", "Columns"))
    ds = patient_study(source)
    stamp(ds, source, result, "pr", "regions", language)
    ds.SOPClassUID = GrayscaleSoftcopyPresentationStateStorage
    ds.SOPInstanceUID = result.uid(language.kind("pr"))
    ds.StudyInstanceUID = result.study_instance_uid
    ds.Modality = "PR"
    ds.update(anatomy(source, result))
    ds.ContentLabel, ds.ContentDescription = _label(result), language.say(SECOND_READER)
    if result.is_evaluation:
        ds.ContentDescription = evaluation_warning(language)
    ds.ContentCreatorName = "Osteon^Second reader"
    ds.PresentationCreationDate = ds.ContentDate
    ds.PresentationCreationTime = ds.ContentTime
    del ds.ContentDate, ds.ContentTime  # not attributes of this IOD
    series = Dataset()
    series.SeriesInstanceUID = image.series_instance_uid
    series.ReferencedImageSequence = [shown]
    ds.ReferencedSeriesSequence = [series]
    ds.DisplayedAreaSelectionSequence = [_displayed_area(source, rows, columns)]
    ds.GraphicAnnotationSequence = list(_annotations(result, source, shown, rows, columns, language))
    ds.GraphicLayerSequence = list(_layers(result.answer, language))
    ds.update(_shutter(source))
    ds.update(_modality_lut(source))
    ds.SoftcopyVOILUTSequence = [_voi(source, window)]
    ds.PresentationLUTShape = "INVERSE" if is_negative(source) else "IDENTITY"
    return with_file_meta(ds)


def _label(result: Result) -> str:
    """Return Content Label (VR CS, at most 16 characters)."""
    if result.is_evaluation:
        return f"OSTEON EVAL R{result.revision}" if result.revision > 1 else "OSTEON EVAL"
    return f"OSTEON REV {result.revision}" if result.revision > 1 else "OSTEON"


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


def _annotations(
    result: Result, source: Dataset, shown: Dataset, rows: int, columns: int, language: Language
) -> Iterator[Dataset]:
    """Yield the items of the layers: outlines of the regions and of the suspicions, and the text."""
    regions, marks, texts = [], [], []
    for region in tracked(result, language):
        finding, verdict = region.finding, region.finding.verdict
        area = _polyline(box_outline(finding.box, source), NEUTRAL)
        area.TrackingID, area.TrackingUID = region.area, region.uid
        regions.append(area)
        if verdict.is_suspicious:
            mark = _polyline(mark_outline(finding, source), verdict)
            mark.TrackingID, mark.TrackingUID = region.identifier, region.mark_uid
            marks += [mark, _point(finding.peak, verdict, rows, columns)]
        texts.append(_text_object(language.say(verdict_sentence(finding)), finding.box, rows, columns))
    texts += [_line_object(line, number, rows, columns) for number, line in enumerate(_lines(result, language))]
    for layer, keyword, items in (
        (REGIONS, "GraphicObjectSequence", regions),
        (MARKS, "GraphicObjectSequence", marks),
        (WORDS, "TextObjectSequence", texts),
    ):
        if items:
            item = Dataset()
            item.ReferencedImageSequence = [shown]
            item.GraphicLayer = layer
            setattr(item, keyword, items)
            yield item


def _lines(result: Result, language: Language) -> Iterator[str]:
    """Yield the sentences at the top: evaluation, second reader, answer, parts that were not read, caveats."""
    yield from map(language.say, result.heading)
    yield language.notice
    yield language.say(result.answer.label).upper()
    unread = (unread_sentence(region) for region in result.not_read)
    withheld = (withheld_sentence(f) for f in result.findings if f.verdict is Verdict.NOT_CLEARED)
    yield from dict.fromkeys(map(language.say, (*unread, *withheld, *limits(result))))


def _polyline(outline: NDArray[np.float64], verdict: Verdict) -> Dataset:
    """Return a closed polyline: dashed for a possible fracture, else solid."""
    item = Dataset()
    item.GraphicAnnotationUnits = "PIXEL"
    item.GraphicDimensions = 2
    item.NumberOfGraphicPoints = len(outline)
    item.GraphicData = [float(np.float32(v)) for v in outline.ravel()]
    item.GraphicType = "POLYLINE"
    item.GraphicFilled = "N"
    item.LineStyleSequence = [_line_style(verdict)]
    return item


def _point(at: tuple[float, float], verdict: Verdict, rows: int, columns: int) -> Dataset:
    """Return the hottest point of the heat map."""
    item = Dataset()
    item.GraphicAnnotationUnits = "PIXEL"
    item.GraphicDimensions = 2
    item.NumberOfGraphicPoints = 1
    item.GraphicData = [min(max(at[0], 0.0), float(columns)), min(max(at[1], 0.0), float(rows))]
    item.GraphicType = "POINT"
    item.LineStyleSequence = [_line_style(verdict)]
    return item


def _line_style(answer: Verdict) -> Dataset:
    style = Dataset()
    style.PatternOnColorCIELabValue = _cielab(answer)
    style.PatternOnOpacity = 1.0
    style.LineThickness = 1.0 if not answer.is_suspicious else 2.0
    style.LineDashingStyle = "SOLID"
    if answer is Verdict.DOUBT:
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


def _line_object(line: str, number: int, rows: int, columns: int) -> Dataset:
    """Return a line of text across the image, the first at its top."""
    height = max(1.0, rows / LINES_PER_HEIGHT)
    top = min(number * height, rows - height)
    item = Dataset()
    item.BoundingBoxAnnotationUnits = "PIXEL"
    item.UnformattedTextValue = line[:LONGEST_TEXT]
    item.BoundingBoxTopLeftHandCorner = [0.0, top]
    item.BoundingBoxBottomRightHandCorner = [float(columns), top + height]
    item.BoundingBoxTextHorizontalJustification = "LEFT"
    return item


def _clipped(box: Box, rows: int, columns: int) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box.as_tuple()
    return min(x0, columns), min(y0, rows), min(x1, columns), min(y1, rows)


def _layers(answer: Answer, language: Language) -> Iterator[Dataset]:
    for order, (name, description) in enumerate(LAYERS.items(), 1):
        layer = Dataset()
        layer.GraphicLayer = name
        layer.GraphicLayerOrder = order
        layer.GraphicLayerRecommendedDisplayGrayscaleValue = 0xFFFF
        layer.GraphicLayerRecommendedDisplayCIELabValue = _cielab(answer)
        layer.GraphicLayerDescription = language.say(description)
        yield layer


def _cielab(answer: Answer | Verdict) -> list[int]:
    return list(CIELabColor.from_rgb(*ANSWER_COLOURS[answer]).value)


def _shutter(source: Dataset) -> Dataset:
    """Return the complete shutters of the source, in black (DICOM PS3.3 C.7.6.11, C.11.12)."""
    made = Dataset()
    shapes = list(whole_shutters(source))
    for shape in shapes:
        made.update(copied(source, EDGES[shape]))
    if shapes:
        made.ShutterShape = shapes
        made.ShutterPresentationValue = 0
    return made


def _modality_lut(source: Dataset) -> Dataset:
    """Return the Modality LUT module of the source; empty if it has none (DICOM PS3.3 C.11.1)."""
    made = Dataset()
    modality = modality_of(source, _is_little_endian(source))
    if modality.table:
        table = _table(source, source.ModalityLUTSequence[0])
        table.ModalityLUTType = text(source.ModalityLUTSequence[0], "ModalityLUTType") or "US"
        made.ModalityLUTSequence = [table]
    elif "RescaleSlope" in source or "RescaleIntercept" in source:
        made.RescaleSlope = f"{modality.slope:.10g}"
        made.RescaleIntercept = f"{modality.intercept:.10g}"
        made.RescaleType = text(source, "RescaleType") or "US"
    return made


def _voi(source: Dataset, window: Window) -> Dataset:
    """Return the Softcopy VOI LUT item for the whole image: the VOI LUT of the source, or `window`."""
    item = Dataset()
    if window.over_voi_lut and (lut := voi_lut_of(source)) is not None:
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
    table = LookupTable.from_item(lut, _is_little_endian(source))
    levels, first = table.levels.astype(np.uint32), table.first
    if stretch:
        levels = np.minimum(levels * 0xFFFF // (table.depth - 1), 0xFFFF)
    made = Dataset()
    made.add_new("LUTDescriptor", "SS" if first < 0 else "US", [levels.size % 65536, first, 16])
    made.LUTExplanation = text(lut, "LUTExplanation")
    made.add_new("LUTData", "OW", levels.astype("<u2").tobytes())
    return made


def _is_little_endian(source: Dataset) -> bool:
    meta = getattr(source, "file_meta", None)
    return meta is None or UID(meta.get("TransferSyntaxUID") or "1.2.840.10008.1.2").is_little_endian
