// As much of CUDA C++ as gradcam.cu uses, on one CPU thread: its text runs unchanged, and its bugs show.
//
// The threads of a block are fibers that run one after another and change places at __syncthreads(): a barrier that is
// missing lets a thread run on and read what nobody has written yet. Which thread sees that depends on the order, so
// a launch takes one: first to last, or last to first. AddressSanitizer sees the rest (kernels/build.py).
// Not here: warps, atomics, two blocks at once.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static // one block at a time
#define __launch_bounds__(threads)
#define __restrict__ __restrict

using std::max;
using std::min;

struct dim3 { unsigned x, y, z; };
struct uchar4 { unsigned char x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };

static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace host {

constexpr size_t STACK_BYTES = 64 << 10;

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[STACK_BYTES]};
    dim3 thread;
    bool done;
};

static std::vector<Fiber> fibers;
static size_t current;
static bool backward;
static ucontext_t launcher;
static void (*body)(void **);
static void **arguments;

// The next fiber in order that still runs, or the launcher when there is none.
static void leave(ucontext_t *here) {
    const size_t n = fibers.size();
    for (size_t step = 1; step <= n; ++step) {
        const size_t next = (current + (backward ? n - step : step)) % n;
        if (fibers[next].done) continue;
        current = next;
        threadIdx = fibers[next].thread;
        if (here != &fibers[next].context) swapcontext(here, &fibers[next].context);
        return;
    }
    setcontext(&launcher);
}

static void enter() {
    body(arguments);
    fibers[current].done = true;
    leave(&fibers[current].context);
}

static void run_block() {
    const size_t n = (size_t)blockDim.x * blockDim.y * blockDim.z;
    fibers.resize(n);
    for (size_t i = 0; i < n; ++i) {
        Fiber &fiber = fibers[i];
        const unsigned row = i / blockDim.x;
        fiber.thread = {unsigned(i % blockDim.x), row % blockDim.y, row / blockDim.y};
        fiber.done = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK_BYTES;
        makecontext(&fiber.context, enter, 0);
    }
    current = backward ? 0 : n - 1; // the one before the first in order
    leave(&launcher);
}

template <class... P, size_t... I>
static void call(void (*kernel)(P...), void **p, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<P> *>(p[I])...);
}

template <auto kernel, class... P>
static void launch(void (*)(P...), dim3 grid, dim3 block, void **parameters, bool last_to_first) {
    gridDim = grid, blockDim = block, arguments = parameters, backward = last_to_first;
    body = [](void **p) { call(kernel, p, std::index_sequence_for<P...>{}); };
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                blockIdx = {x, y, z};
                run_block();
            }
}

} // namespace host

static inline void __syncthreads() { host::leave(&host::fibers[host::current].context); }

// launch_NAME(grid, block, parameters as cuLaunchKernel takes them, order of the threads)
#define LAUNCHABLE(kernel)                                                                                            \
    extern "C" void launch_##kernel(const unsigned grid[3], const unsigned block[3], void **parameters, int backward) { \
        host::launch<kernel>(kernel, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, parameters, backward); \
    }
