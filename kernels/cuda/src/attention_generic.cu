// Attention for any head_dim, in f32 and the plain order of the definition: the
// fallback for unusual models and the reference of the fast kernels. And merge.

#include "attention.cuh"

// generic takes one query token of one query head a block: each warp every
// fourth key, each lane every 32nd element of the head.
template <typename T> __device__ __forceinline__ void generic(const AttentionArgs<T>& a, int headDim) {
  constexpr int warps = 4, maxPerLane = 8;
  __shared__ float tops[warps], sums[warps], outs[warps][32 * maxPerLane];
  const int row = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const i64 head = blockIdx.y, kvHead = head / a.group;
  float q[maxPerLane], o[maxPerLane];
#pragma unroll
  for (int i = 0; i < maxPerLane; i++) {
    const int d = lane + 32 * i;
    q[i] = d < headDim ? toFloat(a.q[row * a.qStride + head * headDim + d]) : 0;
    o[i] = 0;
  }
  float top = minusInfinity(), sum = 0;
  int left = a.visible(row), skipped = a.hidden(row);
#pragma unroll
  for (int p = 0; p < maxPieces; p++) {
    const int keys = min(left, a.tokens[p]), from = min(skipped, keys);
    left -= keys;
    skipped -= from;
    const T* k = a.k[p] + kvHead * a.headStride[p];
    const T* v = a.v[p] + kvHead * a.headStride[p];
    for (int j = from + warp; j < keys; j += warps) {
      float score = 0;
#pragma unroll
      for (int i = 0; i < maxPerLane; i++) {
        const int d = lane + 32 * i;
        if (d < headDim) score += q[i] * toFloat(k[static_cast<i64>(j) * headDim + d]);
      }
      score = warpSum(score) * a.scale;
      if (a.cap != 0) score = a.cap * tanhf(score / a.cap);
      const float best = fmaxf(top, score), shrink = expf(top - best), weight = expf(score - best);
      top = best;
      sum = sum * shrink + weight;
#pragma unroll
      for (int i = 0; i < maxPerLane; i++) {
        const int d = lane + 32 * i;
        if (d < headDim) o[i] = o[i] * shrink + weight * toFloat(v[static_cast<i64>(j) * headDim + d]);
      }
    }
  }
  tops[warp] = top;
  sums[warp] = sum;
#pragma unroll
  for (int i = 0; i < maxPerLane; i++) outs[warp][lane + 32 * i] = o[i];
  __syncthreads();
  float best = minusInfinity(), total = 0;
  for (int w = 0; w < warps; w++) best = fmaxf(best, tops[w]);
  for (int w = 0; w < warps; w++) total += sums[w] > 0 ? sums[w] * expf(tops[w] - best) : 0;
  float* at = a.lse + head * a.lseStride + row;
  Joined joined = {total > 0 ? best + logf(total) : minusInfinity(), 0, 1};
  if (a.flags & mergeFlag) joined = join(*at, joined.lse);
  __syncthreads(); // all have read the old log-sum-exp
  if (threadIdx.x == 0) *at = joined.lse;
  for (int d = threadIdx.x; d < headDim; d += blockDim.x) {
    float value = 0;
    for (int w = 0; w < warps; w++) value += sums[w] > 0 ? outs[w][d] * expf(tops[w] - best) : 0;
    value *= total > 0 ? joined.second / total : 0;
    const i64 to = row * a.outStride + head * headDim + d;
    const bool add = (a.flags & mergeFlag) && joined.first != 0;
    if (a.flags & floatOutFlag) {
      float* p = static_cast<float*>(a.out) + to;
      *p = add ? value + *p * joined.first : value;
    } else {
      T* p = static_cast<T*>(a.out) + to;
      *p = fromFloat<T>(add ? value + toFloat(*p) * joined.first : value);
    }
  }
}

constexpr i64 secondIsFloat = 1;

// mergeRow folds one row of one query head of the second result into the first.
template <typename T>
__device__ __forceinline__ void mergeRow(void* out, i64 outStride, float* lse, i64 lseStride, const void* out2, i64 out2Stride,
                                         const float* lse2, i64 lse2Stride, i64 headDim, i64 flags) {
  const i64 row = blockIdx.x, head = blockIdx.y;
  float* at = lse + head * lseStride + row;
  const Joined joined = join(*at, lse2[head * lse2Stride + row]);
  __syncthreads(); // all have read the old log-sum-exp
  if (threadIdx.x == 0) *at = joined.lse;
  for (i64 d = threadIdx.x; d < headDim; d += blockDim.x) {
    const i64 to = row * outStride + head * headDim + d, from = row * out2Stride + head * headDim + d;
    float value = 0;
    if (joined.second != 0) {
      value = joined.second * (flags & secondIsFloat ? static_cast<const float*>(out2)[from] : toFloat(static_cast<const T*>(out2)[from]));
    }
    if (flags & floatOutFlag) {
      float* p = static_cast<float*>(out) + to;
      *p = joined.first != 0 ? value + *p * joined.first : value;
    } else {
      T* p = static_cast<T*>(out) + to;
      *p = fromFloat<T>(joined.first != 0 ? value + toFloat(*p) * joined.first : value);
    }
  }
}

#define GENERIC(T, NAME)                                                                                                    \
  extern "C" __global__ void __launch_bounds__(128) attention_generic_##NAME(ATTENTION_PARAMETERS(T), i64 window,           \
                                                                                     double cap, i64 headDim) {             \
    generic<T>(ATTENTION_STRUCT(T, window, cap), static_cast<int>(headDim));                                                \
  }                                                                                                                         \
  extern "C" __global__ void __launch_bounds__(64) merge_##NAME(void* out, i64 outStride, float* lse, i64 lseStride,        \
                                                               const void* out2, i64 out2Stride, const float* lse2,         \
                                                               i64 lse2Stride, i64 rows, i64 heads, i64 headDim, i64 flags) { \
    mergeRow<T>(out, outStride, lse, lseStride, out2, out2Stride, lse2, lse2Stride, headDim, flags);                        \
  }
GENERIC(bf16, bf16)
GENERIC(f16, f16)
