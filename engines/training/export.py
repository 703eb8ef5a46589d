"""Export of trained networks as ONNX graphs that compute their own gradient.

An inference engine has no autograd. So forward and backward pass of a classifier are traced together into primitive
operations, the gradient of a convolution becomes a transposed convolution, and the result is plain ONNX with a dynamic
batch. Weights are stored as float16 and cast back, at half the size. They are rounded before the networks are measured,
so that the measured network is the one that ships.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from engines.training.backbone import fuse
from engines.training.networks import (
    IMAGE_PX,
    REGION_PX,
    FractureNetwork,
    LocaliserNetwork,
    SiteHead,
    half_size,
)
from engines.training.session import open_session

OPSET = 20
"""Version of the ONNX operators; both ONNX Runtime and TensorRT 10 read it."""

TOLERANCE = 1e-4
"""Largest difference between graph and autograd, relative to the largest value: ten times that of convolutions."""

SMALL = 64
"""Number of elements below which float16 saves nothing."""

PRODUCER = "osteon"
"""Producer that the ONNX files name."""

aten = torch.ops.aten


class ExportedLocaliser(nn.Module):
    """Localiser as exported.

    Takes image (N,1,512,512); gives heat (N,S,g,g), zero except at its peaks, box (N,4,g,g), and flags (N,K) if any.
    """

    def __init__(self, network: LocaliserNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits, box, flags = self.network(half_size(image))
        heat = logits.sigmoid()
        peak = functional.max_pool2d(heat, 3, 1, 1)
        found = torch.where(heat >= peak, heat, torch.zeros_like(heat)), box
        return found if flags is None else (*found, flags.sigmoid())


def export_localiser(network: LocaliserNetwork, path: Path) -> None:
    """Write the localiser to `path`; `network` is folded and rounded in place."""
    network.eval()
    fuse(network)
    _round(network)
    results = ("heat", "box") if network.flag is None else ("heat", "box", "flags")
    _write(ExportedLocaliser(network).eval(), _pattern_batch(2, IMAGE_PX), path, "image", results)


def export_classifier(network: FractureNetwork, site: int, path: Path) -> None:
    """Write one site's classifier and check its gradient against autograd; `network` is already folded and rounded.

    Raises
    ------
    ValueError
        If the graph differs from autograd.
    """
    head = SiteHead(network, site).eval()
    _round(head)
    example = _pattern_batch(2, REGION_PX)
    traced = with_gradient(network.activations, head, example)
    _write(traced, example, path, "region", ("logit", "activations", "gradients"))
    _check_gradient(network, head, path)


def fold_and_round(network: FractureNetwork) -> FractureNetwork:
    """Fold the normalisations and round the weights, in place; needed before a site is exported."""
    network.eval()
    fuse(network)
    _round(network)
    return network


def with_gradient(
    features: Callable[[Tensor], Tensor], head: Callable[[Tensor], Tensor], example: Tensor
) -> torch.fx.GraphModule:
    """Trace the function x -> head(features(x)), features(x), and the derivative of the first by the second."""

    def forward(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        activations = features(x).detach().requires_grad_(True)
        logit = head(activations)
        (gradients,) = torch.autograd.grad(logit.sum(), activations)
        return logit.detach(), activations.detach(), gradients

    with torch.enable_grad():
        traced = make_fx(
            forward, decomposition_table=_decompositions(), tracing_mode="symbolic", _allow_non_fake_inputs=True
        )(example)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return traced.eval()


def _decompositions() -> dict[Any, Callable[..., Any]]:
    table: dict[Any, Callable[..., Any]] = dict(
        get_decompositions([aten.threshold_backward, aten.detach, aten.select_backward, aten.slice_backward])
    )
    table[aten.convolution_backward.default] = _input_gradient
    return table


def _input_gradient(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    _bias_sizes: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    _output_padding: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """Return a convolution's gradient by its input: the transposed convolution with the same weights."""
    if transposed or wanted[1] or wanted[2]:
        raise NotImplementedError("only gradients for the input of plain convolutions are exported")
    rest = []
    for i in range(2):
        kernel = dilation[i] * (int(weight.shape[2 + i]) - 1) + 1
        restored = (int(gradient.shape[2 + i]) - 1) * stride[i] - 2 * padding[i] + kernel
        rest.append(int(x.shape[2 + i]) - restored)
    back = aten.convolution.default(gradient, weight, None, stride, padding, dilation, True, rest, groups)
    return back, None, None


