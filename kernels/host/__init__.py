"""The CUDA kernels on the CPU, for tests; radiographs are read with `kernels.reference`, which is faster."""
