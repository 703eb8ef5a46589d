"""Tests that need a GPU: run by ``make test-gpu``, and by test_kernels_cuda.py on a stand-in driver."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pycuda.driver
import pytest
from numpy.typing import NDArray
from nvidia.dali import types
from nvidia.dali.backend import TensorGPU

from appliance.picture.heat import draw_heats, drawn_by
from appliance.ports import Heat
from appliance.preprocessing.dali import _OnGpu
from kernels import reference
from kernels.cuda import Capacity, CudaKernels
from kernels.device import Gpu
from kernels.operations import KernelError
from tests.support.kernel_cases import check_maps, fatbin_of_today, grey, heats, maps, same

SMALL = Capacity(maps=3, channels=7, cells=20, heats=3, pixels=5000)


@pytest.fixture(scope="module")
def gpu() -> Iterator[Gpu]:
    with Gpu() as taken:
        yield taken


@pytest.fixture(scope="module")
def kernels(gpu: Gpu, tmp_path_factory: pytest.TempPathFactory) -> CudaKernels:
    return CudaKernels(gpu, SMALL, fatbin_of_today(tmp_path_factory.mktemp("fatbin")))


class OnDevice:
    """An array in foreign memory on the GPU, as from TensorRT or DALI, written on the kernels' stream."""

    def __init__(self, array: NDArray[Any], gpu: Gpu, **changes: Any) -> None:
        self.memory = pycuda.driver.mem_alloc(array.nbytes)
        pycuda.driver.memcpy_htod_async(self.memory, array, gpu.stream)
        self.__cuda_array_interface__ = {
            "data": (int(self.memory) + changes.pop("beside", 0), True),
            "shape": array.shape,
            "typestr": array.dtype.str,
            "version": 3,
        } | changes


def test_array_on_the_gpu_is_used_in_place(gpu: Gpu, kernels: CudaKernels) -> None:
    activations, gradients = maps((3, 7, 4, 5), "noise")
    made = kernels.gradcam(OnDevice(activations, gpu), OnDevice(gradients, gpu))  # type: ignore[arg-type]
    same(made, kernels.gradcam(activations, gradients))
    evidence = OnDevice(np.array([[[1, 2, 4]]], np.float32), gpu)
    for _ in range(2):  # twice: the kernel must not write to its input
        same(kernels.normalise(evidence), np.array([[[0.25, 0.5, 1]]], np.float32))  # type: ignore[arg-type]


def test_dali_takes_an_array_on_the_gpu(gpu: Gpu) -> None:
    pixels = gpu.buffer("pixels", 12).filled(np.arange(6, dtype=np.uint16).reshape(2, 3, 1))
    taken = TensorGPU(pixels, "HWC", 0)
    assert (taken.shape(), taken.layout(), taken.data_ptr()) == ([2, 3, 1], "HWC", pixels.pointer)
    assert taken.dtype == types.UINT16


def test_batch_is_copied_to_the_gpu_once_and_kept(gpu: Gpu) -> None:
    on_gpu, random = _OnGpu(gpu), np.random.default_rng(5)
    images = [random.integers(0, 65536, shape).astype(np.uint16) for shape in ((31, 17), (1, 1), (128, 3), (50, 70))]
    waits = gpu.waits
    there = on_gpu(images)
    assert gpu.waits == waits + 1
    assert on_gpu([images[2], images[0], images[0]]) == [there[2], there[0], there[0]]
    assert gpu.waits == waits + 1
    for image, array in zip(images, there, strict=True):
        assert not isinstance(array, np.ndarray)
        assert array.__cuda_array_interface__["data"][0] % 256 == 0
        np.testing.assert_array_equal(np.asarray(array)[..., 0], image)
    other = np.full((40, 90), 7, np.uint16)  # needs all the room
    np.testing.assert_array_equal(np.asarray(on_gpu([images[3], other, other])[1])[..., 0], other)
    np.testing.assert_array_equal(np.asarray(on_gpu([images[3]])[0])[..., 0], images[3])
    assert len(on_gpu._held) == 2


def test_buffer_for_radiographs_grows_by_half_at_least(gpu: Gpu) -> None:
    on_gpu = _OnGpu(gpu)
    sizes = []
    for columns in (1000, 1001, 1500, 1502, 100):
        on_gpu([np.zeros((64, columns), np.uint16)])
        sizes.append(on_gpu._buffer.size_bytes)
    assert sizes == [128_000, 192_000, 192_000, 288_000, 288_000]


