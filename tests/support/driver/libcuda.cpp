// CUDA's driver API without a GPU, as far as kernels/cuda.py uses it through PyCUDA: device memory is malloc's, a stream
// is in order because everything happens at once, and the kernels are gradcam.cu's on the CPU. The names, signatures
// and error codes are cuda.h's own; every other function of cuda.h answers that this is a stub (__init__.py).
//
// CUDA_FAILS names a function, as libcuda exports it, that fails as it would on a GPU; CUDA_ROOM is the largest piece of
// memory, in bytes, that the GPU still has.
#include <cuda.h>

#include "cuda_on_host.h"
#include SOURCE

#include <cstdlib>
#include <cstring>
#include <ctime>

#define FAILS(error)                                                                                                   \
    if (const char *name = getenv("CUDA_FAILS"); name && !strcmp(name, __func__)) return error

namespace {

struct Kernel {
    const char *name;
    void (*run)(dim3 grid, dim3 block, void **parameters);
    size_t (*unpack)(char *buffer, void **parameters); // returns the bytes that the parameters take
};

// As cuLaunchKernel packs parameters into a buffer: each at its own alignment.
template <class... P> size_t unpacked(void (*)(P...), char *buffer, void **parameters) {
    size_t end = 0, i = 0;
    ((end = (end + alignof(P) - 1) / alignof(P) * alignof(P), parameters[i++] = buffer + end, end += sizeof(P)), ...);
    return end;
}

#define KERNEL(kernel)                                                                                                 \
    {#kernel, [](dim3 grid, dim3 block, void **p) { host::launch<kernel>(kernel, grid, block, p, false); },            \
     [](char *buffer, void **p) { return unpacked(kernel, buffer, p); }}

const Kernel KERNELS[] = {KERNEL(channel_weights), KERNEL(combine), KERNEL(normalise), KERNEL(overlay)};

// Handles are opaque to the caller: any address that is not null.
int context, stream, module, pushed;

int allocated;       // pieces of memory that nobody has freed, on the device and pinned on the host
bool by_slot = true; // whether the cards are in the order of their slots, which a process chooses before cuInit

} // namespace

extern "C" {

int allocated_pieces() { return allocated; }

CUresult cuInit(unsigned) {
    FAILS(CUDA_ERROR_NO_DEVICE);
    const char *order = getenv("CUDA_DEVICE_ORDER");
    by_slot = order && !strcmp(order, "PCI_BUS_ID");
    return CUDA_SUCCESS;
}
CUresult cuDriverGetVersion(int *version) { *version = CUDA_VERSION; return CUDA_SUCCESS; }
CUresult cuGetErrorName(CUresult error, const char **text) {
    *text = error == CUDA_ERROR_NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR";
    return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == CUDA_ERROR_NO_DEVICE ? "no CUDA-capable device is detected" : "the driver's own words";
    return CUDA_SUCCESS;
}
CUresult cuDeviceGetCount(int *count) { *count = 1; return CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    *device = ordinal;
    return ordinal ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char *text, int length, CUdevice) { // the faster card is in the second slot
    strncpy(text, by_slot ? "0000:01:00.0" : "0000:02:00.0", length);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *retained, CUdevice) { *retained = (CUcontext)&context; return CUDA_SUCCESS; }
CUresult cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }
CUresult cuCtxPushCurrent(CUcontext) { ++pushed; return CUDA_SUCCESS; }
CUresult cuCtxPopCurrent(CUcontext *popped) {
    if (!pushed) return CUDA_ERROR_INVALID_CONTEXT;
    --pushed;
    if (popped) *popped = (CUcontext)&context;
    return CUDA_SUCCESS;
}
CUresult cuCtxGetDevice(CUdevice *device) { *device = 0; return pushed ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT; }
CUresult cuCtxGetCurrent(CUcontext *current) { *current = pushed ? (CUcontext)&context : nullptr; return CUDA_SUCCESS; }

