"""Grad-CAM's kernels: the same assertions for NumPy, for gradcam.cu on the CPU and for gradcam.cu on a GPU.

``--backends=reference,host,cuda`` chooses; a back end that is named and cannot start fails. Further tests break the
source of gradcam.cu on purpose and check that these assertions detect it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.config import Picture
from appliance.domain.finding import Box
from appliance.picture.heat import drawn_by
from appliance.picture.overlay import overlay, thumbnail
from appliance.ports import Heat
from kernels import reference
from kernels.build import SOURCE, host_library
from kernels.cuda import CudaKernels
from kernels.device import Gpu
from kernels.host.library import HostKernels
from kernels.operations import KernelError
from tests.support import kernel_cases
from tests.support.kernel_cases import (
    CONTENTS,
    IMAGES,
    LAYOUTS,
    MAPS,
    check_all,
    check_maps,
    check_overlay,
    check_picture,
    fatbin_of_today,
    same,
)
from tests.support.results import finding, result
from tests.support.sources import source

BACKENDS = {"reference": ["reference"], "host": ["host", "host backward"], "cuda": ["cuda"]}
BARRIERS = [m.start() for m in re.finditer(r"__syncthreads\(\);", SOURCE.read_text())]
BOUNDS = {
    "cells of a map, read": ("if (cell < cells) {", "{"),
    "cells of a map, written": ("if (share != 0 || cell >= cells) return;", "if (share != 0) return;"),
    "a map's right border": ("right = c + 1 < layer.width", "right = 1"),
    "a map's lower border": ("below = r + 1 < layer.height ? layer.width : 0", "below = layer.width"),
    "pixels, read": ("in.byte[i] = i < present ? grey[first + i] : 0", "in.byte[i] = grey[first + i]"),
    "pixels, written": ("if (16 * (i + 1) <= bytes)", "if (16 * i < bytes)"),
}
"""Name of a bound -> its text in gradcam.cu, and the text without it."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kernels" in metafunc.fixturenames:
        named = metafunc.config.getoption("--backends").split(",")
        unknown = set(named) - set(BACKENDS)
        if unknown:
            raise pytest.UsageError(f"--backends knows {', '.join(BACKENDS)}, not {', '.join(sorted(unknown))}")
        metafunc.parametrize("kernels", [b for name in named for b in BACKENDS[name]], indirect=True, scope="module")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return host_library(tmp_path_factory.mktemp("host") / "gradcam.so")


@pytest.fixture(scope="module")
def kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "reference":
        yield reference
    elif request.param == "cuda":
        with Gpu() as gpu:
            yield CudaKernels(gpu, fatbin=fatbin_of_today(tmp_path_factory.mktemp("fatbin")))
    else:
        yield HostKernels(request.getfixturevalue("library"), backward=request.param.endswith("backward"))


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("shape", MAPS, ids=str)
def test_gradcam_equals_double_precision(kernels: Any, shape: tuple[int, int, int, int], content: str) -> None:
    check_maps(kernels, *kernel_cases.maps(shape, content))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", IMAGES, ids=str)
def test_overlay_equals_double_precision(kernels: Any, size: tuple[int, int], layout: str) -> None:
    check_overlay(kernels, kernel_cases.grey(*size), kernel_cases.heats(layout, *size))


def test_overlay_of_a_strided_image_in_other_colours_equals_double_precision(kernels: Any) -> None:
    grey = np.asfortranarray(kernel_cases.grey(53, 118))[::-1, ::2]
    check_overlay(kernels, grey, kernel_cases.heats("meeting", *grey.shape), reference.colour_map("sunset"))


@pytest.mark.parametrize(
    "look",
    [{}, {"layout": "beside", "colours": "colour_blind"}, {"longest_px": 300}, {"layout": "grey"}],
    ids=str,
)
def test_pictures_equal_those_of_the_cpu(kernels: Any, look: dict[str, Any]) -> None:
    image = kernel_cases.grey(420, 333)
    shown = [Heat(**heat._asdict()) for heat in kernel_cases.heats("meeting", *image.shape)]
    boxes = [Box(**dict(zip(("x0", "y0", "x1", "y1"), heat.within, strict=True))) for heat in shown]
    given = result(source(), *(finding(p, box=box) for p, box in zip((0.9, 0.4, 0.1), boxes, strict=True)))
    draw = drawn_by(kernels)
    for heats in (shown, ()):
        picture = overlay(image, given, heats, Picture(**look), draw)
        check_picture(picture, overlay(image, given, heats, Picture(**look)))
    check_picture(thumbnail(image, given, shown, 256, draw), thumbnail(image, given, shown, 256))


def test_nan_is_kept_and_not_treated_as_cold(kernels: Any) -> None:
    activations, gradients = kernel_cases.maps((2, 5, 3, 3), "noise")
    activations[0, 4, 1, 2] = np.nan
    evidence = kernels.combine(activations, kernels.channel_weights(gradients))
    assert np.argwhere(np.isnan(evidence)).tolist() == [[0, 1, 2]]
    np.testing.assert_array_equal(kernels.normalise(evidence), reference.normalise(evidence))


