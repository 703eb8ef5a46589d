"""ONNX Runtime for training: the exported networks are measured as they ship."""

from __future__ import annotations

from pathlib import Path

from onnxruntime import InferenceSession

from engines.network_file import read_network

__all__ = ["InferenceSession", "open_session"]


def open_session(path: Path) -> InferenceSession:
    """Open the network in `path` on the CPU, where ONNX Runtime defines what a network computes."""
    return InferenceSession(read_network(path), providers=["CPUExecutionProvider"])
