"""The graph of stage 1 for a GPU, defined and serialised without one: DALI checks every operator's arguments."""

import pytest
from nvidia.dali import Pipeline, fn, types

from appliance.preprocessing.dali import graph
from appliance.preprocessing.recipe import IMAGE_PX, REGION_PX


def serialise(side_px: int, device: str) -> bytes:
    pipeline = Pipeline(batch_size=2, num_threads=1, device_id=None, prefetch_queue_depth=1)
    with pipeline:
        pipeline.set_outputs(*graph(device, side_px))  # type: ignore[arg-type]
    return pipeline.serialize()


@pytest.mark.parametrize("side_px", [IMAGE_PX, REGION_PX])
def test_gpu_graph_has_the_operators_of_the_cpu_graph(side_px: int) -> None:
    on_gpu, on_cpu = serialise(side_px, "gpu"), serialise(side_px, "cpu")
    for operator in (b"Resize", b"Equalize", b"Crop", b"Cast"):
        assert on_gpu.count(operator) == on_cpu.count(operator) > 0
    assert on_gpu.count(b"\x03gpu") > on_cpu.count(b"\x03gpu") + 10  # operators after the upload run on the GPU


def test_graph_with_a_named_argument_on_the_gpu_is_refused() -> None:
    """Named arguments must stay on the CPU: the check above would fail if the graph broke this."""
    pipeline = Pipeline(batch_size=2, num_threads=1, device_id=None, prefetch_queue_depth=1)
    with pipeline:
        size = fn.external_source(name="size", dtype=types.FLOAT, ndim=1).gpu()
        pixels = fn.external_source(name="pixels", dtype=types.UINT16, ndim=3, layout="HWC").gpu()
        with pytest.raises((RuntimeError, ValueError), match="gpu"):
            pipeline.set_outputs(fn.resize(pixels, size=size))
            pipeline.serialize()
