// Grad-CAM and its overlay on a GPU; kernels/reference.py is the definition, kernels/operations.py launches these.
//
// Arrays are dense and in C order. N maps, K channels, cells = h * w of one map. Nothing here needs a header, so that
// kernels/host/cuda_on_host.h can run the same text on a CPU. Built without contraction to fused multiply-adds
// (kernels/build.py), every operation here is IEEE 754's own, and a CPU gets what a GPU gets.

constexpr int BLOCK = 128;     // threads of a block, a power of two: the sums below halve it
constexpr int ACROSS = 32;     // combine: neighbouring cells, one warp, so that its reads are coalesced ...
constexpr int DEEP = 8;        // ... and the shares into which the channels are cut: a map has too few cells alone
constexpr int PIXELS = 16;     // overlay: pixels of one thread, read as 16 bytes
constexpr float FLAT = 1e-12f; // reference.FLAT

// NaN wins, so that it is seen and not taken for "cold".
__device__ static inline float hotter(float a, float b) { return a > b || a != a ? a : b; }

// weights[map] = mean of the map's gradients (Grad-CAM, equation 1).  Grid: N * K blocks of BLOCK threads.
extern "C" __global__ void __launch_bounds__(BLOCK)
channel_weights(const float *__restrict__ gradients, float *__restrict__ weights, int cells) {
    __shared__ float sums[BLOCK];
    const int t = threadIdx.x;
    const float *map = gradients + (size_t)blockIdx.x * cells;
    float sum = 0.f;
    for (int i = t; i < cells; i += BLOCK) sum += map[i];
    sums[t] = sum;
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        __syncthreads();
        if (t < half) sums[t] += sums[t + half];
    }
    if (t == 0) weights[blockIdx.x] = sums[0] / cells;
}

// maps[n][cell] = ReLU of the sum over k of weights[n][k] * activations[n][k][cell] (Grad-CAM, equation 2).
// Grid: (ceil(cells / ACROSS), N) blocks of (ACROSS, DEEP) threads.
extern "C" __global__ void __launch_bounds__(ACROSS * DEEP)
combine(const float *__restrict__ activations, const float *__restrict__ weights, float *__restrict__ maps, int channels,
        int cells) {
    __shared__ float sums[DEEP][ACROSS];
    const int cell = blockIdx.x * ACROSS + threadIdx.x, share = threadIdx.y, n = blockIdx.y;
    float sum = 0.f;
    if (cell < cells) {
        const float *channel = activations + (size_t)n * channels * cells + cell;
        for (int k = share; k < channels; k += DEEP) sum += weights[n * channels + k] * channel[(size_t)k * cells];
    }
    sums[share][threadIdx.x] = sum;
    __syncthreads();
    if (share != 0 || cell >= cells) return;
    for (int s = 1; s < DEEP; ++s) sum += sums[s][threadIdx.x];
    maps[(size_t)n * cells + cell] = sum < 0.f ? 0.f : sum;
}

// normalised[map] = the map divided by its maximum, or zero if it is flat.  Grid: N blocks of BLOCK threads.
extern "C" __global__ void __launch_bounds__(BLOCK)
normalise(const float *__restrict__ maps, float *__restrict__ normalised, int cells) {
    __shared__ float peaks[BLOCK];
    const int t = threadIdx.x;
    const float *map = maps + (size_t)blockIdx.x * cells;
    float *out = normalised + (size_t)blockIdx.x * cells;
    float peak = map[0];
    for (int i = t; i < cells; i += BLOCK) peak = hotter(peak, map[i]);
    peaks[t] = peak;
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        __syncthreads();
        if (t < half) peaks[t] = hotter(peaks[t], peaks[t + half]);
    }
    __syncthreads();
    peak = peaks[0];
    for (int i = t; i < cells; i += BLOCK) out[i] = peak > FLAT ? map[i] / peak : 0.f;
}

// A map where it lies on the radiograph (operations.LAYER is the same record in NumPy).
struct Layer {
    int left, top, right, bottom; // pixels that it may colour: [left, right) x [top, bottom)
    int first, height, width;     // its cells: cells[first + row * width + column]
    float x0, y0, dx, dy;         // column of the cell under pixel x: x0 + (x - left) * dx; likewise the row
};

