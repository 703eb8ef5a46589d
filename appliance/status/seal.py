"""The seal of a report: the SHA-256 of its file, which the file itself shows and the audit log keeps.

The canonical content is the whole file with 64 zeros in the place of the digest. So every byte counts, those of
pictures and style too, and a check needs no second rendering.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from appliance.domain.audit import FIRST
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

UNSEALED: Final = '<code id="seal">' + "0" * 64 + "</code>"
"""The place of the digest in a page that is not sealed yet."""

_SEAL: Final = re.compile(rb'<code id="seal">([0-9a-f]{64})</code>')

_HEAD: Final = re.compile(rb'<code id="audit-head">([0-9a-f]{64})</code>')


def detail_of(digest: str) -> str:
    """Return the detail of the entry in the audit log that records a report."""
    return f"SHA-256 {digest}"


def shown_head(content: bytes) -> str:
    """Return the head of the audit log that a report shows; an empty one of a log without entries."""
    shown = _HEAD.search(content)
    return shown[1].decode().replace(FIRST, "") if shown else ""


def seal(page: str) -> tuple[bytes, str]:
    """Return the file of a page that contains `UNSEALED` once, and its digest."""
    content = page.encode()
    digest = _canonical_digest(content)
    return content.replace(UNSEALED.encode(), UNSEALED.replace("0" * 64, digest).encode()), digest


def check_seal(content: bytes) -> str:
    """Return the digest that the file shows, which is that of its content.

    Raises
    ------
    Rejected
        ``report_altered``.
    """
    shown = _SEAL.findall(content)
    if len(shown) != 1:
        raise Rejected(ReasonCode.REPORT_ALTERED, "the file has no seal, or several: it is no report as it was written")
    digest: str = shown[0].decode()
    if _canonical_digest(_SEAL.sub(UNSEALED.encode(), content)) != digest:
        raise Rejected(ReasonCode.REPORT_ALTERED, "the content is not the one that was sealed")
    return digest


def _canonical_digest(content: bytes) -> str:
    if content.count(UNSEALED.encode()) != 1:
        raise ValueError("a page has one place for its seal")
    return hashlib.sha256(content).hexdigest()
