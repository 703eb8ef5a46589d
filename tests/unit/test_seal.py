"""The seal of a report: any altered byte is found."""

from __future__ import annotations

import pytest

from appliance.errors import Rejected
from appliance.status.seal import UNSEALED, check_seal, seal

PAGE = f"<!doctype html>\n<p>197 of 200, µ</p>\n<p>SHA-256 {UNSEALED}</p>\n"


def test_sealed_file_shows_the_digest_that_it_is_checked_by() -> None:
    content, digest = seal(PAGE)
    assert check_seal(content) == digest
    assert content.decode() == PAGE.replace("0" * 64, digest)


def test_any_altered_byte_is_found() -> None:
    content, _ = seal(PAGE)
    for place in range(len(content)):
        for value in (content[place] ^ 1, content[place] ^ 0x20, 0):
            altered = content[:place] + bytes([value]) + content[place + 1 :]
            with pytest.raises(Rejected, match="report_altered"):
                check_seal(altered)


@pytest.mark.parametrize("more", [b"\n", b"<!-- -->", b'<code id="seal">' + b"a" * 64 + b"</code>", UNSEALED.encode()])
def test_added_and_removed_bytes_are_found(more: bytes) -> None:
    content, _ = seal(PAGE)
    for altered in (content + more, more + content, content[:-1], content[1:], b""):
        with pytest.raises(Rejected, match="report_altered"):
            check_seal(altered)


def test_page_without_a_place_or_with_two_cannot_be_sealed() -> None:
    for page in ("", PAGE + PAGE):
        with pytest.raises(ValueError, match="one place"):
            seal(page)
