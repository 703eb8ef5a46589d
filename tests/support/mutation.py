"""Conversations with a Storage SCP, and seeded ways to spoil them."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from tests.support.pdus import (
    DX,
    RELEASE_RQ,
    SR,
    associate_rq,
    c_echo_rq,
    c_store_rq,
    p_data,
    pdu,
)

Stream = list[bytes]
HOSTILE_UIDS = ("../../evil", "/tmp/evil", "1.2.3\0", "1." * 60, "", "%n%s", "1.2.3/../../evil", "..", "2.25.1\n")
LENGTHS = (0, 1, 2, 3, 5, 6, 0x7F, 0xFF, 0xFFFF, 131072, 131073, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)


def conversation(rng: random.Random, number: int) -> Stream:
    """A sound conversation, PDU by PDU, whose UIDs `number` makes its own."""
    stream = [associate_rq()]
    for index in range(rng.randrange(1, 4)):
        uid = f"1.2.{number}.{index}" if rng.random() < 0.8 else rng.choice(HOSTILE_UIDS)
        content = struct.pack("<HHI", 8, 0x60, 2) + b"DX" + rng.randbytes(rng.randrange(4000))
        cut = rng.randrange(len(content))
        if rng.random() < 0.2:
            stream.append(p_data((1, 3, c_echo_rq())))
        context, storage_class = rng.choice([(3, DX), (3, DX), (5, SR)])
        stream.append(p_data((context, 3, c_store_rq(uid, storage_class, index + 1))))
        stream += [p_data((context, 0, content[:cut])), p_data((context, 2, content[cut:]))]
    return [*stream, pdu(RELEASE_RQ, b"\0" * 4)]


def _flip(rng: random.Random, stream: Stream) -> None:
    at = rng.randrange(len(stream))
    spoiled = bytearray(stream[at])
    for _ in range(rng.randrange(1, 6)):
        if spoiled:
            spoiled[rng.randrange(min(len(spoiled), 300))] = rng.randrange(256)
    stream[at] = bytes(spoiled)


def _length(rng: random.Random, stream: Stream) -> None:
    """A length, of a PDU or of something within, that is not so."""
    at = rng.randrange(len(stream))
    spoiled = bytearray(stream[at])
    form = rng.choice([">I", ">H", "<I"])
    offset = 2 if rng.random() < 0.4 else rng.randrange(max(1, min(len(spoiled), 300) - 4))
    mask = (1 << 8 * struct.calcsize(form)) - 1
    struct.pack_into(form, spoiled, min(offset, max(0, len(spoiled) - 4)), rng.choice(LENGTHS) & mask)
    stream[at] = bytes(spoiled)


def _cut(rng: random.Random, stream: Stream) -> None:
    at = rng.randrange(len(stream))
    stream[at] = stream[at][: rng.randrange(len(stream[at]) + 1)]


def _drop(rng: random.Random, stream: Stream) -> None:
    if len(stream) > 1:
        del stream[rng.randrange(len(stream))]


def _repeat(rng: random.Random, stream: Stream) -> None:
    stream.insert(rng.randrange(len(stream) + 1), rng.choice(stream))


def _shuffle(rng: random.Random, stream: Stream) -> None:
    tail = stream[1:]
    rng.shuffle(tail)
    stream[1:] = tail


def _noise(rng: random.Random, stream: Stream) -> None:
    stream.insert(rng.randrange(len(stream) + 1), rng.randbytes(rng.randrange(1, 600)))


def _strange(rng: random.Random, stream: Stream) -> None:
    stream.insert(rng.randrange(len(stream) + 1), pdu(rng.randrange(256), rng.randbytes(rng.randrange(80))))


MUTATIONS: tuple[Callable[[random.Random, Stream], None], ...] = (
    _flip, _flip, _flip, _length, _length, _cut, _drop, _repeat, _shuffle, _noise, _strange,
)  # fmt: skip


def mutated(seed: int, number: int) -> tuple[Stream, random.Random]:
    """The stream of that number under a seed, and the random numbers to send it by."""
    rng = random.Random(f"{seed} {number}")
    stream = conversation(rng, number)
    for _ in range(rng.randrange(1, 4)):
        rng.choice(MUTATIONS)(rng, stream)
    return stream, rng
