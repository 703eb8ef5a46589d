"""The four roles: each is a process of its own, with the configuration that it read at its start."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

ROLES: Final = ("receive", "analyse", "deliver", "status")
"""Names of the roles, in the order in which they start."""


class ConfigurationState(StrEnum):
    """The configuration file, compared with the configuration that a role works with."""

    CURRENT = "current"
    CHANGED = "changed"
    UNUSABLE = "unusable"
