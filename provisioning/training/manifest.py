"""The manifest of a training: a CSV with a line per radiograph, and importers that write it for two public layouts.

========== ============================================================================================================
column     content
========== ============================================================================================================
file       picture or DICOM file, relative to the manifest's folder or absolute
group      radiographs of one group (a patient; look-alikes) never stand on both sides of a test
regions    ``site x0 y0 x1 y1`` in pixels of the stored file, ``;`` between them; ``site`` alone: the whole radiograph;
           ``?``: not labelled; a training finds the regions of an unfractured one with the localiser, and skips others
fractured  1, 0, or empty if unknown
fractures  ``x0 y0 x1 y1`` of each fracture, ``;`` between them; a fracture without a box cannot be learned from
part       part of the body, by which an evaluation of whole radiographs is divided
flags      words about the whole radiograph, spaces between them: ``hardware cast``
split      a fold's number; ``train``: learned from, never tested on; empty: folds are made from the groups
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

from engines.training.split import group_radiographs

Corners = tuple[float, float, float, float]
"""x0, y0, x1, y1 of a box, px."""

NAME = "manifest.csv"
"""File name of a manifest that lies in the folder of its radiographs."""

UNLABELLED = "?"
"""Column `regions` of a radiograph without region labels."""

LABELS = Path(__file__).parents[2] / "engines" / "training" / "labels"
"""Region labels of FracAtlas, made for this project."""

FRACTURE = 3
"""Class of a fracture in GRAZPEDWRI-DX's YOLO labels (Nagy et al., Sci Data 9, 222 (2022), table 3)."""

METAL = 4
"""Class of metal in the same labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """One line of a manifest, as text; empty regions mean that the radiograph shows none of the sites."""

    file: str
    group: str
    regions: str
    fractured: str = ""
    fractures: str = ""
    part: str = ""
    flags: str = ""
    split: str = ""

    @property
    def is_unlabelled(self) -> bool:
        """True if the radiograph has no region labels."""
        return self.regions.strip() == UNLABELLED

    def region_boxes(self) -> list[tuple[str, Corners | None]]:
        """Return each region's site and box; a box of None is the whole radiograph."""
        found: list[tuple[str, Corners | None]] = []
        if self.is_unlabelled:
            return found
        for text in filter(str.strip, self.regions.split(";")):
            site, *corners = text.split()
            found.append((site, _corners(corners) if corners else None))
        return found

    def fracture_boxes(self) -> list[Corners]:
        """Return the fractures' boxes."""
        return [_corners(text.split()) for text in filter(str.strip, self.fractures.split(";"))]


def read_manifest(path: Path) -> list[ManifestRow]:
    """Read the manifest at `path`.

    Raises
    ------
    ValueError
        If a column is missing, or a box is invalid.
    """
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        known = [f.name for f in fields(ManifestRow)]
        if missing := {"file", "group", "regions"} - set(reader.fieldnames or ()):
            raise ValueError(f"{path.name} lacks the columns {', '.join(sorted(missing))}")
        rows = [ManifestRow(**{k: r[k] or "" for k in known if k in r}) for r in reader]
    for number, row in enumerate(rows, start=2):
        try:
            row.region_boxes()
            row.fracture_boxes()
            if row.fractured not in ("1", "0", ""):
                raise ValueError(f"fractured is 1, 0 or empty, not {row.fractured}")
        except ValueError as error:
            raise ValueError(f"{path.name}, line {number}: {error}") from error
    return rows


def check_teaches(rows: Iterable[ManifestRow]) -> None:
    """Check that a network can learn from every row.

    Raises
    ------
    ValueError
        If a radiograph without region labels may be fractured, or a fractured one has no fracture box.
    """
    for number, row in enumerate(rows, start=2):
        if row.is_unlabelled and row.fractured != "0":
            raise ValueError(f"line {number}: regions ? needs fractured 0: only an unfractured radiograph teaches so")
        if row.fractured == "1" and not row.fracture_boxes():
            raise ValueError(f"line {number}: fractured 1 needs a box in the column fractures")


