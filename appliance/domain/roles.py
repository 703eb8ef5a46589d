"""The four roles: each is a process of its own."""

from __future__ import annotations

from typing import Final

ROLES: Final = ("receive", "analyse", "deliver", "status")
"""Names of the roles, in the order in which they start."""
