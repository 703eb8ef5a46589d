"""Training: folds that share nothing, targets that follow their pictures, graphs that compute their gradient."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")  # of the extra train
pytest.importorskip("onnxscript")

from engines.pack import read_pack  # noqa: E402  after the check that torch is there
from engines.training.augment import Augmentation, warp, warp_boxes  # noqa: E402
from engines.training.calibration import calibrate, operating_points  # noqa: E402
from engines.training.classifier import train_classifiers  # noqa: E402
from engines.training.dataset import LEARN_ONLY, Dataset  # noqa: E402
from engines.training.depthwise import DepthwiseConv2d  # noqa: E402
from engines.training.evaluate import centre_prior, heat_inside, iou, pointing_game  # noqa: E402
from engines.training.evidence import Evidence, cross_fit, examine  # noqa: E402
from engines.training.export import export_classifier, fold_and_round  # noqa: E402
from engines.training.frames import add_frame, draw_junk, equalise  # noqa: E402
from engines.training.loop import Schedule  # noqa: E402
from engines.training.losses import box_loss, heat_loss  # noqa: E402
from engines.training.networks import (  # noqa: E402
    FractureNetwork,
    lite_fractures,
    lite_localiser,
    plain_fractures,
    plain_localiser,
    soft_maximum,
)
from engines.training.pack_writer import PackSpec, write_pack  # noqa: E402
from engines.training.performance import auroc, mean_over_radiographs, share  # noqa: E402
from engines.training.split import assign_folds, group_radiographs  # noqa: E402
from engines.training.targets import grid_targets, place_targets  # noqa: E402
from engines.training.toml_writer import toml  # noqa: E402


def test_grouping_of_neighbours_and_look_alikes_joins_them() -> None:
    shown = [["wrist"], ["wrist", "hand"], ["hip"], ["knee"], ["ankle"], []]
    groups = group_radiographs([1, 2, 9, 20, 21, 22], ["a", "b", "b", "c", "d", "e"], shown)
    assert groups[0] == groups[1] == groups[2]
    assert groups[4] == groups[5]  # the last has no known regions: it joins its neighbour
    assert len({groups[0], groups[3], groups[4]}) == 3


def test_folds_hold_whole_groups_and_even_shares() -> None:
    rng = np.random.default_rng(3)
    groups = np.sort(rng.integers(0, 150, 500))
    traits = np.stack([np.ones(500), rng.random(500) < 0.3], 1).astype(float)
    parts = assign_folds(groups, traits, 5, seed=1)
    assert all(len(set(parts[groups == g])) == 1 for g in set(groups))
    for part in range(5):
        np.testing.assert_allclose(traits[parts == part].sum(0) / traits.sum(0), 0.2, atol=0.05)


def test_augmented_boxes_enclose_the_augmented_picture() -> None:
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


def test_grid_targets_of_a_region_hold_its_centre_and_box() -> None:
    box = torch.tensor([[96.0, 64.0, 224.0, 320.0]])
    heat, distances, weight = grid_targets(box, torch.tensor([2]), torch.tensor([1]), 2, 3, 32)
    assert heat[1, 2, 12, 10] == 1 and heat.sum((1, 2, 3))[0] == 0
    x, y = 10.5 * 16, 12.5 * 16
    assert distances[1, :, 12, 10].tolist() == [x - 96, y - 64, 224 - x, 320 - y]
    assert box_loss(distances, distances, weight).item() == pytest.approx(0, abs=1e-6)


def test_place_targets_of_a_thin_line_are_not_empty() -> None:
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, 0, 10, 8:40] = 1
    mask[1, 0, :8] = 2
    fracture, known = place_targets(mask)
    assert fracture[0].sum() == 8 and fracture[1].sum() == 0
    assert known[0].all() and known[1].sum() == 14 * 16


def test_soft_maximum_of_large_scores_is_log_sum_exp() -> None:
    scores = torch.randn(3, 2, 5, 7) * 300
    torch.testing.assert_close(soft_maximum(scores), torch.logsumexp(scores.flatten(2), 2))


def test_intervals_contain_the_estimate_and_do_not_collapse() -> None:
    assert share(0, 0)[0] != share(0, 0)[0]
    assert share(197, 200)[1] > 0.95 > share(196, 200)[1]  # DESIGN.md, rollout
    area, low, high = auroc(np.array([0.1, 0.2, 0.9]), np.array([False, False, True]))
    assert (area, high) == (1.0, 1.0) and 0 < low < 1
    area, low, high = auroc(np.array([1.0, 1.0, 1.0, 1.0]), np.array([True, False, True, False]))
    assert low < area == 0.5 < high


def test_calibration_recovers_the_odds_and_orders_the_operating_points() -> None:
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


def test_pointing_game_allows_one_cell_and_no_more() -> None:
    mask = np.zeros((2, 64, 64), np.uint8)
    mask[:, 20:24, 20:24] = 1  # cell (5, 5)
    cams = np.zeros((2, 16, 16), np.float32)
    cams[0, 6, 4] = cams[1, 5, 7] = 1
    assert pointing_game(cams, mask)[0] == 0.5


def test_written_toml_reads_back() -> None:
    table = {"a": 'x "y" ü', "n": 3, "f": 0.1, "l": [1.0, 2.5], "t": {"local.onnx": "ff", "u": {"ok": True}}}
    assert tomllib.loads(toml(table)) == table


def test_iou_of_overlapping_and_separate_boxes() -> None:
    a = np.array([[0, 0, 2, 2], [5, 5, 6, 6]], np.float32)
    np.testing.assert_allclose(iou(a, a[:1] + np.float32(1))[:, 0], [1 / 7, 0], atol=1e-6)


@pytest.mark.parametrize(("size", "stride", "side"), [(3, 1, 12), (3, 2, 12), (5, 1, 12), (5, 2, 13), (7, 1, 14)])
def test_depthwise_convolution_has_the_gradients_of_torch(size: int, stride: int, side: int) -> None:
    torch.manual_seed(size)
    fast = DepthwiseConv2d(24, size, stride).double()
    slow = torch.nn.Conv2d(24, 24, size, stride, size // 2, groups=24, bias=False).double()
    slow.load_state_dict(fast.state_dict())
    pictures = [torch.randn(3, 24, side, side, dtype=torch.float64)] * 2
    pictures = [p.clone().requires_grad_() for p in pictures]
    made = [layer(p) for layer, p in zip((fast, slow), pictures, strict=True)]
    for m in made:
        m.square().sum().backward()
    torch.testing.assert_close(made[0], made[1])
    torch.testing.assert_close(fast.weight.grad, slow.weight.grad)
    torch.testing.assert_close(pictures[0].grad, pictures[1].grad)


def test_heat_loss_moves_the_map_onto_the_fracture_and_ignores_whole_bones() -> None:
    torch.manual_seed(1)
    network = plain_fractures(1, (4, 4, 4, 8))
    activations = torch.rand(2, 8, 16, 16)
    fracture = torch.zeros(2, 16, 16)
    fracture[0, 4:6, 9:12] = 1
    fractured = torch.tensor([True, False])

    def loss() -> Any:
        tap = activations.clone().requires_grad_()
        return heat_loss(soft_maximum(network.scores(tap)[:, 0]), tap, fracture, fractured)

    before = loss().item()
    assert before == pytest.approx(-np.log(6 / 256), rel=0.5)  # of an even map
    step = torch.optim.Adam(network.last.parameters(), 3e-2)
    for _ in range(60):
        step.zero_grad()
        loss().backward()
        step.step()
    assert loss().item() < before - 0.1
    tap = activations.clone().requires_grad_()
    assert heat_loss(soft_maximum(network.scores(tap)[:, 0]), tap, fracture, fractured & ~fractured) == 0


def test_heat_inside_is_the_share_of_the_map_in_the_region_s_own_box() -> None:
    masks = np.zeros((2, 64, 64), np.uint8)
    masks[:, :, :32] = 1
    masks[1, :, :32] = 2  # a neighbour's fracture is not the region's own
    np.testing.assert_allclose(heat_inside(np.ones((2, 16, 16), np.float32), masks), [0.5, 0])
    assert centre_prior().sum() > 0
    mean, low, high = mean_over_radiographs(np.array([0.2, 0.4, 0.9]), np.array([1, 1, 2]))
    assert low <= mean <= high and (low, high) == pytest.approx((0.3, 0.9))


def test_framed_and_equalised_image_uses_all_levels_and_keeps_its_padding() -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 64, 64) * 40 + 100
    image[:, 50:] = 0
    for _ in range(20):
        framed = add_frame(image, generator)
        assert torch.equal(framed == 0, image == 0)
        equalised = equalise(framed)
        assert torch.equal(equalised > 0, image > 0) and equalised.max() == 255
    noise = draw_junk(64, generator)
    assert noise.shape == (1, 64, 64) and noise.min() >= 1 and noise.max() <= 255


def random_dataset(n: int = 6) -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset(
        sites=np.array(["ankle", "wrist"]),
        radiographs=rng.integers(0, 256, (n, 512, 512)).astype(np.uint8),
        fold=np.resize([LEARN_ONLY, 1, 0], n).astype(np.int8),
        flags=np.array(["hardware"]),
        flagged=np.zeros((n, 1), np.bool_),
        boxes=np.tile(np.array([[100, 100, 300, 300]], np.float32), (n, 1)),
        regions=rng.integers(0, 256, (n, 256, 256)).astype(np.uint8),
        masks=np.ones((n, 64, 64), np.uint8),
        labels=np.arange(n) < n // 2,
        clear=np.ones(n, np.bool_),
        site=np.ones(n, np.int64),
        radiograph=np.arange(n),
    )


def test_cross_fit_of_a_fold_ignores_the_labels_of_that_fold() -> None:
    dataset = random_dataset(60)
    regions = np.flatnonzero(dataset.fold != LEARN_ONLY)
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1, len(regions)) + 3 * dataset.labels[regions]
    evidence = Evidence(regions=regions, logits=logits, cams=np.zeros((len(regions), 16, 16), np.float32))
    before = cross_fit(dataset, evidence)
    mine = dataset.fold[dataset.radiograph[regions]] == 0
    spoilt = dataset.labels.copy()
    spoilt[regions[mine]] ^= True
    after = cross_fit(dataclasses.replace(dataset, labels=spoilt), evidence)
    np.testing.assert_array_equal(before.probability[mine], after.probability[mine])
    assert (before.probability[~mine] != after.probability[~mine]).all()


def test_interrupted_training_reaches_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    dataset, regions = random_dataset(), np.arange(6)
    schedule = Schedule(steps=52, batch=4)  # the state is kept at step 50

    def trained(kept: Path, stop_after: int | None) -> FractureNetwork:
        torch.manual_seed(0)
        network, steps = plain_fractures(2, (2, 2, 2, 4)), 0
        trunk = network.trunk.forward

        def interrupted(x: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == stop_after:
                raise KeyboardInterrupt
            return trunk(x)

        network.trunk.forward = interrupted
        return train_classifiers(network, dataset, regions, schedule, Augmentation(), kept)

    whole = trained(tmp_path / "whole.state", None).state_dict()
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts.state", 52)
    resumed = trained(tmp_path / "parts.state", None).state_dict()
    for name, weights in whole.items():
        torch.testing.assert_close(resumed[name], weights)
    assert not list(tmp_path.iterdir())


def test_exported_graph_on_a_pretrained_trunk_computes_the_network_s_logits(tmp_path: Path) -> None:
    dataset = random_dataset()
    network = fold_and_round(lite_fractures(2))
    export_classifier(network, 1, tmp_path / "wrist.onnx")  # checks its gradient against autograd
    graph = onnxruntime.InferenceSession(tmp_path / "wrist.onnx", providers=["CPUExecutionProvider"])
    (logit,) = graph.run(["logit"], {"region": dataset.regions[:, None].astype(np.float32)})
    np.testing.assert_allclose(logit, examine(network, dataset, np.arange(6)).logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("flags", [0, 1])
def test_written_pack_of_untrained_networks_is_read_back(tmp_path: Path, flags: int) -> None:
    # export checks the gradient in the graph against autograd and would raise
    dataset = random_dataset()
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
    fractures = plain_fractures(2, (4, 4, 4, 8))
    evidence = examine(fold_and_round(fractures), dataset, np.flatnonzero(dataset.fold != LEARN_ONLY))
    localiser = lite_localiser(2, 1) if flags else plain_localiser(2, (4, 4, 4, 4, 4), 0)
    write_pack(spec, dataset, localiser, fractures, evidence, folder)
    pack = read_pack(folder, "abc")
    assert pack.is_synthetic and set(pack.classifiers) == {"wrist"}
    assert "SYNTHETIC" in (folder / "README.md").read_text(encoding="utf-8")
    goldens = pack.goldens()
    assert goldens["wrist/gradients"].shape == goldens["wrist/activations"].shape == (1, 8, 16, 16)
    assert ("localiser/flags" in goldens) == bool(flags)
    assert not list(tmp_path.glob(".*"))
