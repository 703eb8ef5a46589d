"""The manifest of a training: a CSV with a line per radiograph, and importers that write it for two public layouts.

========== ============================================================================================================
column     what it holds
========== ============================================================================================================
file       picture or DICOM file, relative to the manifest's folder or absolute
group      films of one group never stand on both sides of a test (a patient; look-alikes)
regions    ``site x0 y0 x1 y1`` in pixels of the stored file, ``;`` between them; ``site`` alone is the whole film;
           ``?`` where nobody has looked: the regions of such a whole film are found by the localiser, and learned from
fractured  1, 0, or empty where a film is not known to be either
fractures  ``x0 y0 x1 y1`` of each fracture, ``;`` between them; a fracture without a box cannot be learned from
flags      words on the whole film, spaces between them: ``hardware cast``
split      a fold's number, ``train`` (learned from, never tested on), or empty: folds are then made from the groups
========== ============================================================================================================
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import click
from PIL import Image

from engines.training.split import groups_of

Corners = tuple[float, float, float, float]
NAME = "manifest.csv"
UNREAD = "?"
LABELS = Path(__file__).parents[2] / "engines" / "training" / "labels"
FRACTURE, METAL = 3, 4  # classes of GRAZPEDWRI-DX's YOLO labels (Nagy et al., Sci Data 9, 222 (2022), table 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line, as text; empty regions mean that the film shows none of the sites."""

    file: str
    group: str
    regions: str
    fractured: str = ""
    fractures: str = ""
    flags: str = ""
    split: str = ""

    @property
    def is_unread(self) -> bool:
        """Nobody has looked for its regions."""
        return self.regions.strip() == UNREAD

    def located(self) -> list[tuple[str, Corners | None]]:
        """Sites and their boxes; None is the whole film."""
        found: list[tuple[str, Corners | None]] = []
        if self.is_unread:
            return found
        for text in filter(str.strip, self.regions.split(";")):
            site, *corners = text.split()
            found.append((site, _corners(corners) if corners else None))
        return found

    def broken(self) -> list[Corners]:
        """The fractures' boxes."""
        return [_corners(text.split()) for text in filter(str.strip, self.fractures.split(";"))]


def read_manifest(path: Path) -> list[Row]:
    """Read the manifest at `path`.

    Raises
    ------
    ValueError
        If a column is missing, a box is none, or a film is fractured and nobody says where.
    """
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        known = [f.name for f in fields(Row)]
        if missing := {"file", "group", "regions"} - set(reader.fieldnames or ()):
            raise ValueError(f"{path.name} lacks the columns {', '.join(sorted(missing))}")
        rows = [Row(**{k: r[k] or "" for k in known if k in r}) for r in reader]
    for number, row in enumerate(rows, start=2):
        try:
            row.located()
            if row.is_unread and row.fractured != "0":
                raise ValueError(
                    "regions that nobody has looked at can only be learned from where nothing is fractured"
                )
            if row.fractured == "1" and not row.broken():
                raise ValueError("fractured, but no box says where")
        except ValueError as error:
            raise ValueError(f"{path.name}, line {number}: {error}") from error
    return rows