// Bilinear between cell centres, clamped at the map's edge; 0 where the map colours nothing.
__device__ static inline float sampled(const Layer &layer, const float *__restrict__ cells, int x, int y) {
    if (x < layer.left || x >= layer.right || y < layer.top || y >= layer.bottom) return 0.f;
    const float column = fminf(fmaxf(layer.x0 + (x - layer.left) * layer.dx, 0.f), layer.width - 1.f);
    const float row = fminf(fmaxf(layer.y0 + (y - layer.top) * layer.dy, 0.f), layer.height - 1.f);
    const int c = (int)column, r = (int)row, right = c + 1 < layer.width, below = r + 1 < layer.height ? layer.width : 0;
    const float u = column - c, v = row - r;
    const float *cell = cells + layer.first + r * layer.width + c;
    const float upper = cell[0] * (1.f - u) + cell[right] * u;
    const float lower = cell[below] * (1.f - u) + cell[below + right] * u;
    return upper * (1.f - v) + lower * v;
}

__device__ static inline unsigned char blended(float grey, float colour, float alpha) {
    return (unsigned char)(grey * (1.f - alpha) + colour * alpha + 0.5f);
}

// rgb[pixel] = grey[pixel], under the colour of the hottest of the layers there; the weight follows the heat.
//
// The image is one line of pixels, whatever its width: a thread takes 16 of them, always aligned. Its 48 bytes of
// colour go through shared memory, so that the block writes, as it reads, 16 bytes beside 16 bytes.
// `grey` and `rgb` are aligned to 16 bytes.  Grid: ceil(pixels / (BLOCK * PIXELS)) blocks of BLOCK threads.
extern "C" __global__ void __launch_bounds__(BLOCK)
overlay(const unsigned char *__restrict__ grey, const Layer *__restrict__ layers, const float *__restrict__ cells,
        const uchar4 *__restrict__ colours, unsigned char *__restrict__ rgb, int layer_count, int width, int pixels, float opacity) {
    __shared__ uint4 staged[BLOCK * 3];
    const int t = threadIdx.x;
    const int block = blockIdx.x * (BLOCK * PIXELS), first = block + t * PIXELS; // operations.py: pixels <= 2^30
    const int present = max(0, min(PIXELS, pixels - first));

    union { uint4 word; unsigned char byte[PIXELS]; } in;
    if (present == PIXELS) in.word = ((const uint4 *)grey)[first / PIXELS];
    else for (int i = 0; i < PIXELS; ++i) in.byte[i] = i < present ? grey[first + i] : 0;

    float heat[PIXELS] = {};
    const int left = first % width, top = first / width, bottom = (first + PIXELS - 1) / width;
    for (int l = 0; l < layer_count; ++l) {
        const Layer layer = layers[l];
        if (bottom < layer.top || top >= layer.bottom) continue;
        int x = left, y = top;
        #pragma unroll
        for (int i = 0; i < PIXELS; ++i) {
            heat[i] = hotter(heat[i], sampled(layer, cells, x, y));
            if (++x == width) { x = 0; ++y; }
        }
    }

    bool cold = true;
    #pragma unroll
    for (int i = 0; i < PIXELS; ++i) cold = cold && heat[i] == 0.f;

    union { uint4 word[3]; unsigned char byte[3 * PIXELS]; } out;
    if (cold) { // most of a radiograph; the other branch gives the same bytes at five times the instructions
        #pragma unroll
        for (int i = 0; i < PIXELS; ++i) out.byte[3 * i] = out.byte[3 * i + 1] = out.byte[3 * i + 2] = in.byte[i];
    } else {
        #pragma unroll
        for (int i = 0; i < PIXELS; ++i) {
            const float g = in.byte[i], alpha = opacity * sqrtf(heat[i]);
            const uchar4 colour = colours[min(max((int)rintf(heat[i] * 255.f), 0), 255)];
            out.byte[3 * i] = blended(g, colour.x, alpha);
            out.byte[3 * i + 1] = blended(g, colour.y, alpha);
            out.byte[3 * i + 2] = blended(g, colour.z, alpha);
        }
    }
    for (int i = 0; i < 3; ++i) staged[3 * t + i] = out.word[i];
    __syncthreads();

    const int bytes = 3 * min(BLOCK * PIXELS, pixels - block);
    for (int i = t; i < 3 * BLOCK; i += BLOCK) {
        unsigned char *to = rgb + (size_t)3 * block + 16 * i;
        if (16 * (i + 1) <= bytes) *(uint4 *)to = staged[i];
        else for (int b = 0; b < 16 && 16 * i + b < bytes; ++b) to[b] = ((const unsigned char *)staged)[16 * i + b];
    }
}
