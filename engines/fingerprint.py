"""The fingerprint of a site: a digest of everything in a pack that an answer about the site depends on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .familiarity import Familiarity
from .pack import Pack


def fingerprints(pack: Pack) -> dict[str, str]:
    """Return the fingerprint of each site whose engine may find a fracture: SHA-256, hex.

    The fingerprint depends on localiser, classifier, calibration, operating points, claims, the measure of familiarity
    and the preprocessing. It does not depend on name and version of the pack, nor on its other engines.
    """
    localiser = _values(asdict(pack.localiser), pack.localiser.file)
    found = {}
    for site, spec in pack.classifiers.items():
        if not spec.finds:
            continue
        classifier = _values({k: getattr(spec, k) for k in spec.__dataclass_fields__}, spec.file)
        classifier["familiarity"] = _familiarity(spec.familiarity)
        parts = {"preprocessing": pack.preprocessing, "localiser": localiser, "classifier": classifier}
        found[site] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return found


def _values(fields: dict[str, Any], network: Path) -> dict[str, Any]:
    """Return the values of a network's description, with the digest of its file instead of the path."""
    kept = {name: value for name, value in fields.items() if name not in ("file", "performance")}
    return kept | {"network": hashlib.sha256(network.read_bytes()).hexdigest()}


def _familiarity(measure: Familiarity | None) -> list[Any] | None:
    if measure is None:
        return None
    return [hashlib.sha256(a.tobytes()).hexdigest() for a in (measure.centre, measure.whitening)] + [measure.limit]
