"""The CUDA kernels on the CPU: for tests, not for radiographs, which `kernels.reference` serves faster."""
