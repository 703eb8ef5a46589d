"""From ONNX to a TensorRT plan; the one file that imports TensorRT, from either of its two packages.

`tensorrt` builds on the GPU that will run the plan. `tensorrt_rtx` builds ahead of time for a given compute capability,
also on a machine without a GPU. Two builds give different bytes, so a plan is identified by its inputs.
"""

from __future__ import annotations

import hashlib
from typing import Any

from kernels import INSTALL

HERE = "here"
"""Target of a plan for the GPU of this machine alone."""

TARGETS = ("sm80", "sm86", "sm89", "sm120")
"""Compute capabilities that TensorRT-RTX 1.7 builds for ahead of time; sm89 is the RTX 4090."""

RTX_CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9))
"""Compute capabilities before 12.0 that TensorRT-RTX runs on; 9.0 (H100, H200) and 10.x are not among them (its support
matrix, and the table in libtensorrt_rtx.so of 1.4 and 1.7)."""

LARGEST_BATCH = 16
"""Largest batch of a plan; it is tuned for a batch of 1."""

CLEARED_FLAGS = ("TF32",)
"""Flags of the builder that are off: TF32 would round products of float32 to 10 bits."""

CACHE = ".cache"
"""Suffix of the compiled code beside a plan; TensorRT-RTX refuses one of another version, driver or card."""

SET_FLAGS = ("REQUIRE_USER_ALLOCATION",)
"""Flags of the builder that are on where they exist, in TensorRT-RTX: without it a plan cannot be captured into a CUDA
graph, and with it its contexts get their memory from us."""


class PlanError(Exception):
    """TensorRT is not installed or cannot build the network; the message says which."""


def load_tensorrt() -> Any:
    """Return the module `tensorrt`; where it cannot be loaded, `tensorrt_rtx`.

    Raises
    ------
    PlanError
        If neither can be loaded.
    """
    # OSError: the package is installed, but a library that it needs is missing
    try:
        import tensorrt
    except (ImportError, OSError):
        pass
    else:
        return tensorrt
    try:
        import tensorrt_rtx
    except (ImportError, OSError) as error:
        raise PlanError(f"neither tensorrt nor tensorrt_rtx is installed: run {INSTALL}") from error
    return tensorrt_rtx


def supports(compute_capability: tuple[int, int]) -> bool:
    """Return whether the installed TensorRT runs on such a GPU; the full one runs on each that we have kernels for."""
    if not hasattr(load_tensorrt(), "ComputeCapability"):
        return True
    return compute_capability in RTX_CAPABILITIES or compute_capability >= (12, 0)


def plan_key(model: bytes, target: str, machine: str = "") -> str:
    """Return the name of the plan of an ONNX `model` for `target`: package, version, target, digest of all inputs.

    Parameters
    ----------
    machine
        Card and driver, which count for the target ``"here"`` alone: a plan for one of `TARGETS` fits each such card.
    """
    trt = load_tensorrt()
    inputs = (machine if target == HERE else "", CLEARED_FLAGS, SET_FLAGS, LARGEST_BATCH)
    digest = hashlib.sha256(repr(inputs).encode() + model).hexdigest()[:16]
    return f"{trt.__name__}-{trt.__version__}-{target}-{digest}"


def target_of(compute_capability: tuple[int, int]) -> str:
    """Return the target for a GPU of this machine: its own where TensorRT-RTX knows it, else ``"here"``."""
    own = "sm{}{}".format(*compute_capability)
    return own if own in TARGETS and hasattr(load_tensorrt(), "ComputeCapability") else HERE


def build_plan(model: bytes, target: str) -> bytes:
    """Build the plan of a network with one input and a dynamic first axis of 1 to `LARGEST_BATCH`.

    Parameters
    ----------
    model
        ONNX; the plan computes in the types that the model names.
    target
        One of `TARGETS`, for tensorrt_rtx; ``"here"`` builds for the GPU of this machine.

    Raises
    ------
    PlanError
        If TensorRT refuses the network or the target.
    """
    trt = load_tensorrt()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    if builder is None:
        raise PlanError(f"{trt.__name__} cannot build on this machine: is there a GPU, and its driver?")
    # an opt-in on TensorRT 10, the only mode of 11 and of RTX: types are those of the ONNX file
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        reasons = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise PlanError(f"{trt.__name__} does not take the network: {reasons}")
    config = builder.create_builder_config()
    for name in CLEARED_FLAGS:
        config.clear_flag(getattr(trt.BuilderFlag, name))
    for name in SET_FLAGS:
        if hasattr(trt.BuilderFlag, name):
            config.set_flag(getattr(trt.BuilderFlag, name))
    _set_target(trt, config, target)
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        one = tuple(network.get_input(i).shape)[1:]
        profile.set_shape(network.get_input(i).name, (1, *one), (1, *one), (LARGEST_BATCH, *one))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise PlanError(f"{trt.__name__} cannot build the network for {target}")
    return bytes(plan)


def _set_target(trt: Any, config: Any, target: str) -> None:
    if target == HERE:
        return
    if not hasattr(trt, "ComputeCapability") or target not in TARGETS:
        raise PlanError(
            f"{trt.__name__} cannot build ahead of time for {target}: only tensorrt_rtx can, for {', '.join(TARGETS)}"
        )
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), 0):
        raise PlanError(f"{trt.__name__} does not build for {target}")
