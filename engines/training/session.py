"""ONNX Runtime for training: the exported networks are measured as they ship."""

from __future__ import annotations

from pathlib import Path

from onnxruntime import InferenceSession

from engines.network_file import read_network

__all__ = ["InferenceSession", "open_session", "session_of"]


def open_session(path: Path) -> InferenceSession:
    """Open the network in `path` on the CPU, where ONNX Runtime defines what a network computes."""
    return session_of(read_network(path))


def session_of(model: bytes) -> InferenceSession:
    """Open a network in memory, as `open_session` does."""
    return InferenceSession(model, providers=["CPUExecutionProvider"])
