"""A person who intervenes."""

from __future__ import annotations

from appliance.domain.audit import Door, Intervention


def anna(reason: str = "") -> Intervention:
    """Return an intervention of Anna at the command line."""
    return Intervention(person="anna", door=Door.COMMAND_LINE, reason=reason)