def test_arrays_of_the_caller_are_not_changed(kernels: Any) -> None:
    activations, gradients = kernel_cases.maps((2, 5, 3, 3), "noise")
    grey, shown = kernel_cases.grey(20, 30), kernel_cases.heats("whole", 20, 30)
    inputs = (activations, gradients, grey, shown[0].cells)
    before = [a.copy() for a in inputs]
    first = kernels.gradcam(activations, gradients), kernels.overlay(grey, shown)
    kept = [a.copy() for a in first]
    kernels.gradcam(gradients, activations)
    kernels.overlay(255 - grey, shown)
    for actual, expected in zip((*inputs, *first), (*before, *kept), strict=True):
        same(actual, expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda k, a: k.channel_weights(a.astype(np.float64)),
        lambda k, a: k.channel_weights(a[0]),
        lambda k, a: k.combine(a, np.zeros((2, 6), np.float32)),
        lambda k, a: k.overlay(a[0, 0], []),
        lambda k, a: k.overlay(a[0].astype(np.uint8), []),
    ],
)
def test_array_of_wrong_type_or_shape_is_refused(library: Path, call: Any) -> None:
    with pytest.raises(KernelError, match=r"wanted|for activations"):
        call(HostKernels(library), np.zeros((2, 5, 3, 3), np.float32))


@pytest.mark.parametrize("at", BARRIERS, ids=[f"barrier{i}" for i in range(len(BARRIERS))])
def test_missing_barrier_is_detected(at: int, tmp_path: Path) -> None:
    text = SOURCE.read_text()
    broken = tmp_path / "broken.cu"
    broken.write_text(text[:at] + text[at:].replace("__syncthreads();", ";", 1))
    library = host_library(tmp_path / "broken.so", broken)
    with pytest.raises(AssertionError, match=r"differ|wrong"):
        for backward in (False, True):
            check_all(HostKernels(library, backward))


COLD = "bool cold = true;"
"""Start of the branch of gradcam.cu for pixels without heat."""


def overlays(library: Path) -> list[np.ndarray]:
    """Return pictures in which threads of 16 pixels see no map, no heat, heat in some pixels, minus zero or NaN."""
    kernels, every_grey = HostKernels(library), np.arange(64 * 256, dtype=np.uint32).astype(np.uint8).reshape(64, 256)
    made = [kernels.overlay(every_grey, [])]
    for size in kernel_cases.IMAGES:
        made += [kernels.overlay(kernel_cases.grey(*size), kernel_cases.heats(layout, *size)) for layout in LAYOUTS]
    cells = np.zeros((8, 8), np.float32)
    cells[2, 3], cells[5, 5], cells[6:, :2] = 1.0, np.nan, -0.0
    return [*made, kernels.overlay(every_grey, [kernel_cases.Heat(cells, (0, 0, 256, 64), (0, 0, 256, 64))])]


@pytest.mark.parametrize(
    ("kept", "changed", "is_same"),
    [
        (COLD, COLD.replace("true", "false"), True),
        ("cold = cold && heat[i] == 0.f", "cold = cold && !(heat[i] > 0.f)", False),
        ("out.byte[3 * i + 2] = in.byte[i]", "out.byte[3 * i + 2] = ~in.byte[i]", False),
    ],
    ids=["never taken", "taken for NaN", "taken and wrong"],
)
def test_branch_for_pixels_without_heat_changes_no_byte(
    library: Path, tmp_path: Path, kept: str, changed: str, is_same: bool
) -> None:
    text = SOURCE.read_text()
    assert text.count(kept) == 1
    (tmp_path / "changed.cu").write_text(text.replace(kept, changed))
    other = overlays(host_library(tmp_path / "changed.so", tmp_path / "changed.cu"))
    assert all(map(np.array_equal, overlays(library), other)) is is_same


def run_under_address_sanitizer(source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    library = host_library(folder / "sanitized.so", source, sanitize=True)
    runtime = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    # leaks are Python's own; the interpreter ends without freeing
    environment = os.environ | {"LD_PRELOAD": runtime.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0"}
    command = [sys.executable, "-m", kernel_cases.__name__, str(library)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_kernels_stay_within_their_arrays(tmp_path: Path) -> None:
    done = run_under_address_sanitizer(SOURCE, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("bound", BOUNDS)
def test_missing_bound_is_detected(bound: str, tmp_path: Path) -> None:
    kept, dropped = BOUNDS[bound]
    text = SOURCE.read_text()
    assert text.count(kept) == 1
    broken = tmp_path / "broken.cu"
    broken.write_text(text.replace(kept, dropped))
    done = run_under_address_sanitizer(broken, tmp_path)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
    assert "broken.cu" in done.stderr
