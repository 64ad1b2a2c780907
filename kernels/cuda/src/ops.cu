// Element-wise operators. README.md in this folder has the arguments.

#include "decode.cuh"

template <typename T, typename W>
__device__ __forceinline__ void embed(T* out, i64 outStride, const void* table, i64 tableStride, const int* ids, i64 cols, i64 vocabulary,
                                      double scale) {
  awaitEarlier();
  const i64 r = blockIdx.x;
  const i64 id = ids[r];
  out += r * outStride;
  if (id < 0 || id >= vocabulary) {
    for (i64 i = threadIdx.x; i < cols; i += blockDim.x) out[i] = fromFloat<T>(0);
    return;
  }
  decodeRow<T, W>(out, rowAt<W>(table, id, tableStride), 0, cols, static_cast<float>(scale));
}

#define EMBED(T, NAME, W, WNAME)                                                                                       \
  extern "C" __global__ void __launch_bounds__(128) embed_##NAME##_##WNAME(                                            \
      T* out, i64 outStride, const void* table, i64 tableStride, const int* ids, i64 rows, i64 cols, i64 vocabulary,   \
      double scale) {                                                                                                  \
    admitNext();                                                                                                       \
    embed<T, W>(out, outStride, table, tableStride, ids, cols, vocabulary, scale);                                     \
  }
FOR_WEIGHTS(EMBED, bf16, bf16)
FOR_WEIGHTS(EMBED, f16, f16)

template <typename T, typename W>
__device__ __forceinline__ void decodeTile(T* out, i64 outStride, const void* w, i64 wStride, i64 rows, i64 cols) {
  const i64 from = blockIdx.x * 1024ll;
  for (i64 r = blockIdx.y; r < rows; r += gridDim.y) {
    decodeRow<T, W>(out + r * outStride, rowAt<W>(w, r, wStride), from, min(cols, from + 1024));
  }
}

#define DEQUANTISE(T, NAME, W, WNAME)                                                     \
  extern "C" __global__ void __launch_bounds__(128) dequantise_##NAME##_##WNAME(          \
      T* out, i64 outStride, const void* w, i64 wStride, i64 rows, i64 cols) {            \
    decodeTile<T, W>(out, outStride, w, wStride, rows, cols);                             \
  }
FOR_WEIGHTS(DEQUANTISE, bf16, bf16)
FOR_WEIGHTS(DEQUANTISE, f16, f16)

#define WIDEN(T, NAME)                                                              \
  extern "C" __global__ void __launch_bounds__(128) widen_##NAME(                   \
      float* out, i64 outStride, const void* x, i64 xStride, i64 rows, i64 cols) {  \
    decodeTile<float, T>(out, outStride, x, xStride, rows, cols);                   \
  }
WIDEN(bf16, bf16)
WIDEN(f16, f16)

constexpr i64 addFlag = 1;
constexpr int normThreads = 256;
constexpr int normKept = 4; // runs of 8 elements of a row that a thread keeps, so that rows of up to 8192 are read once

// normRun scales a run of 8 elements and stores it, or adds it to what is there.
template <typename T> __device__ __forceinline__ void normRun(T* out, Eight<T> e, const float4& first, const float4& second, float scale, bool add) {
  const float w[8] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
#pragma unroll
  for (int j = 0; j < 8; j++) e.v[j] *= scale * w[j];
  if (add) {
    const Eight<T> old = Eight<T>::load(out);
#pragma unroll
    for (int j = 0; j < 8; j++) e.v[j] += old.v[j];
  }
  e.store(out);
}

template <typename T> __device__ __forceinline__ float squares(const Eight<T>& e) {
  float sum = 0;
#pragma unroll
  for (int j = 0; j < 8; j++) sum += e.v[j] * e.v[j];
  return sum;
}

// rmsnormWide takes a row 8 elements at a time, each thread the runs 8·(threadIdx + 256·j). What it keeps of the
// weight, a constant, comes while the kernel ahead ends.
template <typename T>
__device__ __forceinline__ void rmsnormWide(T* out, const T* x, const float* weight, i64 cols, float eps, bool add) {
  constexpr i64 step = 8ll * normThreads, kept = normKept * step;
  const i64 first = 8ll * threadIdx.x;
  uint4 run[normKept] = {};
  float4 w[normKept][2] = {};
#pragma unroll
  for (int j = 0; j < normKept; j++) {
    const i64 i = first + j * step;
    if (i < cols) {
      w[j][0] = *reinterpret_cast<const float4*>(weight + i);
      w[j][1] = *reinterpret_cast<const float4*>(weight + i + 4);
    }
  }
  awaitEarlier();
  float sum = 0;
#pragma unroll
  for (int j = 0; j < normKept; j++) {
    if (first + j * step < cols) run[j] = *reinterpret_cast<const uint4*>(x + first + j * step);
  }
#pragma unroll
  for (int j = 0; j < normKept; j++) sum += squares(Eight<T>::unpack(run[j]));
  for (i64 i = first + kept; i < cols; i += step) sum += squares(Eight<T>::load(x + i));
  sum = blockSum<normThreads>(sum);
  const float scale = rsqrtf(sum / static_cast<float>(cols) + eps);
#pragma unroll
  for (int j = 0; j < normKept; j++) {
    const i64 i = first + j * step;
    if (i < cols) normRun<T>(out + i, Eight<T>::unpack(run[j]), w[j][0], w[j][1], scale, add);
  }
  for (i64 i = first + kept; i < cols; i += step) {
    normRun<T>(out + i, Eight<T>::load(x + i), *reinterpret_cast<const float4*>(weight + i), *reinterpret_cast<const float4*>(weight + i + 4),
               scale, add);
  }
}

