// The rotary table, and what makes queries, keys and values ready for attention:
// biases, the norm of each head, rotation, and the layout by head.

#include "common.cuh"

extern "C" __global__ void __launch_bounds__(128)
    rotary_table(float* cosines, i64 cosStride, float* sines, i64 sinStride, const int* positions, const double* frequencies, i64 rows, i64 half,
                 double scale) {
  const i64 i = blockIdx.x * static_cast<i64>(blockDim.x) + threadIdx.x;
  if (i >= rows * half) return;
  const i64 r = i / half, c = i % half;
  double s, k;
  sincos(positions[r] * frequencies[c], &s, &k);
  cosines[r * cosStride + c] = static_cast<float>(scale * k);
  sines[r * sinStride + c] = static_cast<float>(scale * s);
}

constexpr i64 neighboursFlag = 1;
constexpr int rotateThreads = 256;

// A part is what a thread takes of a head at a time: two runs of Run channels.
// Of what is rotated they hold Run pairs, and else they are neighbours.
template <typename T, int Run> struct Part {
  float v[2 * Run];
  int first, second; // the runs' first channels

  __device__ __forceinline__ Part(const T* head, int part, int half, bool neighbours) {
    const bool apart = part * Run < half && !neighbours;
    first = part * Run * (apart ? 1 : 2);
    second = first + (apart ? half : Run);
    if constexpr (Run == 1) {
      v[0] = toFloat(head[first]);
      v[1] = toFloat(head[second]);
    } else {
      uint2 w;
      if (apart) {
        w = make_uint2(*reinterpret_cast<const uint32_t*>(head + first), *reinterpret_cast<const uint32_t*>(head + second));
      } else {
        w = *reinterpret_cast<const uint2*>(head + first);
      }
      const float2 a = unpack2<T>(w.x), b = unpack2<T>(w.y);
      v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y;
    }
  }

  __device__ __forceinline__ void store(T* head) const {
    if constexpr (Run == 1) {
      head[first] = fromFloat<T>(v[0]);
      head[second] = fromFloat<T>(v[1]);
    } else {
      const uint2 w = make_uint2(pack2<T>(v[0], v[1]), pack2<T>(v[2], v[3]));
      if (second != first + Run) {
        *reinterpret_cast<uint32_t*>(head + first) = w.x;
        *reinterpret_cast<uint32_t*>(head + second) = w.y;
      } else {
        *reinterpret_cast<uint2*>(head + first) = w;
      }
    }
  }

  __device__ __forceinline__ void add(const float* bias) {
#pragma unroll
    for (int i = 0; i < Run; i++) {
      v[i] += bias[first + i];
      v[Run + i] += bias[second + i];
    }
  }

  __device__ __forceinline__ void normalise(const float* weight, float scale) {
#pragma unroll
    for (int i = 0; i < Run; i++) {
      v[i] *= scale * weight[first + i];
      v[Run + i] *= scale * weight[second + i];
    }
  }

  __device__ __forceinline__ static void turn(float& a, float& b, float cosine, float sine) {
    const float x = a;
    a = x * cosine - b * sine;
    b = b * cosine + x * sine;
  }
  __device__ __forceinline__ void rotate(const float* cosines, const float* sines, bool neighbours) {
    if (neighbours) {
#pragma unroll
      for (int i = 0; i < Run; i++) turn(v[2 * i], v[2 * i + 1], cosines[i], sines[i]);
    } else {
#pragma unroll
      for (int i = 0; i < Run; i++) turn(v[i], v[Run + i], cosines[i], sines[i]);
    }
  }
};

// Head is one head of one token, and what is done to it.
template <typename T> struct Head {
  const T* from;
  T* to;
  const float *bias, *norm; // 0: none
  int half;                 // pairs that are rotated
};