@torch.no_grad()
def _round(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.requires_grad_(False)
        if parameter.numel() >= SMALL:
            parameter.copy_(parameter.half().float())


def _write(module: nn.Module, example: Tensor, path: Path, source: str, results: Sequence[str]) -> None:
    batch = torch.export.Dim("N", min=1, max=64)
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: batch},),
        opset_version=OPSET,
        input_names=[source],
        output_names=list(results),
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    model = program.model_proto
    del model.metadata_props[:]
    for node in model.graph.node:  # metadata hold source lines of the exporting machine
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    model.producer_name, model.producer_version, model.doc_string = PRODUCER, "", ""
    _merge_initialisers(model)
    _store_half(model)
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _merge_initialisers(model: onnx.ModelProto) -> None:
    """Keep one of equal initialisers: forward and backward pass share their weights."""
    first: dict[tuple[Any, ...], str] = {}
    rename: dict[str, str] = {}
    kept = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        rename[tensor.name] = first.setdefault((array.dtype.str, array.shape, array.tobytes()), tensor.name)
        if rename[tensor.name] == tensor.name:
            kept.append(tensor)
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = rename.get(name, name)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _store_half(model: onnx.ModelProto) -> None:
    """Store the weights that float16 can hold exactly as float16, each with a cast back."""
    casts = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        half = array.astype(np.float16)
        if tensor.data_type != TensorProto.FLOAT or array.size < SMALL or (half.astype(np.float32) != array).any():
            continue  # rounding would change the network after it was measured
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT, name=f"{name}_cast"))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _check_gradient(network: FractureNetwork, head: SiteHead, path: Path) -> None:
    session = open_session(path)
    for n in (1, 3):
        x = _pattern_batch(n, REGION_PX)
        activations = network.activations(x).detach().requires_grad_(True)
        logit = head(activations)
        (gradients,) = torch.autograd.grad(logit.sum(), activations)
        expected = logit, activations, gradients
        for name, wanted, got in zip(
            ("logit", "activations", "gradients"), expected, session.run(None, {"region": x.numpy()}), strict=True
        ):
            right = wanted.detach().numpy()
            # maps are relative to their own maximum; a logit near zero is not small, so its scale is at least 1
            scale = max(float(np.abs(right).max()), 1.0 if name == "logit" else 1e-12)
            worst = float(np.abs(right - got).max()) / scale
            if right.shape != got.shape or not worst < TOLERANCE:
                raise ValueError(f"{path.name}: {name} differs from autograd by {worst:.1e} for a batch of {n}")


def draw_pattern(side: int, seed: int) -> NDArray[np.float32]:
    """Draw (side,side) whole grey levels from formulae: two soft edges and a thin dark line on a slope."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    angle, offset, width = rng.uniform(0, np.pi), rng.uniform(0.35, 0.65), rng.uniform(0.08, 0.2)
    along = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - offset)
    across = -np.sin(angle) * (x - 0.5) + np.cos(angle) * (y - offset)
    shaft = 1 / (1 + np.exp((np.abs(along) - width) * 60))
    line = np.exp(-(((across - 0.4 * along) * 60) ** 2))
    return np.asarray(np.rint(np.clip(40 + 60 * y + 130 * shaft - 90 * line * shaft, 0, 255)), np.float32)


def _pattern_batch(n: int, side: int) -> Tensor:
    return torch.from_numpy(np.stack([draw_pattern(side, seed) for seed in range(n)])[:, None])
