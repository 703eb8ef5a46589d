"""Rules that hl7apy's STRICT validation does not check in our messages: structure, tables, types, grouping, escapes.

References
----------
HL7 v2.5.1 ch. 2 (types, escapes), 2.14.9 (MSH), 3.4.2 (PID), 4.5.3 (OBR), 7.4.2 (OBX); tables 0001, 0078, 0085,
0103, 0119, 0123, 0125, 0155, 0211, 0485.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

STRUCTURES = {
    "ORU^R01": r"MSH PID( PV1)? ORC OBR( OBX)+( Z[A-Z0-9]{2})*",
    "ORM^O01": r"MSH PID( PV1)? ORC OBR( Z[A-Z0-9]{2})*",
    "OMI^O23": r"MSH PID( PV1)? ORC TQ1 OBR IPC( Z[A-Z0-9]{2})*",
}
TIME = re.compile(r"\d{4}(\d\d(\d\d(\d\d\d\d(\d\d(\.\d{1,4})?)?)?)?)?([+-]\d{4})?")
NUMBER = re.compile(r"[+-]?\d*\.?\d+")
ESCAPE = re.compile(r"\\[EFSTR]\\")
CHARACTER_SETS = {"UNICODE UTF-8", "ASCII", "8859/1", "8859/2", "8859/5", "8859/7", "8859/9", "8859/15"}
LONGEST = {("MSH", 10): 20, ("OBX", 4): 20, ("OBR", 3): 22}
"""Characters (HL7 v2.5.1, column LEN of the segments' tables)."""


class Message:
    """Segments and their fields by number; MSH-1 is the separator itself."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.segments = [
            ["MSH", "|", *line.split("|")[1:]] if line.startswith("MSH|") else line.split("|")
            for line in text.removesuffix("\r").split("\r")
        ]

    def all(self, name: str) -> list[list[str]]:
        """Return every segment of the name."""
        return [s for s in self.segments if s[0] == name]

    def value(self, name: str, number: int) -> str:
        """Return the field of the first segment of the name; empty without one."""
        return field(next(iter(self.all(name)), []), number)

    def observation(self, code: str, group: str) -> list[str]:
        """Return the one OBX with the code and OBX-4."""
        (found,) = [s for s in self.all("OBX") if s[3].split("^")[0] == code and s[4] == group]
        return found


def field(segment: list[str], number: int) -> str:
    """Return a field, empty if the segment is shorter."""
    return segment[number] if number < len(segment) else ""


def violations(text: str) -> list[str]:
    """Return every rule that the message breaks, by field."""
    return list(_violations(Message(text)))


def _violations(m: Message) -> Iterator[str]:
    if not m.text.endswith("\r") or re.search(r"[\x00-\x0c\x0e-\x1f\x7f]", m.text):
        yield "segment ends"
    if not m.text.startswith("MSH|^~\\&|"):
        yield "MSH-2"
    kind = "^".join(m.value("MSH", 9).split("^")[:2])
    names = " ".join(s[0] for s in m.segments)
    if not re.fullmatch(STRUCTURES.get(kind, "-"), names):
        yield f"structure of {kind}: {names}"
    structure = m.value("MSH", 9).split("^")[2:]
    if structure != ([] if m.value("MSH", 12) == "2.3.1" else [kind.replace("^", "_")]):
        yield "MSH-9.3"
    for name, number, allowed in (
        ("MSH", 11, {"P", "T", "D"}),
        ("MSH", 12, {"2.3.1", "2.4", "2.5.1"}),
        ("MSH", 15, {"", "AL", "NE", "ER", "SU"}),
        ("MSH", 16, {"", "AL", "NE", "ER", "SU"}),
        ("MSH", 18, CHARACTER_SETS),
        ("PID", 8, {"F", "M", "O", "U"}),
        ("ORC", 1, {"RE", "XO"}),
        ("OBR", 25, {"P", "C", ""}),
        ("TQ1", 9, {"", "S", "A", "R", "T", "P"}),
    ):
        if m.all(name) and m.value(name, number) not in allowed:
            yield f"{name}-{number}"
    if bool(m.value("MSH", 15)) != bool(m.value("MSH", 16)):
        yield "MSH-15 and MSH-16"
    for name, number in (("MSH", 7), ("PID", 7), ("OBR", 7), ("OBR", 22)):
        if m.value(name, number) and not TIME.fullmatch(m.value(name, number)):
            yield f"{name}-{number}"
    for name, number in (("MSH", 7), ("MSH", 10), ("PID", 3), ("PID", 5), ("OBR", 4)):
        if not m.value(name, number):
            yield f"{name}-{number}"
    if m.value("ORC", 2) != m.value("OBR", 2) or m.value("ORC", 3) != m.value("OBR", 3):
        yield "ORC and OBR"
    for (name, number), longest in LONGEST.items():
        if any(len(field(s, number)) > longest for s in m.all(name)):
            yield f"{name}-{number} too long"
    for segment in m.segments:
        for number, value in enumerate(segment[1:], 1):
            if "\\" in ESCAPE.sub("", value) and (segment[0], number) != ("MSH", 2):
                yield f"{segment[0]}-{number} escape"
    yield from _observations(m)


def _observations(m: Message) -> Iterator[str]:
    coded = "CWE" if m.value("MSH", 12) >= "2.5" else "CE"
    seen = set()
    for number, obx in enumerate(m.all("OBX"), 1):
        if field(obx, 1) != str(number):
            yield "OBX-1"
        if field(obx, 2) not in {"NM", "ST", "TX", coded}:
            yield "OBX-2"
        if len([c for c in field(obx, 3).split("^") if c]) != 3:
            yield "OBX-3"
        if (key := (field(obx, 3), field(obx, 4))) in seen:
            yield f"OBX-3 and OBX-4 {key} twice"
        seen.add(key)
        value = field(obx, 5)
        if not value:
            yield "OBX-5"
        if field(obx, 2) == "NM" and not NUMBER.fullmatch(value):
            yield "OBX-5 NM"
        if field(obx, 2) in {"CE", "CWE"} and len(value.split("^")) != 3:
            yield "OBX-5 coded"
        if field(obx, 2) in {"ST", "TX"}:
            lines = value.split("~") if field(obx, 2) == "TX" else [value]
            if any(re.search(r"[\^&~]", line) for line in lines):
                yield "OBX-5 text"
            if any(len(line) > 199 for line in lines):
                yield "OBX-5 too long"
        if field(obx, 8) not in {"", "A", "N"}:
            yield "OBX-8"
        if field(obx, 11) not in {"P", "C", "W"}:
            yield "OBX-11"
        if not TIME.fullmatch(field(obx, 14)):
            yield "OBX-14"
        if m.value("MSH", 12) < "2.4" and len(obx) > 18:
            yield "OBX-18 before 2.4"
        if field(obx, 19) and not TIME.fullmatch(field(obx, 19)):
            yield "OBX-19"
        if len(obx) > 26:
            yield "OBX has too many fields"