template <typename T>
__device__ __forceinline__ void rmsnorm(T* out, i64 outStride, const T* x, i64 xStride, const float* weight, i64 cols, double eps, i64 flags) {
  const i64 r = blockIdx.x;
  const bool wide = vectors16(x, xStride, cols) && vectors16(out, outStride, cols) && reinterpret_cast<uintptr_t>(weight) % 16 == 0;
  const bool add = flags & addFlag;
  x += r * xStride;
  out += r * outStride;
  if (wide) {
    rmsnormWide<T>(out, x, weight, cols, static_cast<float>(eps), add);
    return;
  }
  awaitEarlier();
  float sum = 0;
  for (i64 i = threadIdx.x; i < cols; i += normThreads) {
    const float v = toFloat(x[i]);
    sum += v * v;
  }
  sum = blockSum<normThreads>(sum);
  const float scale = rsqrtf(sum / static_cast<float>(cols) + static_cast<float>(eps));
  for (i64 i = threadIdx.x; i < cols; i += normThreads) {
    out[i] = fromFloat<T>(toFloat(x[i]) * scale * weight[i] + (add ? toFloat(out[i]) : 0.f));
  }
}

#define RMSNORM(T, NAME)                                                                                                  \
  extern "C" __global__ void __launch_bounds__(normThreads, 4) rmsnorm_##NAME(T* out, i64 outStride, const T* x, i64 xStride,        \
                                                                  const float* weight, i64 rows, i64 cols, double eps,    \
                                                                  i64 flags) {                                            \
    admitNext();                                                                                                          \
    rmsnorm<T>(out, outStride, x, xStride, weight, cols, eps, flags);                                                     \
  }
RMSNORM(bf16, bf16)
RMSNORM(f16, f16)

constexpr i64 siluActivation = 0, geluActivation = 1;

// activate is x * sigmoid(x), or GELU by its approximation with tanh, which is x * sigmoid(2u) for tanh(u).
__device__ __forceinline__ float activate(float x, bool gelu) {
  const float u = gelu ? x * (1.5957691216f + 0.0713548163f * x * x) : x;
  return x / (1 + __expf(-u));
}

template <typename T>
__device__ __forceinline__ void glu(T* out, i64 outStride, const T* gateUp, i64 gateUpStride, i64 ffn, i64 activation) {
  const i64 r = blockIdx.x;
  const bool wide = vectors16(out, outStride, ffn) && vectors16(gateUp, gateUpStride, ffn);
  const float known = activation == siluActivation || activation == geluActivation ? 0.f : __int_as_float(0x7fc00000);
  const bool gelu = activation == geluActivation;
  out += r * outStride;
  gateUp += r * gateUpStride;
  const i64 from = blockIdx.y * 1024ll, to = min(ffn, from + 1024);
  awaitEarlier();
  if (wide) {
    const i64 i = from + 8 * threadIdx.x;
    if (i >= to) return;
    Eight<T> g = Eight<T>::load(gateUp + i);
    const Eight<T> u = Eight<T>::load(gateUp + ffn + i);
#pragma unroll
    for (int j = 0; j < 8; j++) g.v[j] = activate(g.v[j], gelu) * u.v[j] + known;
    g.store(out + i);
    return;
  }
  for (i64 i = from + threadIdx.x; i < to; i += blockDim.x) {
    out[i] = fromFloat<T>(activate(toFloat(gateUp[i]), gelu) * toFloat(gateUp[ffn + i]) + known);
  }
}

#define GLU(T, NAME)                                                                                                        \
  extern "C" __global__ void __launch_bounds__(128) glu_##NAME(T* out, i64 outStride, const T* gateUp, i64 gateUpStride,    \
                                                              i64 rows, i64 ffn, i64 activation) {                          \
    admitNext();                                                                                                            \
    glu<T>(out, outStride, gateUp, gateUpStride, ffn, activation);                                                          \
  }
GLU(bf16, bf16)
GLU(f16, f16)

// mix spreads a counter over 64 bits: two rounds of xor, shift and multiply by odd constants.
__device__ __forceinline__ uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ull;
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ull;
  return x ^ x >> 32;
}

// randomNormal is the Box–Muller transform of two uniforms of one counter.
__device__ __forceinline__ float randomNormal(uint64_t seed, uint64_t counter) {
  const uint64_t bits = mix(mix(seed + 0x9e3779b97f4a7c15ull) + counter * 0x9e3779b97f4a7c15ull);
  const float u = (static_cast<uint32_t>(bits) + 0.5f) * 2.3283064e-10f;
  const float angle = static_cast<uint32_t>(bits >> 32) * 4.6566129e-10f;
  return sqrtf(-2 * logf(fminf(u, 0.99999994f))) * cospif(angle);
}

#define RANDOM(T)                                                                                      \
  extern "C" __global__ void __launch_bounds__(128) random_##T(T* out, i64 outStride, i64 rows,        \
                                                              i64 cols, i64 seed, double mean, double deviation) { \
    const i64 to = min(cols, (blockIdx.x + 1) * 256ll);                                                \
    for (i64 r = blockIdx.y; r < rows; r += gridDim.y) {                                               \
      for (i64 c = blockIdx.x * 256ll + threadIdx.x; c < to; c += blockDim.x) {                        \
        const float z = randomNormal(seed, r * cols + c);                                              \
        out[r * outStride + c] = fromFloat<T>(static_cast<float>(mean) + static_cast<float>(deviation) * z); \
      }                                                                                                \
    }                                                                                                  \
  }
RANDOM(bf16)
RANDOM(f16)
RANDOM(f32)
