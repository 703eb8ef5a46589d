"""ONNX Runtime on the CPU, which defines what a pack's networks compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from .network_file import read_network
from .plan import LARGEST_BATCH
from .runner import Runner, RunnerError, Tensors, TensorSpec


class OnnxRuntimeRunner(Runner):
    """A network of a pack on ONNX Runtime's CPU provider, with the largest batch of a TensorRT plan.

    Parameters
    ----------
    file
        ONNX model with float32 inputs and outputs and a dynamic first axis.
    threads
        Threads inside one operator.

    Raises
    ------
    RunnerError
        If the model cannot be loaded.
    """

    most = LARGEST_BATCH

    def __init__(self, file: Path, threads: int = 2) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # spinning threads would take the cores from DALI, which runs between two inferences
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                read_network(file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise RunnerError(f"{file.name} cannot be loaded by ONNX Runtime: {error}") from error
        self.inputs = tuple(_tensor_spec(t) for t in self._session.get_inputs())
        self.outputs = tuple(_tensor_spec(t) for t in self._session.get_outputs())

    def _run(self, tensors: Tensors) -> Tensors:
        names = [spec.name for spec in self.outputs]
        feed = {spec.name: tensors[spec.name] for spec in self.inputs}
        try:
            return dict(zip(names, map(np.asarray, self._session.run(names, feed)), strict=True))
        except Exception as error:
            raise RunnerError(f"ONNX Runtime failed: {error}") from error


def _tensor_spec(tensor: onnxruntime.NodeArg) -> TensorSpec:
    return TensorSpec(tensor.name, tuple(d if isinstance(d, int) else None for d in tensor.shape))
