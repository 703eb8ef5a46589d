"""Traits of a radiograph: facts of its header that identify nobody, and figures of its displayed grey values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from appliance.domain.radiograph import Header
from appliance.domain.traits import AgeBand, Traits

from .eligibility import parts_of_header

SIDE_PX = 512
"""Longer side, at least, of the thinned picture whose grey values are measured: the same for every detector."""

LONGEST_DEVICE = 64
"""Characters of manufacturer and model that are kept."""

VIEWS = {term: term for term in ("AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "LPO", "RPO", "LAO", "RAO")} | {
    term: short
    for short, terms in {"LAT": ("LAT", "LATERAL", "ML", "LM"), "OBL": ("OBL", "OBLIQUE")}.items()
    for term in terms
}
"""View Position (0018,5101): terms of the Standard, and those that vendors write; any other may be free text."""

OTHER_VIEW = "OTHER"


def traits_of(header: Header, manufacturer: str, model: str, grey: NDArray[np.uint8] | None) -> Traits:
    """Return the traits of a radiograph.

    Parameters
    ----------
    grey
        (H, W) the radiograph as a viewer displays it; None without usable pixels.
    """
    sites = parts_of_header(header).sites
    mean, spread, detail = _grey_figures(grey) if grey is not None else (None, None, None)
    return Traits(
        header_site=next(iter(sites)) if len(sites) == 1 else None,
        age_band=AgeBand.of(header.age_years),
        view=VIEWS.get(header.view_position, OTHER_VIEW) if header.view_position else "",
        device=device_name(manufacturer, model),
        grey_mean=mean,
        grey_spread=spread,
        detail=detail,
        has_burned_in_text=header.has_burned_in_text,
    )


def device_name(manufacturer: str, model: str) -> str:
    """Return manufacturer and model as one printable name; a model that begins with its manufacturer stands alone."""
    maker, name = (" ".join("".join(c if c.isprintable() else " " for c in t).split()) for t in (manufacturer, model))
    both = name if name.casefold().startswith(maker.casefold()) else f"{maker} {name}"
    return both[:LONGEST_DEVICE].strip()


def _grey_figures(grey: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Return mean, standard deviation and mean difference between neighbours, 0 to 1, of the thinned picture."""
    step = max(1, max(grey.shape) // SIDE_PX)
    thin = grey[::step, ::step].astype(np.float32) / 255
    differences = [float(np.abs(np.diff(thin, axis=axis)).mean()) for axis in (0, 1) if thin.shape[axis] > 1]
    return float(thin.mean()), float(thin.std()), sum(differences) / len(differences) if differences else 0.0