def write_manifest(rows: Iterable[ManifestRow], path: Path) -> None:
    """Write `rows` as CSV to `path`."""
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, [f.name for f in fields(ManifestRow)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def from_fracatlas(folder: Path) -> list[ManifestRow]:
    """Return the rows of FracAtlas: ``radiographs.csv`` and ``images/`` in `folder`, with our own region labels.

    Truncated files are left out. A radiograph without region labels is taken if it shows neither fracture nor metal and
    its neighbours and look-alikes among the labelled ones belong to at most one group, which it then joins.
    """
    facts = {r["file"]: r for r in _table(folder / "radiographs.csv") if r["truncated_jpeg"] == "0"}
    labels = {r["file"]: r for r in _table(LABELS / "films.csv") if r["file"] in facts}
    regions: dict[str, list[tuple[str, str]]] = {f: [] for f in labels}
    for r in _table(LABELS / "regions.csv"):
        if r["file"] in labels:
            regions[r["file"]].append((r["region"], " ".join(r[k] for k in ("x0", "y0", "x1", "y1"))))
    groups = group_radiographs(
        [_number(f) for f in labels],
        [facts[f]["phash_group"] for f in labels],
        [[site for site, _ in regions[f]] for f in labels],
    )
    labelled = [
        ManifestRow(
            file=str((folder / f).resolve()),
            group=f"{group:05}",
            regions=";".join(f"{site} {corners}" for site, corners in regions[f]),
            fractured=facts[f]["fractured"],
            fractures=facts[f]["boxes_xyxy"],
            part=_part(facts[f]),
            flags=_flag_words(hardware="1" in (facts[f]["hardware"], s["hardware"]), cast=s["cast"] == "1"),
        )
        for (f, s), group in zip(labels.items(), groups, strict=True)
    ]
    groups_near: dict[str | int, set[str]] = {}
    for row, f in zip(labelled, labels, strict=True):
        for key in (facts[f]["phash_group"], _number(f)):
            groups_near.setdefault(key, set()).add(row.group)
    unlabelled = []
    for f in facts.keys() - labels.keys():
        if facts[f]["fractured"] != "0" or facts[f]["hardware"] != "0":
            continue
        keys = (facts[f]["phash_group"], _number(f) - 1, _number(f) + 1)
        beside = set().union(*(groups_near.get(key, set()) for key in keys))
        if len(beside) <= 1:
            group = beside.pop() if beside else f"unread {facts[f]['phash_group']}"
            row = ManifestRow(
                file=str((folder / f).resolve()), group=group, regions=UNLABELLED, fractured="0", part=_part(facts[f])
            )
            unlabelled.append(row)
    return labelled + sorted(unlabelled, key=lambda row: row.file)


def _part(facts: dict[str, str]) -> str:
    """Return the parts of the body that FracAtlas flags on a radiograph."""
    return " and ".join(part for part in ("hand", "leg", "hip", "shoulder") if facts[part] == "1")


def _number(file: str) -> int:
    """Return the number in a file's name."""
    return int(re.findall(r"\d+", file)[-1])


def from_grazpedwri(folder: Path) -> list[ManifestRow]:
    """Return the rows of GRAZPEDWRI-DX: ``metadata.csv``, pictures, and their YOLO labels beside them."""
    rows = []
    for r in _table(folder / "metadata.csv"):
        picture = folder / f"{r['filestem']}.png"
        if not picture.exists():
            continue
        with Image.open(picture) as p:
            width, height = p.size
        label = picture.with_suffix(".txt")
        boxes = [b for b in map(str.split, label.read_text().splitlines()) if b] if label.exists() else []
        fractures = [_corners_from_yolo(b[1:], width, height) for b in boxes if int(b[0]) == FRACTURE]
        if not label.exists() or (not fractures and (r["fracture_visible"] == "1" or r["ao_classification"])):
            continue  # without labels, or without a box of the fracture
        rows.append(
            ManifestRow(
                file=str(picture.resolve()),
                group=r["patient_id"],
                regions="wrist",
                fractured="1" if fractures else "0",
                fractures=";".join(" ".join(f"{v:.1f}" for v in b) for b in fractures),
                flags=_flag_words(
                    hardware=r["metal"] == "1" or any(int(b[0]) == METAL for b in boxes), cast=r["cast"] == "1"
                ),
            )
        )
    return rows


IMPORTERS: dict[str, Callable[[Path], list[ManifestRow]]] = {"fracatlas": from_fracatlas, "grazpedwri": from_grazpedwri}
"""Layout -> function that returns the rows of a folder in that layout."""


@click.command()
@click.argument("layout", type=click.Choice(list(IMPORTERS)))
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--fold", type=int, help="Only the radiographs with region labels that a training gives this fold.")
def main(layout: str, folder: Path, manifest: Path, fold: int | None) -> None:
    """Write the MANIFEST of the radiographs in FOLDER, which has a known LAYOUT."""
    rows = IMPORTERS[layout](folder)
    if fold is not None:
        from .material import fold_numbers  # imports this module

        numbers = fold_numbers(rows)
        rows = [row for row, number in zip(rows, numbers, strict=True) if number == fold and not row.is_unlabelled]
    write_manifest(rows, manifest)


def _corners_from_yolo(box: Sequence[str], width: int, height: int) -> Corners:
    """Return the corners, px, of a YOLO box: centre and size as shares of the picture's sides."""
    x, y, w, h = (float(v) for v in box)
    return (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height


def _corners(texts: Sequence[str]) -> Corners:
    if len(texts) != 4:
        raise ValueError(f"a box has four numbers, not {len(texts)}")
    x0, y0, x1, y1 = (float(t) for t in texts)
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"a box is empty: {' '.join(texts)}")
    return x0, y0, x1, y1


def _flag_words(**flags: bool) -> str:
    return " ".join(word for word, is_set in flags.items() if is_set)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


if __name__ == "__main__":
    main()
