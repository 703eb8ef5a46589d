"""Conversion of a network to float16, for GPUs with tensor cores; its inputs and outputs stay float32.

Packs store weights as float16 already; the conversion changes the type of the arithmetic.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LARGEST = float(np.finfo(np.float16).max)
"""Largest finite float16; larger constants are clipped to it."""

FLOAT32_INPUTS = {"Resize": (1, 2)}
"""Operator -> inputs that ONNX defines as float32 for every type of arithmetic: region of interest and scales."""


def convert_to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` in float16, strongly typed, with float32 inputs and outputs."""
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
            weights.CopyFrom(_round_to_half(weights))
    _remove_weight_casts(graph, {w.name for w in graph.initializer if w.data_type == TensorProto.FLOAT16})
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
            elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(_round_to_half(attribute.t))
    _add_border_casts(graph)
    onnx.checker.check_model(made)
    return made


def _round_to_half(tensor: onnx.TensorProto) -> onnx.TensorProto:
    values = np.clip(numpy_helper.to_array(tensor), -LARGEST, LARGEST).astype(np.float16)
    return numpy_helper.from_array(values, tensor.name)


def _remove_weight_casts(graph: onnx.GraphProto, half: set[str]) -> None:
    """Remove the casts that widen the float16 weights `half`, in place."""
    instead = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Cast" and n.input[0] in half}
    nodes = [n for n in graph.node if n.output[0] not in instead]
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = instead.get(name, name)
    del graph.node[:]
    graph.node.extend(nodes)


def _add_border_casts(graph: onnx.GraphProto) -> None:
    """Add casts at inputs and outputs, which keep their names and float32, in place."""
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