def write_manifest(rows: Iterable[Row], path: Path) -> None:
    """Write `rows` to `path`."""
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, [f.name for f in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def from_fracatlas(folder: Path) -> list[Row]:
    """The undamaged films of FracAtlas: ``radiographs.csv`` and ``images/`` in `folder`, our region labels.

    Of the films whose regions nobody has labelled: those without fracture or metal that are neighbours or look-alikes
    of the films of one group, to which they then belong, or of none.
    """
    facts = {r["file"]: r for r in _table(folder / "radiographs.csv") if r["truncated_jpeg"] == "0"}
    seen = {r["file"]: r for r in _table(LABELS / "films.csv") if r["file"] in facts}
    regions: dict[str, list[tuple[str, str]]] = {f: [] for f in seen}
    for r in _table(LABELS / "regions.csv"):
        if r["file"] in seen:
            regions[r["file"]].append((r["region"], " ".join(r[k] for k in ("x0", "y0", "x1", "y1"))))
    groups = groups_of(
        [_number(f) for f in seen],
        [facts[f]["phash_group"] for f in seen],
        [[site for site, _ in regions[f]] for f in seen],
    )
    labelled = [
        Row(
            file=str((folder / f).resolve()),
            group=f"{group:05}",
            regions=";".join(f"{site} {corners}" for site, corners in regions[f]),
            fractured=facts[f]["fractured"],
            fractures=facts[f]["boxes_xyxy"],
            flags=_words(hardware="1" in (facts[f]["hardware"], s["hardware"]), cast=s["cast"] == "1"),
        )
        for (f, s), group in zip(seen.items(), groups, strict=True)
    ]
    near: dict[str | int, set[str]] = {}
    for row, f in zip(labelled, seen, strict=True):
        for key in (facts[f]["phash_group"], _number(f)):
            near.setdefault(key, set()).add(row.group)
    unread = []
    for f in facts.keys() - seen.keys():
        if facts[f]["fractured"] != "0" or facts[f]["hardware"] != "0":
            continue
        beside = set().union(*(near.get(k, set()) for k in (facts[f]["phash_group"], _number(f) - 1, _number(f) + 1)))
        if len(beside) <= 1:
            group = beside.pop() if beside else f"unread {facts[f]['phash_group']}"
            unread.append(Row(file=str((folder / f).resolve()), group=group, regions=UNREAD, fractured="0"))
    return labelled + sorted(unread, key=lambda row: row.file)


def _number(file: str) -> int:
    return int(re.findall(r"\d+", file)[-1])


def from_grazpedwri(folder: Path) -> list[Row]:
    """GRAZPEDWRI-DX: ``metadata.csv``, pictures, and their YOLO labels beside them."""
    rows = []
    for r in _table(folder / "metadata.csv"):
        picture = folder / f"{r['filestem']}.png"
        if not picture.exists():
            continue
        with Image.open(picture) as p:
            width, height = p.size
        label = picture.with_suffix(".txt")
        boxes = [b for b in map(str.split, label.read_text().splitlines()) if b] if label.exists() else []
        broken = [_unscaled(b[1:], width, height) for b in boxes if int(b[0]) == FRACTURE]
        if not label.exists() or (not broken and (r["fracture_visible"] == "1" or r["ao_classification"])):
            continue  # nobody has looked, or nobody says where the fracture is
        rows.append(
            Row(
                file=str(picture.resolve()),
                group=r["patient_id"],
                regions="wrist",
                fractured="1" if broken else "0",
                fractures=";".join(" ".join(f"{v:.1f}" for v in b) for b in broken),
                flags=_words(
                    hardware=r["metal"] == "1" or any(int(b[0]) == METAL for b in boxes), cast=r["cast"] == "1"
                ),
            )
        )
    return rows


IMPORTERS: dict[str, Callable[[Path], list[Row]]] = {"fracatlas": from_fracatlas, "grazpedwri": from_grazpedwri}


@click.command()
@click.argument("layout", type=click.Choice(list(IMPORTERS)))
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.argument("manifest", type=click.Path(path_type=Path))
def main(layout: str, folder: Path, manifest: Path) -> None:
    """Write the MANIFEST of the films that lie in FOLDER in a known LAYOUT."""
    write_manifest(IMPORTERS[layout](folder), manifest)


def _unscaled(box: Sequence[str], width: int, height: int) -> Corners:
    x, y, w, h = (float(v) for v in box)
    return (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height


def _corners(texts: Sequence[str]) -> Corners:
    if len(texts) != 4:
        raise ValueError(f"a box has four numbers, not {len(texts)}")
    x0, y0, x1, y1 = (float(t) for t in texts)
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"a box is empty: {' '.join(texts)}")
    return x0, y0, x1, y1


def _words(**flags: bool) -> str:
    return " ".join(word for word, is_set in flags.items() if is_set)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


if __name__ == "__main__":
    main()