def test_memory_on_the_host_is_pinned_only_for_copies_and_grows_by_half(gpu: Gpu) -> None:
    buffer = gpu.buffer("pixels", 10_000)
    assert buffer._pinned.nbytes == 0
    content = np.arange(10_000, dtype=np.uint16).astype(np.uint8)
    pinned = []
    for length in (1000, 1100, 10, 9000, 10_000):  # the copy before may be in flight when the memory is exchanged
        there = buffer.filled(content[:length])
        pinned.append(buffer._pinned.nbytes)
        np.testing.assert_array_equal(np.asarray(there), content[:length])
    assert pinned == [1024, 1536, 1536, 9216, 10_240]


def test_arrays_of_an_engine_take_no_memory(gpu: Gpu, tmp_path: Path) -> None:
    fresh = CudaKernels(gpu, SMALL, fatbin_of_today(tmp_path))
    activations, gradients = maps((3, 7, 4, 5), "noise")
    made = fresh.evidence(OnDevice(activations, gpu), OnDevice(gradients, gpu))  # type: ignore[arg-type]
    assert {"activations", "gradients"}.isdisjoint(fresh._buffers)
    same(fresh.evidence(activations, gradients), made)


def test_freed_buffer_is_empty(gpu: Gpu) -> None:
    buffer = gpu.buffer("pixels", 1000)
    buffer.free()
    buffer.free()
    assert buffer.size_bytes == 0
    with pytest.raises(KernelError, match="there is room for 0"):
        buffer.filled(np.ones(1, np.uint8))


@pytest.mark.parametrize("changes", [{"beside": 4}, {"strides": (80, 4)}])
def test_array_on_the_gpu_that_is_unaligned_or_strided_is_refused(
    gpu: Gpu, kernels: CudaKernels, changes: dict[str, Any]
) -> None:
    with pytest.raises(KernelError, match="dense and aligned"):
        kernels.channel_weights(OnDevice(np.zeros((1, 1, 4, 4), np.float32), gpu, **changes))  # type: ignore[arg-type]


def test_largest_batch_fits_and_a_larger_one_is_refused(kernels: CudaKernels) -> None:
    check_maps(kernels, *maps((3, 7, 4, 5), "noise"))
    image = grey(50, 100)
    same(kernels.overlay(image, []), reference.overlay(image, []))
    for shape in ((4, 7, 4, 5), (3, 8, 4, 5), (3, 7, 4, 6)):
        with pytest.raises(KernelError, match="raise the capacity"):
            kernels.gradcam(*maps(shape, "noise"))
    with pytest.raises(KernelError, match="raise the capacity"):
        kernels.overlay(grey(50, 101), heats("none", 50, 101))


def test_picture_too_large_for_the_gpu_is_drawn_by_the_cpu(kernels: CudaKernels) -> None:
    for height, width, maps_alone in ((50, 101, False), (50, 100, True)):
        image = grey(height, width)
        shown = [Heat(**heat._asdict()) for heat in heats("whole", height, width)]
        if maps_alone:  # more maps than there is room for
            shown *= SMALL.heats + 1
        drawn, expected = np.zeros((2, height, width, 3), np.uint8)
        drawn_by(kernels)(drawn, image, shown, "standard")
        draw_heats(expected, image, shown, "standard")
        same(drawn, expected)


def test_call_from_another_thread_is_refused(kernels: CudaKernels) -> None:
    said: list[str] = []

    def other() -> None:
        try:
            kernels.overlay(grey(4, 4), [])
        except KernelError as error:
            said.append(str(error))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert said
    assert "another thread" in said[0]


def test_stream_has_a_handle_for_other_libraries(gpu: Gpu) -> None:
    assert isinstance(gpu.stream.handle, int)
    assert gpu.stream.handle


def test_gpu_can_be_opened_again_after_it_was_closed(kernels: CudaKernels, tmp_path: Path) -> None:
    image = grey(9, 9)
    with Gpu() as second:
        again = CudaKernels(second, SMALL, fatbin_of_today(tmp_path))
        same(again.overlay(image, heats("beyond", 9, 9)), kernels.overlay(image, heats("beyond", 9, 9)))
    same(kernels.overlay(image, []), reference.overlay(image, []))


def test_missing_fatbin_is_reported(gpu: Gpu, tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="the wheel of Osteon has it"):
        CudaKernels(gpu, SMALL, tmp_path / "gradcam.fatbin")
