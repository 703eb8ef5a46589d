"""Configured destinations of a site, and the renderer of their artefacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.config import DestinationConfig, FhirDestination, Hl7Destination
from appliance.picture.heat import draw_heats
from appliance.service.artefacts import Put, Renderer


def hl7(**settings: Any) -> Hl7Destination:
    """Configure a RIS; `settings` are keys of its table."""
    own = {"sending_facility": "XRAY", "receiving_application": "RIS", "receiving_facility": "HOSP"}
    where = {"kind": "hl7", "name": "RIS", "host": "127.0.0.1", "port": 2575}
    return Hl7Destination.model_validate(where | own | settings)


def fhir(**settings: Any) -> FhirDestination:
    """Configure a FHIR server; `settings` are keys of its table."""
    return FhirDestination.model_validate(
        {"kind": "fhir", "name": "FHIR", "base_url": "http://127.0.0.1/R4"} | settings
    )


def renderer(destinations: Sequence[DestinationConfig], put: Put) -> Renderer:
    """Make a renderer for `destinations` that draws on the CPU."""
    return Renderer(destinations=destinations, put=put, draw=draw_heats)
