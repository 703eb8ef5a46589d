"""Manifests of a training: written and read, checked, and imported from two public layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")  # of the extra train

from appliance.service.pipeline_assembly import SHIPPED
from engines.training.dataset import LEARN_ONLY
from provisioning.phantoms import phantom
from provisioning.training.manifest import (
    ManifestRow,
    check_teaches,
    from_fracatlas,
    from_grazpedwri,
    read_manifest,
    write_manifest,
)
from provisioning.training.material import SITES, prepare_labelled, prepare_unlabelled


def test_written_manifest_reads_back(tmp_path: Path) -> None:
    rows = [
        ManifestRow(
            file="a, b.png", group="1", regions="wrist 1 2 3.5 4;hand 0 0 9 9", fractured="1", fractures="1 2 3 4"
        ),
        ManifestRow(file="c.dcm", group="2", regions="", flags="hardware cast", split="train"),
    ]
    write_manifest(rows, tmp_path / "manifest.csv")
    assert read_manifest(tmp_path / "manifest.csv") == rows
    assert rows[0].region_boxes() == [("wrist", (1, 2, 3.5, 4)), ("hand", (0, 0, 9, 9))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,regions\na,wrist", "lacks the columns group"),
        ("file,group,regions\na,1,wrist 1 2 3", "line 2: a box has four numbers, not 3"),
        ("file,group,regions\na,1,wrist 5 5 5 9", "line 2: a box is empty"),
        ("file,group,regions,fractured,fractures\na,1,?,1,1 2 3", "line 2: a box has four numbers, not 3"),
        ("file,group,regions,fractured\na,1,wrist,yes", "line 2: fractured is 1, 0 or empty, not yes"),
    ],
)
def test_manifest_with_an_unusable_row_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path / "manifest.csv")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ManifestRow(file="a", group="1", regions="wrist", fractured="1"), "line 2: fractured 1 needs a box"),
        (ManifestRow(file="a", group="1", regions="?"), "line 2: regions . needs fractured 0"),
    ],
)
def test_row_that_can_be_evaluated_but_not_learned_from_is_refused_by_a_training(
    tmp_path: Path, row: ManifestRow, message: str
) -> None:
    write_manifest([row], tmp_path / "manifest.csv")
    assert read_manifest(tmp_path / "manifest.csv") == [row]
    with pytest.raises(ValueError, match=message):
        check_teaches([row])


def test_radiographs_of_a_manifest_are_prepared_as_by_the_appliance(tmp_path: Path) -> None:
    drawn = phantom("wrist", seed=7, fracture=True)
    for number in range(6):
        Image.fromarray(drawn.pixels).save(tmp_path / f"{number}.png")
    assert drawn.fracture is not None
    x0, y0, x1, y1 = drawn.fracture
    rows = [
        ManifestRow(
            file=f"{number}.png",
            group=str(number // 2),
            regions="wrist;toe 0 0 9 9",
            fractured="1",
            fractures=f"{x0} {y0} {x1} {y1}",
            flags="cast" if number == 1 else "",
        )
        for number in range(6)
    ]
    dataset = prepare_labelled(rows, tmp_path, tmp_path / "cache" / "six.npz")
    assert dataset.labels.all() and len(dataset.labels) == 6  # the toe is not a site of ours
    assert {str(dataset.sites[s]) for s in dataset.site} == {"wrist"} and dataset.sites.tolist() == list(SITES)
    assert (dataset.fold[::2] == dataset.fold[1::2]).all() and len(dataset.folds) == 3
    assert dataset.flag("cast").tolist() == [False, True, False, False, False, False]
    assert dataset.regions.std() > 0 and (dataset.masks == 1).any((1, 2)).all()
    again = prepare_labelled([], tmp_path, tmp_path / "cache" / "six.npz")  # from the cache
    np.testing.assert_array_equal(again.regions, dataset.regions)


def test_split_of_the_manifest_is_kept(tmp_path: Path) -> None:
    Image.fromarray(phantom("knee", seed=1, fracture=False).pixels).save(tmp_path / "a.png")
    rows = [ManifestRow(file="a.png", group=str(n), regions="knee", split=s) for n, s in enumerate(("train", "1", "0"))]
    assert prepare_labelled(rows, tmp_path, tmp_path / "three.npz").fold.tolist() == [LEARN_ONLY, 1, 0]


def test_unlabelled_radiographs_get_located_regions_and_the_fold_of_their_group(tmp_path: Path) -> None:
    rows = []
    for number in range(8):
        drawn = phantom("wrist", seed=20 + number, fracture=False)
        Image.fromarray(drawn.pixels).save(tmp_path / f"{number}.png")
        whole, group = number >= 5, "lone" if number == 7 else str(number % 5)
        rows.append(ManifestRow(file=f"{number}.png", group=group, regions="?" if whole else "wrist", fractured="0"))
    labelled = prepare_labelled(rows, tmp_path, tmp_path / "labelled.npz")
    assert len(labelled.radiographs) == 5
    # the pack of phantoms names its sites in the order in which ours begin
    found = prepare_unlabelled(rows, tmp_path, SHIPPED / "phantom" / "localiser.onnx", tmp_path / "unread.npz")
    assert found is not None and len(found.radiographs) == 3 and not found.labels.any() and found.clear.all()
    assert found.fold.tolist() == [labelled.fold[0], labelled.fold[1], LEARN_ONLY]
    assert [str(found.sites[s]) for s in found.site] == ["wrist"] * 3
    both = labelled.join(found)
    assert both.radiograph.tolist() == [0, 1, 2, 3, 4, 5, 6, 7] and len(both.radiographs) == 8
    assert prepare_unlabelled(rows[:5], tmp_path, tmp_path / "none.onnx", tmp_path / "none.npz") is None


def test_fracatlas_folder_gives_labelled_and_unlabelled_rows(tmp_path: Path) -> None:
    lines = (
        "file,fractured,hardware,truncated_jpeg,boxes_xyxy,phash_group,hand,leg,hip,shoulder",
        "images/IMG0000011.jpg,0,1,0,,a,0,0,1,1",
        "images/IMG0000015.jpg,0,0,1,,b,0,1,0,0",
        "images/IMG9000012.jpg,1,0,0,1 1 9 9,a,0,1,0,0",
        "images/IMG9000013.jpg,0,0,0,,a,0,1,0,0",
        "images/IMG9000014.jpg,0,0,0,,c,0,1,0,0",
        "images/IMG0000018.jpg,0,0,0,,d,0,1,0,0",
        "images/IMG0000010.jpg,0,0,0,,d,0,1,0,0",
    )
    (tmp_path / "radiographs.csv").write_text("\n".join(lines))
    # the second is truncated, the next fractured, and the last looks like one group and is beside another
    row, other, beside, lone = from_fracatlas(tmp_path)
    assert not other.is_unlabelled and other.group != row.group
    assert beside.is_unlabelled and beside.group == row.group and lone.is_unlabelled and lone.group != row.group
    assert (row.flags, row.part, lone.part) == ("hardware", "hip and shoulder", "leg")
    assert "shoulder" in dict(row.region_boxes())


def test_grazpedwri_folder_gives_rows_with_boxes(tmp_path: Path) -> None:
    columns = "filestem,patient_id,ao_classification,cast,fracture_visible,metal"
    (tmp_path / "metadata.csv").write_text(f"{columns}\na,7,23r-M/2.1,1,1,\nb,8,,,,\nc,9,23r-M/2.1,,,\nd,9,,,,\n")
    for stem in "abcd":
        Image.fromarray(np.full((40, 20), 9, np.uint16)).save(tmp_path / f"{stem}.png")
    (tmp_path / "a.txt").write_text("8 0.1 0.1 0.1 0.1\n3 0.5 0.5 0.5 0.25\n")
    (tmp_path / "b.txt").write_text("4 0.5 0.5 0.1 0.1\n")
    (tmp_path / "c.txt").write_text("8 0.1 0.1 0.1 0.1\n")  # a fracture without a box; d has no labels
    broken, whole = from_grazpedwri(tmp_path)
    assert (broken.group, broken.fractured, broken.flags) == ("7", "1", "cast")
    assert broken.fracture_boxes() == [(5, 15, 15, 25)] and broken.region_boxes() == [("wrist", None)]
    assert (whole.fractured, whole.flags) == ("0", "hardware")
