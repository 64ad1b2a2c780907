// Element-wise operators. README.md in this folder has the arguments.

#include "quant.cuh"

template <typename T, typename W>
__device__ __forceinline__ void embed(T* out, i64 outStride, const void* table, i64 tableStride, const int* ids, i64 cols, i64 vocabulary) {
  const i64 r = blockIdx.x;
  const i64 id = ids[r];
  out += r * outStride;
  if (id < 0 || id >= vocabulary) {
    for (i64 i = threadIdx.x; i < cols; i += blockDim.x) out[i] = fromFloat<T>(0);
    return;
  }
  decodeRow<T, W>(out, rowAt<W>(table, id, tableStride), 0, cols);
}

#define EMBED(T, NAME, W, WNAME)                                                                                       \
  extern "C" __global__ void __launch_bounds__(128) embed_##NAME##_##WNAME(                                            \
      T* out, i64 outStride, const void* table, i64 tableStride, const int* ids, i64 rows, i64 cols, i64 vocabulary) { \
    embed<T, W>(out, outStride, table, tableStride, ids, cols, vocabulary);                                            \
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

template <typename T>
__device__ __forceinline__ void rmsnorm(T* out, i64 outStride, const T* x, i64 xStride, const float* weight, i64 cols, double eps) {
  const i64 r = blockIdx.x;
  const bool wide = vectors16(x, xStride, cols) && vectors16(out, outStride, cols);
  x += r * xStride;
  out += r * outStride;
  float sum = 0;
  if (wide) {
    for (i64 i = 8ll * threadIdx.x; i < cols; i += 8ll * blockDim.x) {
      const Eight<T> e = Eight<T>::load(x + i);
#pragma unroll
      for (int j = 0; j < 8; j++) sum += e.v[j] * e.v[j];
    }
  } else {
    for (i64 i = threadIdx.x; i < cols; i += blockDim.x) {
      const float v = toFloat(x[i]);
      sum += v * v;
    }
  }
  sum = blockSum<256>(sum);
  const float scale = rsqrtf(sum / static_cast<float>(cols) + static_cast<float>(eps));
  if (wide) {
    for (i64 i = 8ll * threadIdx.x; i < cols; i += 8ll * blockDim.x) {
      Eight<T> e = Eight<T>::load(x + i);
#pragma unroll
      for (int j = 0; j < 8; j++) e.v[j] *= scale * weight[i + j];
      e.store(out + i);
    }
  } else {
    for (i64 i = threadIdx.x; i < cols; i += blockDim.x) out[i] = fromFloat<T>(toFloat(x[i]) * scale * weight[i]);
  }
}

#define RMSNORM(T, NAME)                                                                                                  \
  extern "C" __global__ void __launch_bounds__(256) rmsnorm_##NAME(T* out, i64 outStride, const T* x, i64 xStride,        \
                                                                  const float* weight, i64 rows, i64 cols, double eps) {  \
    rmsnorm<T>(out, outStride, x, xStride, weight, cols, eps);                                                            \
  }
RMSNORM(bf16, bf16)
RMSNORM(f16, f16)

extern "C" __global__ void __launch_bounds__(128)
    rotary_table(float* cosines, i64 cosStride, float* sines, i64 sinStride, const int* positions, const double* frequencies, i64 rows, i64 half) {
  const i64 i = blockIdx.x * static_cast<i64>(blockDim.x) + threadIdx.x;
  if (i >= rows * half) return;
  const i64 r = i / half, c = i % half;
  double s, k;
  sincos(positions[r] * frequencies[c], &s, &k);
  cosines[r * cosStride + c] = static_cast<float>(k);
  sines[r * sinStride + c] = static_cast<float>(s);
}

// rotate2 turns two pairs (a0, b0), (a1, b1), each by its own angle.
struct Pairs { float2 a, b; };

__device__ __forceinline__ Pairs rotate2(float2 a, float2 b, const float* c, const float* s) {
  return {make_float2(a.x * c[0] - b.x * s[0], a.y * c[1] - b.y * s[1]),
          make_float2(b.x * c[0] + a.x * s[0], b.y * c[1] + a.y * s[1])};
}

