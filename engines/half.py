"""A network of a pack in float16, for GPUs with tensor cores; its inputs and outputs stay float32.

Weights lie in the packs as float16 already: what changes is what is computed with.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LARGEST = float(np.finfo(np.float16).max)

FLOAT32_INPUTS = {"Resize": (1, 2)}
"""Inputs that the ONNX standard wants in float32 whatever is computed with: region of interest and scales."""


def in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model`, strongly typed in float16 but for its inputs and outputs."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    kept = {
        name
        for node in graph.node
        for i in FLOAT32_INPUTS.get(node.op_type, ())
        for name in node.input[i : i + 1]
        if name
    }
    for weights in graph.initializer:
        if weights.data_type == TensorProto.FLOAT and weights.name not in kept:
            weights.CopyFrom(_rounded(weights))
    _without_casts(graph, {w.name for w in graph.initializer if w.data_type == TensorProto.FLOAT16})
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
            elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(_rounded(attribute.t))
    _float32_outside(graph)
    onnx.checker.check_model(made)
    return made


def _rounded(tensor: onnx.TensorProto) -> onnx.TensorProto:
    values = np.clip(numpy_helper.to_array(tensor), -LARGEST, LARGEST).astype(np.float16)
    return numpy_helper.from_array(values, tensor.name)


def _without_casts(graph: onnx.GraphProto, half: set[str]) -> None:
    """Take the weights as they lie there, without the casts that widen them."""
    instead = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Cast" and n.input[0] in half}
    nodes = [n for n in graph.node if n.output[0] not in instead]
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = instead.get(name, name)
    del graph.node[:]
    graph.node.extend(nodes)


def _float32_outside(graph: onnx.GraphProto) -> None:
    """Casts at the border, under the names that a runner knows."""
    inner = {value.name: f"{value.name}_half" for value in (*graph.input, *graph.output)}
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = inner.get(name, name)
    before = [helper.make_node("Cast", [v.name], [inner[v.name]], to=TensorProto.FLOAT16) for v in graph.input]
    after = [helper.make_node("Cast", [inner[v.name]], [v.name], to=TensorProto.FLOAT) for v in graph.output]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
