"""Valid PDU streams to a Storage SCP, and seeded mutations of them."""

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


def valid_stream(rng: random.Random, number: int) -> Stream:
    """Return a valid stream, PDU by PDU; `number` makes its UIDs unique."""
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


def _flip_bytes(rng: random.Random, stream: Stream) -> None:
    at = rng.randrange(len(stream))
    spoiled = bytearray(stream[at])
    for _ in range(rng.randrange(1, 6)):
        if spoiled:
            spoiled[rng.randrange(min(len(spoiled), 300))] = rng.randrange(256)
    stream[at] = bytes(spoiled)


def _falsify_length(rng: random.Random, stream: Stream) -> None:
    """Overwrite a length, of a PDU or of an item, by a wrong one."""
    at = rng.randrange(len(stream))
    spoiled = bytearray(stream[at])
    form = rng.choice([">I", ">H", "<I"])
    offset = 2 if rng.random() < 0.4 else rng.randrange(max(1, min(len(spoiled), 300) - 4))
    mask = (1 << 8 * struct.calcsize(form)) - 1
    struct.pack_into(form, spoiled, min(offset, max(0, len(spoiled) - 4)), rng.choice(LENGTHS) & mask)
    stream[at] = bytes(spoiled)


def _cut_pdu(rng: random.Random, stream: Stream) -> None:
    at = rng.randrange(len(stream))
    stream[at] = stream[at][: rng.randrange(len(stream[at]) + 1)]


def _drop_pdu(rng: random.Random, stream: Stream) -> None:
    if len(stream) > 1:
        del stream[rng.randrange(len(stream))]


def _repeat_pdu(rng: random.Random, stream: Stream) -> None:
    stream.insert(rng.randrange(len(stream) + 1), rng.choice(stream))


def _shuffle_pdus(rng: random.Random, stream: Stream) -> None:
    tail = stream[1:]
    rng.shuffle(tail)
    stream[1:] = tail


def _insert_noise(rng: random.Random, stream: Stream) -> None:
    stream.insert(rng.randrange(len(stream) + 1), rng.randbytes(rng.randrange(1, 600)))


def _insert_unknown_pdu(rng: random.Random, stream: Stream) -> None:
    stream.insert(rng.randrange(len(stream) + 1), pdu(rng.randrange(256), rng.randbytes(rng.randrange(80))))


MUTATIONS: tuple[Callable[[random.Random, Stream], None], ...] = (
    _flip_bytes, _flip_bytes, _flip_bytes, _falsify_length, _falsify_length, _cut_pdu, _drop_pdu, _repeat_pdu,
    _shuffle_pdus, _insert_noise, _insert_unknown_pdu,
)  # fmt: skip


def mutated(seed: int, number: int) -> tuple[Stream, random.Random]:
    """Return the mutated stream of that number under a seed, and the random generator to send it with."""
    rng = random.Random(f"{seed} {number}")
    stream = valid_stream(rng, number)
    for _ in range(rng.randrange(1, 4)):
        rng.choice(MUTATIONS)(rng, stream)
    return stream, rng
