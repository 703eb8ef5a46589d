"""The size of a pixel: in the patient if known, else on the detector (DICOM PS3.3 10.7.1.3)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from appliance.dicom.reading.attributes import UNREADABLE, copied

CALIBRATED = ("PixelSpacing", "PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription")
"""Pixel Spacing with the attributes that say how it was measured (DICOM PS3.3 table 10-10)."""


def spacing(source: Dataset, px: tuple[float, float] = (1.0, 1.0)) -> Dataset:
    """Return the attributes for measuring in an image made from `source`; its pixels cover `px` (down, across).

    Pixel Spacing of the source, or Imager Pixel Spacing divided by the magnification, or Nominal Scanned Pixel Spacing,
    which viewers show as a distance on the detector. Empty if the source has none of them.
    """
    made = Dataset()
    try:
        if min((float(v) for v in source.get("PixelSpacing") or ()), default=0) > 0:
            described = all(
                source.get(keyword) for keyword in CALIBRATED
            )  # the type is not allowed without its description
            made = copied(source, CALIBRATED if described else CALIBRATED[:1])
            if px != (1.0, 1.0):
                made.PixelSpacing = _scaled(made.PixelSpacing, px)
            return made
        on_detector = [float(v) for v in source.get("ImagerPixelSpacing") or ()]
        magnification = float(source.get("EstimatedRadiographicMagnificationFactor") or 0)
    except UNREADABLE:
        return made
    if len(on_detector) != 2 or min(on_detector) <= 0:
        return made
    if magnification >= 1:
        made.PixelSpacing = _scaled([v / magnification for v in on_detector], px)
        made.PixelSpacingCalibrationType = "GEOMETRY"
        made.PixelSpacingCalibrationDescription = f"Imager Pixel Spacing, magnification {magnification:.4g}"
    else:
        made.NominalScannedPixelSpacing = _scaled(on_detector, px)
    return made


def _scaled(spacing_mm: Sequence[float], px: tuple[float, float]) -> list[str]:
    return [f"{float(mm) * n:.6g}" for mm, n in zip(spacing_mm, px, strict=True)]
