"""The ONNX file of a network: it holds every weight itself, so that its digest stands for all of them.

ONNX allows weights in further files. ONNX Runtime and TensorRT look for those in the working directory when they get a
model as bytes, and beside it when they get a path; no digest of a pack covers such a file.

References
----------
ONNX, docs/ExternalData.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx


def read_network(file: Path) -> bytes:
    """Return the ONNX model in `file`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no ONNX model, or has weights in another file.
    """
    content = file.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:
        raise ValueError(f"{file.name} is no ONNX model ({type(error).__name__})") from error
    if not model.graph.node:
        raise ValueError(f"{file.name} is no ONNX model: it has no operators")
    if outside := next(_external_tensors(model), None):
        raise ValueError(f"{file.name} has weights in another file ({outside}): save the network in one file")
    return content


def _external_tensors(message: Any) -> Iterator[str]:
    """Yield the name of each tensor with data outside the file, wherever the model has one: in graphs or functions."""
    if isinstance(message, onnx.TensorProto):
        if message.external_data or message.data_location == onnx.TensorProto.EXTERNAL:
            yield message.name or "without a name"
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if hasattr(value, "add") else (value,):  # a list of messages, or one
                yield from _external_tensors(part)
