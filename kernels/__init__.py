"""Grad-CAM: its definition in NumPy and its CUDA kernels."""
