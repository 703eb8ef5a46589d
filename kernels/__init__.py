"""Grad-CAM: the NumPy definition and its CUDA kernels."""
