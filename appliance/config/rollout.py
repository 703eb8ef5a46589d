"""``[rollout]``: how a site of anatomy begins at this hospital."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .section import Section


class Rollout(Section):
    """The rollout."""

    first_phase: Literal["shadow", "familiarise"] = Field(
        "familiarise",
        description='First phase of a site: "shadow" (nothing leaves the box) or "familiarise" (results leave, marked '
        '"under evaluation", without a flag); later ones by `osteon phase set`',
    )
