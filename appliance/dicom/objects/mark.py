"""The outline of a finding in pixels of the image: its mark, or its region where the heat map has none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from appliance.dicom.reading.attributes import text
from appliance.domain.finding import Box, Finding

LEAST_CORNERS = 3
"""Corners of an outline that encloses something."""


def mark_outline(finding: Finding, source: Dataset) -> NDArray[np.float64]:
    """Return (n, 2) float64, column and row: the mark of `finding`, or its region if the mark is empty; closed."""
    if len(finding.mark) < LEAST_CORNERS:
        return box_outline(finding.box, source)
    return _clipped(finding.mark, source)


def box_outline(box: Box, source: Dataset) -> NDArray[np.float64]:
    """Return (5, 2) float64, column and row: closed, inside the image, from (0, 0) (DICOM PS3.3 C.18.6.1.2)."""
    x0, y0, x1, y1 = box.as_tuple()
    return _clipped(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), source)


def _clipped(corners: Sequence[tuple[float, float]], source: Dataset) -> NDArray[np.float64]:
    closed = corners if corners[0] == corners[-1] else (*corners, corners[0])
    points = np.maximum(np.array(closed, np.float64), 0.0)
    rows, columns = (int(text(source, keyword) or 0) for keyword in ("Rows", "Columns"))
    return np.minimum(points, (columns, rows)) if rows and columns else points
