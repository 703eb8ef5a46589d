// The kernels of SOURCE, gradcam.cu, as a library for the CPU; kernels/host/library.py loads it.
#include "cuda_on_host.h"
// after it, since CUDA C++ needs no such header
#include SOURCE

LAUNCHABLE(channel_weights)
LAUNCHABLE(combine)
LAUNCHABLE(normalise)
LAUNCHABLE(overlay)