CUresult cuModuleLoad(CUmodule *loaded, const char *) { *loaded = (CUmodule)&module; return CUDA_SUCCESS; }
CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }
CUresult cuModuleGetFunction(CUfunction *function, CUmodule, const char *name) {
    for (const Kernel &kernel : KERNELS)
        if (!strcmp(kernel.name, name)) return *function = (CUfunction)&kernel, CUDA_SUCCESS;
    return CUDA_ERROR_NOT_FOUND;
}

CUresult cuFuncSetBlockShape(CUfunction, int, int, int) { return CUDA_SUCCESS; } // PyCUDA calls it before each launch

CUresult cuStreamCreate(CUstream *created, unsigned) { *created = (CUstream)&stream; return CUDA_SUCCESS; }
CUresult cuStreamDestroy(CUstream) { return CUDA_SUCCESS; }
CUresult cuStreamSynchronize(CUstream) { FAILS(CUDA_ERROR_ILLEGAL_ADDRESS); return CUDA_SUCCESS; }

CUresult cuMemAlloc(CUdeviceptr *pointer, size_t bytes) {
    FAILS(CUDA_ERROR_OUT_OF_MEMORY);
    if (const char *room = getenv("CUDA_ROOM"); room && bytes > strtoull(room, nullptr, 10)) return CUDA_ERROR_OUT_OF_MEMORY;
    *pointer = (CUdeviceptr)aligned_alloc(256, (bytes + 255) / 256 * 256);
    ++allocated;
    return CUDA_SUCCESS;
}
CUresult cuMemFree(CUdeviceptr pointer) { free((void *)pointer); --allocated; return CUDA_SUCCESS; }
CUresult cuMemAllocHost(void **pointer, size_t bytes) { *pointer = malloc(bytes); ++allocated; return CUDA_SUCCESS; }
CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned) {
    FAILS(CUDA_ERROR_OUT_OF_MEMORY);
    return cuMemAllocHost(pointer, bytes);
}
CUresult cuMemFreeHost(void *pointer) { free(pointer); --allocated; return CUDA_SUCCESS; }
CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream on) {
    FAILS(CUDA_ERROR_INVALID_VALUE);
    memcpy((void *)to, from, bytes);
    return on == (CUstream)&stream ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream on) {
    memcpy(to, (void *)from, bytes);
    return on == (CUstream)&stream ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream on) {
    memcpy((void *)to, (void *)from, bytes);
    return on == (CUstream)&stream ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuEventCreate(CUevent *created, unsigned) { *created = (CUevent) new timespec; return CUDA_SUCCESS; }
CUresult cuEventDestroy(CUevent event) { delete (timespec *)event; return CUDA_SUCCESS; }
CUresult cuEventRecord(CUevent event, CUstream) { clock_gettime(CLOCK_MONOTONIC, (timespec *)event); return CUDA_SUCCESS; }
CUresult cuEventSynchronize(CUevent) { return CUDA_SUCCESS; }
CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to) {
    const timespec &a = *(timespec *)from, &b = *(timespec *)to;
    *ms = (b.tv_sec - a.tv_sec) * 1e3f + (b.tv_nsec - a.tv_nsec) / 1e6f;
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned, CUstream on, void **, void **extra) {
    FAILS(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    // PyCUDA: {CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, size, END}
    if (!extra || extra[0] != CU_LAUNCH_PARAM_BUFFER_POINTER || on != (CUstream)&stream) return CUDA_ERROR_INVALID_VALUE;
    const Kernel &kernel = *(const Kernel *)function;
    void *parameters[16];
    if (kernel.unpack((char *)extra[1], parameters) != *(size_t *)extra[3]) return CUDA_ERROR_INVALID_VALUE;
    kernel.run({gx, gy, gz}, {bx, by, bz}, parameters);
    return CUDA_SUCCESS;
}
}
