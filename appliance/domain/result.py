"""The result of a radiograph: the one record that every output renders."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .finding import Answer, Box, Finding, NotAnalysed, UnreadRegion, Verdict, Withheld
from .identifiers import Laterality, Site, derived_uid
from .reason import ReasonCode
from .sentence import Sentence

SECOND_READER = Sentence.of("AI second reader - not for diagnosis - the radiologist decides")
"""The sentence that stands on every output."""

UNDER_EVALUATION = Sentence.of("UNDER EVALUATION")
"""The words above every answer of an evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Software, pack and hardware that made a result: stamped on every output."""

    software_version: str
    pack_name: str
    pack_version: str
    pack_digest: str
    pack_is_synthetic: bool
    compute: str

    @property
    def model(self) -> str:
        """The pack's name, version and the first twelve digits of its digest."""
        mark = " (SYNTHETIC)" if self.pack_is_synthetic else ""
        return f"{self.pack_name}{mark} {self.pack_version} {self.pack_digest[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """An earlier revision and the digest of its pack, from which the UIDs of its objects are derived."""

    revision: int
    pack_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one radiograph.

    Attributes
    ----------
    created_at
        UTC. Every time in an output is this one, so that rendering twice gives the same bytes.
    findings
        One for each classified region, most suspicious first.
    not_read
        Subjects of the radiograph that no engine read: with one of them the radiograph is incomplete at best.
    not_assessed
        Neighbours at the margin of the picture that no engine read; they do not make the radiograph incomplete.
    incomplete
        Other reasons why the radiograph is incomplete, as sentences.
    not_analysed
        Reason why no region was classified, else None.
    caveats
        Sentences that stand on every output.
    is_evaluation
        Whether the record is told in an evaluation at the hospital: no output of it flags anything.
    timings_ms
        Milliseconds for each stage; in a batch, the share of one radiograph.
    predecessor
        The revision that this one replaces; None for the first.
    """

    sop_instance_uid: str
    study_instance_uid: str
    created_at: datetime
    provenance: Provenance
    findings: tuple[Finding, ...] = ()
    not_read: tuple[UnreadRegion, ...] = ()
    not_assessed: tuple[UnreadRegion, ...] = ()
    incomplete: tuple[Sentence, ...] = ()
    not_analysed: NotAnalysed | None = None
    caveats: tuple[Sentence, ...] = ()
    timings_ms: tuple[tuple[str, float], ...] = ()
    revision: int = 1
    predecessor: Predecessor | None = None
    is_evaluation: bool = False

    def __post_init__(self) -> None:
        if bool(self.findings) == (self.not_analysed is not None):
            raise ValueError("a result needs either findings or the reason why it has none")
        if self.created_at.tzinfo is None:
            raise ValueError("created_at needs a time zone")

    @property
    def answer(self) -> Answer:
        """The gravest verdict of its findings; incomplete unless every subject was read and cleared."""
        verdicts = {f.verdict for f in self.findings}
        if not verdicts:
            return Answer.NOT_ANALYSED
        if Verdict.POSITIVE in verdicts:
            return Answer.POSITIVE
        if Verdict.DOUBT in verdicts:
            return Answer.DOUBT
        if self.not_read or self.incomplete or Verdict.NOT_CLEARED in verdicts:
            return Answer.INCOMPLETE
        return Answer.NEGATIVE

    @property
    def unread_sites(self) -> tuple[Sentence, ...]:
        """Names of the subjects that were not read or not cleared, each once, as people read them."""
        not_cleared = (f.place for f in self.findings if f.verdict is Verdict.NOT_CLEARED)
        return tuple(dict.fromkeys((*(r.site.label for r in self.not_read), *not_cleared)))

    @property
    def unread_subjects(self) -> tuple[Site, ...]:
        """Sites of the subjects that no engine read, each once."""
        return tuple(dict.fromkeys(region.site for region in self.not_read))

    @property
    def heading(self) -> tuple[Sentence, ...]:
        """The words above every answer of an evaluation; empty outside of one."""
        return (UNDER_EVALUATION,) if self.is_evaluation else ()

    @property
    def evaluation(self) -> tuple[Sentence, ...]:
        """The caveat of an evaluation, which is the first one; empty outside of one."""
        return self.caveats[:1] if self.is_evaluation else ()

    @property
    def statements(self) -> int:
        """Number of statements in reports: findings, or the reason why there is none, and parts that were not read."""
        return (len(self.findings) or 1) + len(self.unread_subjects) + len(self.incomplete)

    def uid(self, kind: str) -> str:
        """Derive the UID of the object of that `kind` from source, pack, kind and revision."""
        return derived_uid(self.sop_instance_uid, self.provenance.pack_digest, kind, self.revision)

    def predecessor_uid(self, kind: str) -> str | None:
        """Derive the UID of the object of that `kind` that this revision replaces; None for the first revision."""
        p = self.predecessor
        return derived_uid(self.sop_instance_uid, p.pack_digest, kind, p.revision) if p else None

    def to_json(self) -> str:
        """Encode the record as JSON, for the database and for `osteon read`."""
        return json.dumps(dataclasses.asdict(self), default=_encode, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Decode the output of `to_json`."""
        d: dict[str, Any] = json.loads(text)
        reason = d["not_analysed"]
        return cls(
            **{k: d[k] for k in ("sop_instance_uid", "study_instance_uid", "revision")},
            created_at=datetime.fromisoformat(d["created_at"]).astimezone(UTC),
            provenance=Provenance(**d["provenance"]),
            findings=tuple(_finding(f) for f in d["findings"]),
            not_read=tuple(_unread(r) for r in d["not_read"]),
            not_assessed=tuple(_unread(r) for r in d["not_assessed"]),
            incomplete=tuple(map(Sentence.from_record, d["incomplete"])),
            not_analysed=_reason(reason) if reason else None,
            caveats=tuple(map(Sentence.from_record, d["caveats"])),
            timings_ms=tuple((k, v) for k, v in d["timings_ms"]),
            predecessor=Predecessor(**d["predecessor"]) if d.get("predecessor") else None,
            is_evaluation=d.get("is_evaluation", False),
        )


def _finding(d: dict[str, Any]) -> Finding:
    made = {"site": Site(d["site"]), "laterality": Laterality(d["laterality"]), "box": Box(**d["box"])}
    outline = {"peak": tuple(d["peak"]), "mark": tuple((x, y) for x, y in d["mark"])}
    return Finding(**(d | made | outline | {"withheld": tuple(Withheld(w) for w in d["withheld"])}))


def _unread(d: dict[str, Any]) -> UnreadRegion:
    box = Box(**d["box"]) if d["box"] else None
    return UnreadRegion(
        site=Site(d["site"]), box=box, region_score=d["region_score"], is_in_use=d.get("is_in_use", True)
    )


def _reason(d: dict[str, Any]) -> NotAnalysed:
    return NotAnalysed(code=ReasonCode(d["code"]), reason=Sentence.from_record(d["reason"]))


def _encode(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not part of a result")
