"""A network of a pack as a PyTorch module, so that another stack can run the same weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from engines.network_file import read_network

Attributes = dict[str, Any]


def _pooled(pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(attributes: Attributes, x: Tensor) -> Tensor:
        pads = attributes.get("pads", (0, 0, 0, 0))
        return pool(x, attributes["kernel_shape"], attributes["strides"], pads[:2])

    return run


def _conv(attributes: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    settings = attributes["strides"], attributes["pads"][:2], attributes["dilations"], attributes["group"]
    return functional.conv2d(x, weight, bias, *settings)


def _reduced(reduce: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(attributes: Attributes, x: Tensor, axes: Tensor) -> Tensor:
        return reduce(x, tuple(axes.tolist()), keepdim=bool(attributes.get("keepdims", 1)))

    return run


def _unsqueezed(_: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    for axis in sorted(axes.flatten().tolist()):
        x = x.unsqueeze(axis)
    return x


def _shape(attributes: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(x.shape[attributes.get("start", 0) : attributes.get("end", x.ndim)])


def _cast(attributes: Attributes, x: Tensor) -> Tensor:
    dtype = helper.tensor_dtype_to_np_dtype(attributes["to"])
    return x.to(torch.from_numpy(np.zeros(0, dtype)).dtype)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda _, a, b: a + b,
    "AveragePool": _pooled(functional.avg_pool2d),
    "Cast": _cast,
    "Clip": lambda _, x, low, high: x.clamp(low, high),
    "Concat": lambda a, *each: torch.cat(each, a["axis"]),
    "Conv": _conv,
    "Div": lambda _, a, b: a / b,
    "Exp": lambda _, x: x.exp(),
    "Expand": lambda _, x, shape: x.expand(torch.broadcast_shapes(x.shape, tuple(shape.tolist()))),
    "Greater": lambda _, a, b: a > b,
    "GreaterOrEqual": lambda _, a, b: a >= b,
    "Log": lambda _, x: x.log(),
    "MatMul": lambda _, a, b: a @ b,
    "MaxPool": _pooled(functional.max_pool2d),
    "Mul": lambda _, a, b: a * b,
    "ReduceMax": _reduced(torch.amax),
    "ReduceSum": _reduced(torch.sum),
    "Relu": lambda _, x: x.relu(),
    "Reshape": lambda _, x, shape: x.reshape(shape.tolist()),
    "Resize": lambda _, x, _roi, scales: functional.interpolate(x, scale_factor=scales[2:].tolist(), mode="nearest"),
    "Shape": _shape,
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Softplus": lambda _, x: functional.softplus(x),
    "Sqrt": lambda _, x: x.sqrt(),
    "Squeeze": lambda _, x, axes: x.squeeze(tuple(axes.flatten().tolist())),
    "Sub": lambda _, a, b: a - b,
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": _unsqueezed,
    "Where": lambda _, where, a, b: torch.where(where, a, b),
}
"""The operators that the networks of Osteon's packs have, each called with its attributes and its inputs."""


class TorchNetwork(nn.Module):
    """The part of an ONNX network between `inputs` and `outputs`; its constants are folded, its weights parameters.

    Parameters
    ----------
    inputs, outputs
        Names of tensors of the network; those between them are computed by PyTorch, with its gradient.
    """

    def __init__(self, file: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        graph = onnx.load_model_from_string(read_network(file)).graph
        constants = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer
        }
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._steps: list[tuple[Callable[..., Tensor], Attributes, tuple[str, ...], str]] = []
        needed = _needed(graph, inputs, outputs)
        for node in graph.node:
            if node.output[0] not in needed:
                continue
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            run, sources, (target,) = OPERATORS[node.op_type], tuple(node.input), node.output
            if all(source in constants for source in sources):
                constants[target] = run(attributes, *(constants[source] for source in sources))
            else:
                self._steps.append((run, attributes, sources, target))
        self._constants = {
            name: nn.Parameter(constants[name]) if constants[name].is_floating_point() else constants[name]
            for name in {source for _, _, sources, _ in self._steps for source in sources} & constants.keys()
        }
        self.weights = nn.ParameterList(value for value in self._constants.values() if isinstance(value, nn.Parameter))

    def forward(self, *given: Tensor) -> Any:
        """Return the only output, or the outputs in their order."""
        values: dict[str, Any] = {"": None, **self._constants, **dict(zip(self._inputs, given, strict=True))}
        for run, attributes, sources, target in self._steps:
            values[target] = run(attributes, *(values[source] for source in sources))
        outputs = tuple(values[name] for name in self._outputs)
        return outputs[0] if len(outputs) == 1 else outputs


def _needed(graph: onnx.GraphProto, inputs: Sequence[str], outputs: Sequence[str]) -> set[str]:
    """Return the names of the tensors that lie between `inputs` or constants and `outputs`."""
    makers = {name: node for node in graph.node for name in node.output}
    needed: set[str] = set()
    open_names = list(outputs)
    while open_names:
        name = open_names.pop()
        if name in makers and name not in needed and name not in inputs:
            needed.add(name)
            open_names += makers[name].input
    return needed
