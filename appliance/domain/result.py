"""The one record that every output renders and none decides on."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .finding import Answer, Box, Finding, NotAnalysed, UnreadRegion
from .identifiers import Laterality, Site, derived_uid

SECOND_READER = "AI second reader - not for diagnosis - the radiologist decides"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """By what a result was made: stamped on every output."""

    software_version: str
    pack_name: str
    pack_version: str
    pack_digest: str
    pack_is_synthetic: bool
    compute: str

    @property
    def model(self) -> str:
        """Pack name, version and the first twelve digits of its digest."""
        mark = " (SYNTHETIC)" if self.pack_is_synthetic else ""
        return f"{self.pack_name}{mark} {self.pack_version} {self.pack_digest[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """An earlier revision, and the pack that made it: as much as its UIDs are made from."""

    revision: int
    pack_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The answer for one radiograph.

    Attributes
    ----------
    created_at
        UTC; every time in an output comes from here, so that rendering twice gives the same bytes.
    findings
        One per region that was classified, most suspicious first.
    not_analysed
        Set when no region was classified, else None.
    caveats
        Sentences that stand on every output.
    timings_ms
        Milliseconds per stage; where several radiographs went through it together, the share of one.
    predecessor
        The revision that this one takes the place of; None for the first.
    """

    sop_instance_uid: str
    study_instance_uid: str
    created_at: datetime
    provenance: Provenance
    findings: tuple[Finding, ...] = ()
    unread_regions: tuple[UnreadRegion, ...] = ()
    not_analysed: NotAnalysed | None = None
    caveats: tuple[str, ...] = ()
    timings_ms: tuple[tuple[str, float], ...] = ()
    revision: int = 1
    predecessor: Predecessor | None = None

    def __post_init__(self) -> None:
        if bool(self.findings) == (self.not_analysed is not None):
            raise ValueError("a result has findings, or the reason why it has none")
        if self.created_at.tzinfo is None:
            raise ValueError("created_at needs a time zone")

    @property
    def answer(self) -> Answer:
        """The gravest answer of the regions."""
        return max((f.answer for f in self.findings), key=lambda a: a.severity, default=Answer.NOT_ANALYSED)

    @property
    def statements(self) -> int:
        """How much is said of the radiograph: one for each region, or the reason why there is none."""
        return len(self.findings) or 1

    def uid(self, kind: str) -> str:
        """UID of the object of that `kind` made from this result: a function of source, pack, kind and revision."""
        return derived_uid(self.sop_instance_uid, self.provenance.pack_digest, kind, self.revision)

    def predecessor_uid(self, kind: str) -> str | None:
        """UID of the object of that `kind` that this one takes the place of."""
        p = self.predecessor
        return derived_uid(self.sop_instance_uid, p.pack_digest, kind, p.revision) if p else None

    def to_json(self) -> str:
        """The record as JSON, for the database and for `osteon read`."""
        return json.dumps(dataclasses.asdict(self), default=_encode, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Inverse of `to_json`."""
        d: dict[str, Any] = json.loads(text)
        reason = d["not_analysed"]
        return cls(
            **{k: d[k] for k in ("sop_instance_uid", "study_instance_uid", "revision")},
            created_at=datetime.fromisoformat(d["created_at"]).astimezone(UTC),
            provenance=Provenance(**d["provenance"]),
            findings=tuple(_finding(f) for f in d["findings"]),
            unread_regions=tuple(
                UnreadRegion(site=Site(r["site"]), box=Box(**r["box"]), region_score=r["region_score"])
                for r in d["unread_regions"]
            ),
            not_analysed=NotAnalysed(**reason) if reason else None,
            caveats=tuple(d["caveats"]),
            timings_ms=tuple((k, v) for k, v in d["timings_ms"]),
            predecessor=Predecessor(**d["predecessor"]) if d.get("predecessor") else None,
        )


def _finding(d: dict[str, Any]) -> Finding:
    made = {"site": Site(d["site"]), "laterality": Laterality(d["laterality"]), "box": Box(**d["box"])}
    return Finding(**(d | made | {"peak": tuple(d["peak"])}))


def _encode(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not part of a result")