// rotatePart turns pairs i and i+1 of one head from src to dst, which may be the same.
template <typename T>
__device__ __forceinline__ void rotatePart(T* dst, const T* src, const float* c, const float* s, i64 i, i64 half, bool interleaved) {
  if (interleaved) {
    const uint2 w = *reinterpret_cast<const uint2*>(src + 2 * i);
    const float2 p = unpack2<T>(w.x), q = unpack2<T>(w.y);
    const Pairs o = rotate2(make_float2(p.x, q.x), make_float2(p.y, q.y), c + i, s + i);
    *reinterpret_cast<uint2*>(dst + 2 * i) = make_uint2(pack2<T>(o.a.x, o.b.x), pack2<T>(o.a.y, o.b.y));
    return;
  }
  const float2 a = unpack2<T>(*reinterpret_cast<const uint32_t*>(src + i));
  const float2 b = unpack2<T>(*reinterpret_cast<const uint32_t*>(src + half + i));
  const Pairs o = rotate2(a, b, c + i, s + i);
  *reinterpret_cast<uint32_t*>(dst + i) = pack2<T>(o.a.x, o.a.y);
  *reinterpret_cast<uint32_t*>(dst + half + i) = pack2<T>(o.b.x, o.b.y);
}

template <typename T>
__device__ __forceinline__ void rotateSplit(T* q, i64 qStride, const T* k, i64 kStride, const T* v, i64 vStride, const float* cosines,
                                            i64 cosStride, const float* sines, i64 sinStride, T* newK, T* newV, i64 headStride,
                                            i64 qHeads, i64 kvHeads, i64 headDim, i64 flags) {
  const i64 r = blockIdx.x;
  const bool interleaved = flags & 1;
  const int half = headDim / 2, parts = half / 2;
  const float *c = cosines + r * cosStride, *s = sines + r * sinStride;
  q += r * qStride;
  k += r * kStride;
  v += r * vStride;
  const int qParts = qHeads * parts, kParts = kvHeads * parts;
  for (int at = threadIdx.x; at < qParts + 2 * kParts; at += blockDim.x) {
    if (at < qParts) {
      T* head = q + at / parts * headDim;
      rotatePart<T>(head, head, c, s, at % parts * 2, half, interleaved);
      continue;
    }
    const bool value = at >= qParts + kParts;
    const int i = at - qParts - (value ? kParts : 0);
    const int head = i / parts, part = i % parts;
    const i64 to = head * headStride + r * headDim;
    if (value) {
      *reinterpret_cast<uint2*>(newV + to + 4 * part) = *reinterpret_cast<const uint2*>(v + head * headDim + 4 * part);
    } else {
      rotatePart<T>(newK + to, k + head * headDim, c, s, part * 2, half, interleaved);
    }
  }
}

#define ROTATE_SPLIT(T, NAME)                                                                                             \
  extern "C" __global__ void __launch_bounds__(256) rotate_split_##NAME(                                                  \
      T* q, i64 qStride, const T* k, i64 kStride, const T* v, i64 vStride, const float* cosines, i64 cosStride,           \
      const float* sines, i64 sinStride, T* newK, T* newV, i64 headStride, i64 rows, i64 qHeads, i64 kvHeads, i64 headDim, \
      i64 flags) {                                                                                                        \
    rotateSplit<T>(q, qStride, k, kStride, v, vStride, cosines, cosStride, sines, sinStride, newK, newV, headStride,      \
                   qHeads, kvHeads, headDim, flags);                                                                      \
  }
ROTATE_SPLIT(bf16, bf16)
ROTATE_SPLIT(f16, f16)

__device__ __forceinline__ float silu(float x) { return x / (1 + __expf(-x)); }

template <typename T>
__device__ __forceinline__ void glu(T* out, i64 outStride, const T* gateUp, i64 gateUpStride, i64 ffn, i64 activation) {
  const i64 r = blockIdx.x;
  const bool wide = vectors16(out, outStride, ffn) && vectors16(gateUp, gateUpStride, ffn);
  const float known = activation == 0 ? 0.f : __int_as_float(0x7fc00000);
  out += r * outStride;
  gateUp += r * gateUpStride;
  const i64 from = blockIdx.y * 1024ll, to = min(ffn, from + 1024);
  if (wide) {
    const i64 i = from + 8 * threadIdx.x;
    if (i >= to) return;
    Eight<T> g = Eight<T>::load(gateUp + i);
    const Eight<T> u = Eight<T>::load(gateUp + ffn + i);
#pragma unroll
    for (int j = 0; j < 8; j++) g.v[j] = silu(g.v[j]) * u.v[j] + known;
    g.store(out + i);
    return;
  }
  for (i64 i = from + threadIdx.x; i < to; i += blockDim.x) {
    out[i] = fromFloat<T>(silu(toFloat(gateUp[i])) * toFloat(gateUp[ffn + i]) + known);
  }
}

#define GLU(T, NAME)                                                                                                        \
  extern "C" __global__ void __launch_bounds__(128) glu_##NAME(T* out, i64 outStride, const T* gateUp, i64 gateUpStride,    \
                                                              i64 rows, i64 ffn, i64 activation) {                          \
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