template <typename T> struct RotateArgs {
  T* q;
  i64 qStride;
  const T* k;
  i64 kStride;
  const T* v;
  i64 vStride;
  const float* cosines;
  i64 cosStride;
  const float* sines;
  i64 sinStride;
  T *newK, *newV;
  i64 headStride;
  int qHeads, kvHeads, headDim, half;
  const float *qBias, *kBias, *vBias, *qNorm, *kNorm;
  float eps;
  bool neighbours;

  // head is one of the queries' heads, then the keys', then the values'.
  __device__ __forceinline__ Head<T> head(i64 row, int i) const {
    if (i < qHeads) {
      T* at = q + row * qStride + i * headDim;
      return {at, at, qBias ? qBias + i * headDim : nullptr, qNorm, half};
    }
    i -= qHeads;
    if (i < kvHeads) {
      return {k + row * kStride + i * headDim, newK + i * headStride + row * headDim, kBias ? kBias + i * headDim : nullptr, kNorm, half};
    }
    i -= kvHeads;
    return {v + row * vStride + i * headDim, newV + i * headStride + row * headDim, vBias ? vBias + i * headDim : nullptr, nullptr, 0};
  }

  __device__ __forceinline__ static bool aligned(const T* p, i64 stride) { return reinterpret_cast<uintptr_t>(p) % 8 == 0 && stride % 4 == 0; }
  // fours says whether channels can be moved 4 at a time.
  __device__ __forceinline__ bool fours() const {
    return headDim % 4 == 0 && half % 2 == 0 && aligned(q, qStride) && aligned(k, kStride) && aligned(v, vStride) && aligned(newK, headStride) &&
           aligned(newV, headStride);
  }

  // take does to one part of a head what is to be done; scale is that of its norm.
  template <int Run> __device__ __forceinline__ void take(const Head<T>& h, i64 row, int part, float scale) const {
    Part<T, Run> p(h.from, part, h.half, neighbours);
    if (h.bias) p.add(h.bias);
    if (h.norm) p.normalise(h.norm, scale);
    if (part * Run < h.half) p.rotate(cosines + row * cosStride + part * Run, sines + row * sinStride + part * Run, neighbours);
    p.store(h.to);
  }

  // run takes a token, whose heads are divided between the blocks of the grid's y: without norms their parts
  // together, else a warp a head.
  template <int Run> __device__ __forceinline__ void run(i64 row) const {
    const int heads = qHeads + 2 * kvHeads, parts = headDim / (2 * Run);
    if (!qNorm && !kNorm) {
      for (int at = blockIdx.y * rotateThreads + threadIdx.x; at < heads * parts; at += gridDim.y * rotateThreads) take<Run>(head(row, at / parts), row, at % parts, 1);
      return;
    }
    constexpr int warps = rotateThreads / warpSize32;
    for (int i = blockIdx.y * warps + threadIdx.x / warpSize32; i < heads; i += gridDim.y * warps) {
      const Head<T> h = head(row, i);
      float sum = 0;
      if (h.norm) {
        for (int part = threadIdx.x % warpSize32; part < parts; part += warpSize32) {
          Part<T, Run> p(h.from, part, h.half, neighbours);
          if (h.bias) p.add(h.bias);
#pragma unroll
          for (int j = 0; j < 2 * Run; j++) sum += p.v[j] * p.v[j];
        }
        sum = warpSum(sum);
      }
      const float scale = rsqrtf(sum / static_cast<float>(headDim) + eps);
      for (int part = threadIdx.x % warpSize32; part < parts; part += warpSize32) take<Run>(h, row, part, scale);
    }
  }
};

#define ROTATE_PARAMETERS(T)                                                                                                 \
  T *q, i64 qStride, const T *k, i64 kStride, const T *v, i64 vStride, const float *cosines, i64 cosStride, const float *sines, \
      i64 sinStride, T *newK, T *newV, i64 headStride, i64 rows, i64 qHeads, i64 kvHeads, i64 headDim, i64 half, i64 flags
#define ROTATE_RUN(T, Q_BIAS, K_BIAS, V_BIAS, Q_NORM, K_NORM, EPS)                                                       \
  {                                                                                                                      \
    const RotateArgs<T> a{q, qStride, k, kStride, v, vStride, cosines, cosStride, sines, sinStride, newK, newV,          \
                          headStride, static_cast<int>(qHeads), static_cast<int>(kvHeads), static_cast<int>(headDim),    \
                          static_cast<int>(half), Q_BIAS, K_BIAS, V_BIAS, Q_NORM, K_NORM, static_cast<float>(EPS),       \
                          (flags & neighboursFlag) != 0};                                                                \
    admitNext();                                                                                                         \
    awaitEarlier();                                                                                                      \
    if (a.fours()) {                                                                                                     \
      a.template run<2>(blockIdx.x);                                                                                     \
    } else {                                                                                                             \
      a.template run<1>(blockIdx.x);                                                                                     \
    }                                                                                                                    \
  }

// What nobody asks for is not compiled into the first kernel.
#define ROTATE_SPLIT(T, NAME)                                                                                           \
  extern "C" __global__ void __launch_bounds__(rotateThreads) rotate_split_##NAME(ROTATE_PARAMETERS(T))                 \
      ROTATE_RUN(T, nullptr, nullptr, nullptr, nullptr, nullptr, 0)                                                     \
  extern "C" __global__ void __launch_bounds__(rotateThreads) rotate_split_##NAME##_weighted(                           \
      ROTATE_PARAMETERS(T), const float* qBias, const float* kBias, const float* vBias, const float* qNorm,             \
      const float* kNorm, double eps) ROTATE_RUN(T, qBias, kBias, vBias, qNorm, kNorm, eps)
ROTATE_SPLIT(bf16, bf16)
ROTATE_SPLIT(f16, f16)
