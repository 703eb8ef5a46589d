"""Training: parts that share nothing, targets that follow their pictures, graphs that carry their gradient."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")  # only whoever trains needs it
pytest.importorskip("onnxscript")

from engines.pack import read_pack  # noqa: E402  after the check that torch is there
from engines.training.augment import Augmentation, warp, warp_boxes  # noqa: E402
from engines.training.calibration import calibrate, operating_points  # noqa: E402
from engines.training.dataset import Dataset, Part  # noqa: E402
from engines.training.evaluate import iou, pointing_game  # noqa: E402
from engines.training.losses import box_loss  # noqa: E402
from engines.training.manifest import toml  # noqa: E402
from engines.training.networks import FractureNetwork, LocaliserNetwork, soft_maximum  # noqa: E402
from engines.training.pack_writer import PackSpec, write_pack  # noqa: E402
from engines.training.performance import auroc, share  # noqa: E402
from engines.training.split import SHARES, groups_of, split  # noqa: E402
from engines.training.targets import grid_targets, place_targets  # noqa: E402


def test_neighbours_and_look_alikes_are_one_group() -> None:
    groups = groups_of([1, 2, 9, 20, 21, 40], ["a", "b", "b", "c", "d", "e"])
    assert groups[0] == groups[1] == groups[2]
    assert groups[3] == groups[4]
    assert len({groups[0], groups[3], groups[5]}) == 3


def test_no_group_stands_in_two_parts_and_each_part_gets_its_share() -> None:
    rng = np.random.default_rng(3)
    groups = np.sort(rng.integers(0, 150, 500))
    traits = np.stack([np.ones(500), rng.random(500) < 0.3], 1).astype(float)
    parts = split(groups, traits, seed=1)
    assert all(len(set(parts[groups == g])) == 1 for g in set(groups))
    for part, wanted in SHARES.items():
        np.testing.assert_allclose(traits[parts == part].sum(0) / traits.sum(0), wanted, atol=0.05)


def test_boxes_follow_the_picture_through_every_augmentation() -> None:
    generator = torch.Generator().manual_seed(5)
    maps = Augmentation(quarter_turns=True).maps(16, generator)
    y, x = torch.meshgrid(torch.arange(128) + 0.5, torch.arange(128) + 0.5, indexing="ij")
    inside = ((x - 70) / 20) ** 2 + ((y - 55) / 10) ** 2 <= 1  # the ellipse that fills the box
    moved = warp(inside.float().expand(16, 1, 128, 128), maps)
    boxes = warp_boxes(torch.tensor([[50.0, 45.0, 90.0, 65.0]]).expand(16, 4), maps, 128)
    for picture, box in zip(moved[:, 0], boxes, strict=True):
        rows, columns = torch.nonzero(picture > 0.5).unbind(1)
        drawn = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert torch.allclose(drawn.float(), box, atol=1.5)


def test_grid_says_centre_and_box() -> None:
    box = torch.tensor([[96.0, 64.0, 224.0, 320.0]])
    heat, distances, weight = grid_targets(box, torch.tensor([2]), torch.tensor([1]), 2, 3, 32)
    assert heat[1, 2, 12, 10] == 1 and heat.sum((1, 2, 3))[0] == 0
    x, y = 10.5 * 16, 12.5 * 16
    assert distances[1, :, 12, 10].tolist() == [x - 96, y - 64, 224 - x, 320 - y]
    assert box_loss(distances, distances, weight).item() == pytest.approx(0, abs=1e-6)


def test_a_line_thinner_than_a_cell_still_has_a_place() -> None:
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, 0, 10, 8:40] = 1
    mask[1, 0, :8] = 2
    fracture, known = place_targets(mask)
    assert fracture[0].sum() == 8 and fracture[1].sum() == 0
    assert known[0].all() and known[1].sum() == 14 * 16


def test_soft_maximum_is_log_sum_exp_and_survives_large_scores() -> None:
    scores = torch.randn(3, 2, 5, 7) * 300
    torch.testing.assert_close(soft_maximum(scores), torch.logsumexp(scores.flatten(2), 2))


def test_intervals_hold_the_point_and_do_not_collapse() -> None:
    assert share(0, 0)[0] != share(0, 0)[0]
    assert share(197, 200)[1] > 0.95 > share(196, 200)[1]  # DESIGN.md, rollout
    area, low, high = auroc(np.array([0.1, 0.2, 0.9]), np.array([False, False, True]))
    assert (area, high) == (1.0, 1.0) and 0 < low < 1
    area, low, high = auroc(np.array([1.0, 1.0, 1.0, 1.0]), np.array([True, False, True, False]))
    assert low < area == 0.5 < high


def test_calibration_recovers_the_odds_and_orders_the_points() -> None:
    rng = np.random.default_rng(2)
    logit = rng.normal(0, 3, 4000)
    site = rng.integers(0, 2, 4000)
    label = rng.random(4000) < 1 / (1 + np.exp(-(0.5 * logit - 1 + site)))
    first, second = calibrate(logit, label, site, 2)
    assert first.scale == second.scale == pytest.approx(0.5, abs=0.05)
    assert (first.offset, second.offset) == pytest.approx((-1, 0), abs=0.2)
    for fractured, unbroken in (([0.2, 0.9], [0.1, 0.6]), ([0.9, 0.99], [0.01, 0.02]), ([0.5], [0.5])):
        doubt, positive = operating_points(np.array(fractured), np.array(unbroken))
        assert 0 <= doubt <= positive <= 1


def test_pointing_forgives_one_cell_and_no_more() -> None:
    mask = np.zeros((2, 64, 64), np.uint8)
    mask[:, 20:24, 20:24] = 1  # cell (5, 5)
    cams = np.zeros((2, 16, 16), np.float32)
    cams[0, 6, 4] = cams[1, 5, 7] = 1
    assert pointing_game(cams, mask)[0] == 0.5


def test_manifest_reads_back() -> None:
    table = {"a": 'x "y" ü', "n": 3, "f": 0.1, "l": [1.0, 2.5], "t": {"local.onnx": "ff", "u": {"ok": True}}}
    assert tomllib.loads(toml(table)) == table


def test_overlap_of_boxes() -> None:
    a = np.array([[0, 0, 2, 2], [5, 5, 6, 6]], np.float32)
    np.testing.assert_allclose(iou(a, a[:1] + np.float32(1))[:, 0], [1 / 7, 0], atol=1e-6)


def test_a_pack_of_untrained_networks_is_accepted_by_the_loader(tmp_path: Path) -> None:
    # export checks the gradient in the graph against autograd and would raise
    rng = np.random.default_rng(0)
    n, part = 6, np.array([Part.TRAIN, Part.VALIDATION, Part.TEST] * 2, np.int8)
    dataset = Dataset(
        sites=np.array(["ankle", "wrist"]),
        films=rng.integers(0, 256, (n, 512, 512)).astype(np.uint8),
        part=part,
        hardware=np.zeros(n, np.bool_),
        boxes=np.tile(np.float32([[100, 100, 300, 300]]), (n, 1)),
        regions=rng.integers(0, 256, (n, 256, 256)).astype(np.uint8),
        masks=np.ones((n, 64, 64), np.uint8),
        labels=np.arange(n) < 3,
        clear=np.ones(n, np.bool_),
        site=np.array([1, 1, 1, 1, 1, 1]),
        film=np.arange(n),
    )
    spec = PackSpec(
        name="tiny",
        version="0",
        kind="synthetic",
        description="untrained",
        preprocessing="abc",
        data={"name": "noise"},
        notes="",
        classified=["wrist"],
    )
    folder = tmp_path / "tiny"
    write_pack(spec, dataset, LocaliserNetwork(2, (4, 4, 4, 4, 4)), FractureNetwork(2, (4, 4, 4, 8)), folder)
    pack = read_pack(folder, "abc")
    assert pack.is_synthetic and set(pack.classifiers) == {"wrist"}
    assert "SYNTHETIC" in (folder / "README.md").read_text(encoding="utf-8")
    goldens = pack.goldens()
    assert goldens["wrist/gradients"].shape == goldens["wrist/activations"].shape == (1, 8, 16, 16)
    assert not list(tmp_path.glob(".*"))
