"""The size of a pixel: in the patient where that is known, else on the detector (DICOM PS3.3 10.7.1.3)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from .patient_study import UNREADABLE, copied

CALIBRATED = ("PixelSpacing", "PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription")


def spacing(source: Dataset) -> Dataset:
    """The attributes by which an image on the pixel grid of `source` can be measured in.

    Pixel Spacing where the source has it, or Imager Pixel Spacing over the magnification; without a magnification
    the detector's spacing, which viewers show as such. Empty if the source says nothing usable.
    """
    made = Dataset()
    try:
        if min((float(v) for v in source.get("PixelSpacing") or ()), default=0) > 0:
            described = all(source.get(keyword) for keyword in CALIBRATED)  # the type needs its description
            return copied(source, CALIBRATED if described else CALIBRATED[:1])
        on_detector = [float(v) for v in source.get("ImagerPixelSpacing") or ()]
        magnification = float(source.get("EstimatedRadiographicMagnificationFactor") or 0)
    except UNREADABLE:
        return made
    if len(on_detector) != 2 or min(on_detector) <= 0:
        return made
    if magnification >= 1:
        made.PixelSpacing = [f"{v / magnification:.6g}" for v in on_detector]
        made.PixelSpacingCalibrationType = "GEOMETRY"
        made.PixelSpacingCalibrationDescription = f"Imager Pixel Spacing, magnification {magnification:.4g}"
    else:
        made.NominalScannedPixelSpacing = [f"{v:.6g}" for v in on_detector]
    return made
