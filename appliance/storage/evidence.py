"""The evidence behind the score of a validation: the record, the picture and the read of each drawn radiograph."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, select

from appliance.domain.result import Result
from appliance.domain.validation import ReadSource

from .tables import draws, reads, results, traits


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence about one drawn radiograph.

    Attributes
    ----------
    record_digest
        SHA-256 of the recorded result.
    picture_digest
        Digest of the radiograph with its marks, as PNG; empty without one.
    has_burned_in_text
        Whether the header says that text which identifies the patient is in the pixels.
    reader, source
        Of its read; None before it is read.
    """

    result: Result
    record_digest: str
    picture_digest: str
    has_burned_in_text: bool
    reader: str | None
    source: ReadSource | None


def evidence(c: Connection, validation_id: int) -> dict[int, Evidence]:
    """Return the evidence about the sample of a validation, by id of the result."""
    query = (
        select(results.c.id, results.c.record, results.c.picture_digest, reads.c.reader, reads.c.source)
        .add_columns(traits.c.has_burned_in_text)
        .select_from(draws.join(results).outerjoin(reads).outerjoin(traits, traits.c.result_id == results.c.id))
        .where(draws.c.validation_id == validation_id)
    )
    return {
        row.id: Evidence(
            result=Result.from_json(row.record),
            record_digest=hashlib.sha256(row.record.encode()).hexdigest(),
            picture_digest=row.picture_digest,
            has_burned_in_text=bool(row.has_burned_in_text),
            reader=row.reader,
            source=row.source,
        )
        for row in c.execute(query)
    }
