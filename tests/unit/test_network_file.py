"""The ONNX file of a network holds every weight itself: weights in a further file would have no digest."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from appliance.service.pipeline_assembly import SHIPPED
from engines.network_file import read_network
from engines.onnxruntime_runner import OnnxRuntimeRunner
from engines.runner import RunnerError
from engines.training.session import open_session


def outside(name: str = "w") -> TensorProto:
    """Return a tensor whose numbers are in the file w.bin."""
    tensor = numpy_helper.from_array(np.ones((3, 3), np.float32), name)
    onnx.external_data_helper.set_external_data(tensor, location="w.bin")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def model_of(
    nodes: list[onnx.NodeProto], initializers: list[TensorProto], functions: list[onnx.FunctionProto]
) -> onnx.ModelProto:
    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 3]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=functions)


PRODUCT = helper.make_node("MatMul", ["x", "w"], ["y"])


def weights() -> onnx.ModelProto:
    return model_of([PRODUCT], [outside()], [])


def attribute() -> onnx.ModelProto:
    return model_of([helper.make_node("Constant", [], ["w"], value=outside()), PRODUCT], [], [])


def inner_graph() -> onnx.ModelProto:
    branch = helper.make_graph([PRODUCT], "b", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    branch.initializer.append(outside())
    yes = numpy_helper.from_array(np.array(True), "yes")
    return model_of([helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)], [yes], [])


def function() -> onnx.ModelProto:
    nodes = [helper.make_node("Constant", [], ["w"], value=outside()), PRODUCT]
    made = helper.make_function("f", "F", ["x"], ["y"], nodes, [helper.make_opsetid("", 20)])
    return model_of([helper.make_node("F", ["x"], ["y"], domain="f")], [], [made])


def sparse() -> onnx.ModelProto:
    model = weights()
    model.graph.ClearField("initializer")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(outside(), outside("indices"), [3, 3]))
    return model


def location_alone() -> onnx.ModelProto:
    model = weights()
    model.graph.initializer[0].ClearField("data_location")
    return model


@pytest.mark.parametrize("made", [weights, attribute, inner_graph, function, sparse, location_alone])
@pytest.mark.proves("SEC-9")
def test_network_with_weights_outside_its_file_is_refused_although_they_are_there(
    made: Callable[[], onnx.ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "n.onnx"
    file.write_bytes(made().SerializeToString())
    (tmp_path / "w.bin").write_bytes(np.ones((3, 3), np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"n\.onnx has weights in another file \(w\)"):
        read_network(file)
    with pytest.raises(RunnerError, match="weights in another file"):
        OnnxRuntimeRunner(file)
    with pytest.raises(ValueError, match="weights in another file"):
        open_session(file)


@pytest.mark.parametrize("content", [b"", b"ORTM0123", b"\x00" * 100, b"\x3a\x7f", b"{}"])
@pytest.mark.proves("SEC-9")
def test_file_that_is_no_network_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "n.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"n\.onnx is no ONNX model"):
        read_network(tmp_path / "n.onnx")


def test_network_of_a_pack_is_returned_as_it_is() -> None:
    file = SHIPPED / "fracatlas" / "wrist.onnx"
    assert read_network(file) == file.read_bytes()
