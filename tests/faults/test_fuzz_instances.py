"""Mutated instances: each is read or refused with a reason; nothing crashes, hangs or grows.

A short run is part of the suite; ``pytest --campaign`` reads 10,000.
"""

from __future__ import annotations

import io
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pydicom
import pytest

from appliance.config import Analyse
from appliance.errors import OsteonError, Rejected
from appliance.service.examined_instance import Examined, examine
from appliance.service.isolation import Isolated
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.encodings import encode
from tests.support.peers import Peer

SEED = 20260102
SHORT, CAMPAIGN = 300, 10_000
ENCODED = (
    "explicit_le", "implicit_le", "explicit_be", "deflated", "undefined_lengths", "rle", "jpeg_baseline",
    "jpeg_extended_12", "jpeg_lossless_sv1", "jpeg_ls", "jpeg_2000", "htj2k_lossless",
)  # fmt: skip
EXTREMES = (b"\xff" * 2, b"\x00" * 2, b"\xff" * 4, b"\x00" * 4, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80")
GROWTH_KB = 64_000
"""Allowance for memory pools after the first hundred mutants; a leak of 180 kB from each would exceed it."""

Mutation = Callable[[random.Random, bytearray, bytes], None]


def flip_bits(draw: random.Random, content: bytearray, _other: bytes) -> None:
    for _ in range(draw.randint(1, 24)):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def flip_header_bits(draw: random.Random, content: bytearray, _other: bytes) -> None:
    for _ in range(draw.randint(1, 8)):
        content[draw.randrange(min(2500, len(content)))] ^= 1 << draw.randrange(8)


def put_extremes(draw: random.Random, content: bytearray, _other: bytes) -> None:
    for _ in range(draw.randint(1, 4)):
        extreme, at = draw.choice(EXTREMES), draw.randrange(len(content))
        content[at : at + len(extreme)] = extreme


def truncate(draw: random.Random, content: bytearray, _other: bytes) -> None:
    del content[draw.randrange(len(content)) :]


def repeat(draw: random.Random, content: bytearray, _other: bytes) -> None:
    at, length = draw.randrange(len(content)), draw.randint(1, 4000)
    content[at:at] = content[at : at + length] * draw.randint(1, 5)


def remove(draw: random.Random, content: bytearray, _other: bytes) -> None:
    at = draw.randrange(len(content))
    del content[at : at + draw.randint(1, 400)]


def splice(draw: random.Random, content: bytearray, other: bytes) -> None:
    content[draw.randrange(len(content)) :] = other[draw.randrange(len(other)) :]


def write_nonsense(draw: random.Random, content: bytearray, _other: bytes) -> None:
    """Put impossible values into a data set that stays well formed."""
    try:
        ds = pydicom.dcmread(io.BytesIO(content))
        for element in draw.sample([e for e in ds if e.tag.group < 0x7FE0], draw.randint(1, 4)):
            element.value = draw.choice([None, "", element.value]) if draw.random() < 0.5 else _twice(element.value)
        buffer = io.BytesIO()
        ds.save_as(buffer)
    except Exception:  # noqa: BLE001  an earlier mutation made it unreadable, or pydicom cannot write it
        return
    content[:] = buffer.getvalue()


def _twice(value: object) -> object:
    return [value, value]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, flip_header_bits, put_extremes, truncate, repeat, remove, splice, write_nonsense,
)  # fmt: skip


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, peer: Peer) -> list[bytes]:
    folder = tmp_path_factory.mktemp("fuzz")
    ds = instance_from_phantom(phantom("ankle", 8, True))
    pixels = ds.pixel_array[:300, :300]
    ds.Rows, ds.Columns, ds.PixelData = *pixels.shape, pixels.tobytes()
    ds.save_as(folder / "original.dcm", enforce_file_format=True)
    return [encode(peer, name, folder / "original.dcm", folder / name).read_bytes() for name in ENCODED]


@pytest.fixture
def reading() -> Iterator[Isolated[Examined]]:
    made = Isolated(examine, limit_s=120, limit_bytes=2**30)
    yield made
    made.close()


def mutant(draw: random.Random, originals: list[bytes]) -> bytes:
    content = bytearray(draw.choice(originals))
    for mutate in draw.choices(MUTATIONS, k=draw.choice((1, 1, 2))):
        mutate(draw, content, draw.choice(originals))
        content = content or bytearray(b"\x00")
    return bytes(content)


@pytest.mark.proves("SEC-3")
def test_mutated_instance_is_read_or_refused(
    originals: list[bytes], reading: Isolated[Examined], campaign: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rules, outcomes, draw = Analyse(), Counter[str](), random.Random(SEED)
    handles, memory = _open_files(), 0
    for number in range(CAMPAIGN if campaign else SHORT):
        content = mutant(draw, originals)
        try:
            examined = reading(partial(bytes, content), "FUZZ", rules)
            outcomes["read" if examined.radiograph else "refused"] += 1
            if examined.radiograph:
                assert examined.radiograph.stored.pixels.size > 0
        except Rejected as error:
            outcomes[error.code] += 1
            assert error.reason
        except OsteonError as error:
            pytest.fail(f"mutant {number}: {error}")
        if number == 100:
            memory = _memory_kb()
    print(dict(outcomes))
    assert outcomes["read"] > 0.1 * outcomes.total()  # these mutants pass a codec
    assert _open_files() <= handles + 2
    assert _memory_kb() - memory < GROWTH_KB
    assert not list(tmp_path.iterdir())


def test_original_of_the_mutants_is_read(originals: list[bytes], reading: Isolated[Examined]) -> None:
    """So every fault that the campaign finds comes from a mutation."""
    for content in originals:
        assert reading(partial(bytes, content), "", Analyse()).radiograph is not None


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _memory_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
