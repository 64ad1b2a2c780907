// Decode attention: few query tokens against many keys, bound by the bytes of
// the keys and values.
//
// The keys that any row sees are divided between the blocks of the grid's x
// ("split-KV"), each of which streams its tiles through a ring in shared memory.
// Up to 64 rows, pairs of a query token and a query head of the KV head, are
// packed into 16-row tiles; the 4 warps share out first the row tiles, then
// 16-key parts of a tile of keys, with a partial softmax each, and join at the end.
#pragma once

#include "attention.cuh"

template <int HeadDim> struct DecodeShape {
  static constexpr int threads = 128, M = 64;
  static constexpr int N = HeadDim > 128 ? 32 : 64;                       // keys a tile
  static constexpr int stages = HeadDim == 64 || HeadDim == 96 ? 4 : 3;   // tiles in the ring
  static constexpr int tileBytes = N * HeadDim * 2;
};

template <typename T, int D> struct Decode {
  using Shape = DecodeShape<D>;
  static constexpr int N = Shape::N, stages = Shape::stages, threads = Shape::threads, warps = threads / 32;
  using Keys = Walk<T, N, D>;

  uint32_t q[D / 16][4];
  float o[D / 8][4];
  float top[2], sum[2]; // of rows g and g+8; sum is of this lane's columns alone

  __device__ __forceinline__ void loadQueries(const AttentionArgs<T>& a, int m0, i64 kvHead) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int m = m0 + half * 8 + lane / 4;
      const bool valid = m < a.rows * a.group;
      const T* row = a.q;
      if (valid) row += m / a.group * a.qStride + (kvHead * a.group + m % a.group) * D + lane % 4 * 2;
#pragma unroll
      for (int d = 0; d < D / 16; d++) {
        q[d][half] = valid ? *reinterpret_cast<const uint32_t*>(row + d * 16) : 0;
        q[d][half + 2] = valid ? *reinterpret_cast<const uint32_t*>(row + d * 16 + 8) : 0;
      }
    }
  }

  // attend takes 16 keys and values of the tile in shared memory; a row sees the tile's keys begin[half] to end[half].
  __device__ __forceinline__ void attend(const AttentionArgs<T>& a, uint32_t keys, uint32_t values, int from, const int (&begin)[2],
                                         const int (&end)[2], float scale2, float slope) {
    const int lane = threadIdx.x % 32;
    float s[2][4] = {};
    const int kRow = (lane & 7) + (lane >> 4) * 8;
    const uint32_t kBase = keys + (from + kRow) * D * 2, kChunk = ((lane >> 3 & 1) ^ swizzle<D>(kRow)) << 4;
#pragma unroll
    for (int d = 0; d < D / 16; d++) {
      uint32_t b[4];
      ldmatrix4(b, kBase + (kChunk ^ d << 5));
      mma<T>(s[0], q[d], b[0], b[1]);
      mma<T>(s[1], q[d], b[2], b[3]);
    }
    if (a.cap != 0) {
#pragma unroll
      for (int n = 0; n < 2; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) s[n][i] = a.bound(s[n][i], slope);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float t = top[half];
#pragma unroll
      for (int n = 0; n < 2; n++) {
        const int key = from + n * 8 + lane % 4 * 2;
        if (key >= end[half] || (a.window != 0 && key < begin[half])) s[n][half * 2] = minusInfinity();
        if (key + 1 >= end[half] || (a.window != 0 && key + 1 < begin[half])) s[n][half * 2 + 1] = minusInfinity();
        t = fmaxf(t, fmaxf(s[n][half * 2], s[n][half * 2 + 1]));
      }
      t = fmaxf(t, __shfl_xor_sync(wholeWarp, t, 1));
      t = fmaxf(t, __shfl_xor_sync(wholeWarp, t, 2));
      const float base = t == minusInfinity() ? 0.f : t * scale2;
      const float shrink = exp2Fast(top[half] * scale2 - base);
      top[half] = t;
      sum[half] *= shrink;
#pragma unroll
      for (int n = 0; n < 2; n++) {
        s[n][half * 2] = exp2Fast(s[n][half * 2] * scale2 - base);
        s[n][half * 2 + 1] = exp2Fast(s[n][half * 2 + 1] * scale2 - base);
        sum[half] += s[n][half * 2] + s[n][half * 2 + 1];
      }
#pragma unroll
      for (int d = 0; d < D / 8; d++) {
        o[d][half * 2] *= shrink;
        o[d][half * 2 + 1] *= shrink;
      }
    }
    const uint32_t p[4] = {pack2<T>(s[0][0], s[0][1]), pack2<T>(s[0][2], s[0][3]), pack2<T>(s[1][0], s[1][1]), pack2<T>(s[1][2], s[1][3])};
    const int vRow = lane & 15;
    const uint32_t vBase = values + (from + vRow) * D * 2, vChunk = ((lane >> 4) ^ swizzle<D>(vRow)) << 4;
#pragma unroll
    for (int d = 0; d < D / 16; d++) {
      uint32_t b[4];
      ldmatrix4Transposed(b, vBase + (vChunk ^ d << 5));
      mma<T>(o[2 * d], p, b[0], b[1]);
      mma<T>(o[2 * d + 1], p, b[2], b[3]);
    }
  }

  // store joins the warps that share rows and writes this split's result.
  __device__ __forceinline__ void store(const AttentionArgs<T>& a, uint8_t* shared, int m0, int rowWarps, float* partialOut, float* partialLSE) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float* outs = reinterpret_cast<float*>(shared); // [warps, 16, D]
    float* tops = outs + warps * 16 * D;            // [warps, 16]
    float* sums = tops + warps * 16;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float total = sum[half];
      total += __shfl_xor_sync(wholeWarp, total, 1);
      total += __shfl_xor_sync(wholeWarp, total, 2);
      const int row = warp * 16 + half * 8 + lane / 4;
      if (lane % 4 == 0) {
        tops[row] = top[half];
        sums[row] = total;
      }
#pragma unroll
      for (int d = 0; d < D / 8; d++) {
        *reinterpret_cast<float2*>(outs + row * D + d * 8 + lane % 4 * 2) = make_float2(o[d][half * 2], o[d][half * 2 + 1]);
      }
    }
    __syncthreads();
    const i64 heads = static_cast<i64>(gridDim.y) * a.group;
    const int here = min(rowWarps * 16, a.rows * a.group - m0);
    for (int at = threadIdx.x; at < here * (D / 2); at += threads) {
      const int row = at / (D / 2), d = at % (D / 2) * 2, m = m0 + row;
      float best = minusInfinity();
      for (int w = row / 16; w < warps; w += rowWarps) best = fmaxf(best, tops[w * 16 + row % 16]);
      float total = 0;
      float2 value = make_float2(0, 0);
      for (int w = row / 16; w < warps; w += rowWarps) {
        const int r = w * 16 + row % 16;
        const float share = tops[r] == minusInfinity() ? 0 : exp2f((tops[r] - best) * a.unit() * log2e);
        const float2 part = *reinterpret_cast<const float2*>(outs + r * D + d);
        total += share * sums[r];
        value = make_float2(value.x + share * part.x, value.y + share * part.y);
      }
      const float inverse = total > 0 ? 1 / total : 0;
      const i64 to = (blockIdx.x * heads + blockIdx.y * static_cast<i64>(a.group) + m % a.group) * a.rows + m / a.group;
      *reinterpret_cast<float2*>(partialOut + to * D + d) = make_float2(value.x * inverse, value.y * inverse);
      if (d == 0) partialLSE[to] = total > 0 ? best * a.unit() + logf(total) : minusInfinity();
    }
  }

  __device__ __forceinline__ void run(const AttentionArgs<T>& a, float* partialOut, float* partialLSE, int splits) {
    extern __shared__ __align__(128) uint8_t shared[];
    const uint32_t ring = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int m0 = blockIdx.z * Shape::M, packed = min(Shape::M, a.rows * a.group - m0);
    const int rowWarps = packed <= 16 ? 1 : packed <= 32 ? 2 : 4; // warps with rows of their own
    const int keyWarps = warps / rowWarps;
    const int mWarp = m0 + warp % rowWarps * 16, part = warp / rowWarps;
    const i64 kvHead = blockIdx.y;

    loadQueries(a, mWarp, kvHead);
    top[0] = top[1] = minusInfinity();
    sum[0] = sum[1] = 0;
#pragma unroll
    for (int d = 0; d < D / 8; d++) o[d][0] = o[d][1] = o[d][2] = o[d][3] = 0;

    const int before = a.window != 0 ? Keys::tileOf(a, a.hidden(m0 / a.group)) : 0; // tiles that no row sees
    const int all = Keys::tiles(a, a.visible(min(a.rows - 1, (m0 + Shape::M - 1) / a.group))) - before;
    const int first = before + static_cast<i64>(blockIdx.x) * all / splits, last = before + static_cast<i64>(blockIdx.x + 1) * all / splits;
    const float scale2 = a.unit() * log2e, slope = a.slope();
    const int visible[2] = {a.visible((mWarp + lane / 4) / a.group), a.visible((mWarp + lane / 4 + 8) / a.group)};
    const int hidden[2] = {a.hidden((mWarp + lane / 4) / a.group), a.hidden((mWarp + lane / 4 + 8) / a.group)};
    Keys ahead(a, kvHead, first), walk(a, kvHead, first);
    int fetched = first;
    auto fetch = [&] {
      if (fetched < last) {
        const uint32_t slot = ring + (fetched - first) % stages * 2 * Shape::tileBytes;
        ahead.template copyTile<threads>(slot, ahead.k, ahead.length());
        ahead.template copyTile<threads>(slot + Shape::tileBytes, ahead.v, ahead.length());
        ahead.next();
        fetched++;
      }
      commitCopies(); // an empty group too, so that the count of groups is the count of tiles
    };
#pragma unroll
    for (int i = 0; i < stages - 1; i++) fetch();
    for (int t = first; t < last; t++) {
      waitCopies<stages - 2>();
      __syncthreads(); // tile t is there, and no warp reads tile t-1 any more
      fetch();
      const int length = walk.length(), position = walk.position();
      const int begin[2] = {hidden[0] - position, hidden[1] - position};
      const int end[2] = {min(length, visible[0] - position), min(length, visible[1] - position)};
      const uint32_t slot = ring + (t - first) % stages * 2 * Shape::tileBytes;
      for (int from = part * 16; from < length; from += keyWarps * 16) {
        attend(a, slot, slot + Shape::tileBytes, from, begin, end, scale2, slope);
      }
      walk.next();
    }
    waitCopies<0>();
    __syncthreads(); // the ring is free for the warps' results
    store(a, shared, m0, rowWarps, partialOut, partialLSE);
  }
};

constexpr int combineThreads = 256; // and the largest number of splits

// combine joins the splits of one row of one query head. Its threads take 4
// columns each, and share out the splits between groups that cover a row.
template <typename T>
__device__ __forceinline__ void combine(void* out, i64 outStride, float* lse, i64 lseStride, const float* partialOut, const float* partialLSE,
                                        i64 rows, i64 heads, int splits, int headDim, int flags) {
  __shared__ float weights[combineThreads], tops[combineThreads / 32];
  __shared__ float4 parts[combineThreads];
  const i64 row = blockIdx.x, head = blockIdx.y, step = heads * rows, at = head * rows + row;
  const int t = threadIdx.x;
  const float mine = t < splits ? partialLSE[t * step + at] : minusInfinity();
  float top = mine;
#pragma unroll
  for (int k = 16; k > 0; k >>= 1) top = fmaxf(top, __shfl_xor_sync(wholeWarp, top, k));
  if (t % 32 == 0) tops[t / 32] = top;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < combineThreads / 32; i++) top = fmaxf(top, tops[i]);
  const float weight = top == minusInfinity() ? 0 : expf(mine - top);
  weights[t] = weight;
  const float total = blockSum<combineThreads>(weight);

  const int lanes = headDim / 4, groups = combineThreads / lanes, group = t / lanes, column = t % lanes;
  float4 sum = make_float4(0, 0, 0, 0);
  if (group < groups) {
    const float* from = partialOut + at * headDim + 4 * column;
#pragma unroll 8
    for (int i = group; i < splits; i += groups) {
      const float4 v = *reinterpret_cast<const float4*>(from + i * step * headDim);
      const float w = weights[i];
      sum = make_float4(sum.x + w * v.x, sum.y + w * v.y, sum.z + w * v.z, sum.w + w * v.w);
    }
  }
  parts[t] = sum;
  float* const old = lse + head * lseStride + row;
  Joined joined = {total > 0 ? top + logf(total) : minusInfinity(), 0, 1};
  if (flags & mergeFlag) joined = join(*old, joined.lse);
  __syncthreads(); // the parts are there, and all have read the old log-sum-exp
  if (t == 0) *old = joined.lse;
  if (t >= lanes) return;
  for (int g = 1; g < groups; g++) {
    const float4 v = parts[g * lanes + t];
    sum = make_float4(sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w);
  }
  const float share = total > 0 ? joined.second / total : 0;
  const i64 to = row * outStride + head * headDim + 4 * t;
  storePair<T>(out, to, make_float2(sum.x, sum.y), joined.first, share, flags);
  storePair<T>(out, to + 2, make_float2(sum.z, sum.w), joined.first, share, flags);
}

#define ATTENTION_DECODE(T, NAME, D)                                                                          \
  extern "C" __global__ void __launch_bounds__(DecodeShape<D>::threads, 2) attention_decode_##NAME##_hd##D(   \
      ATTENTION_PARAMETERS(T), float* partialOut, float* partialLSE, i64 splits) {                            \
    Decode<T, D> d;                                                                                           \
    d.run(ATTENTION_STRUCT(T, 0, 0), partialOut, partialLSE, static_cast<int>(splits));                       \
  }                                                                                                           \
  extern "C" __global__ void __launch_bounds__(DecodeShape<D>::threads, 2)                                    \
      attention_decode_##NAME##_hd##D##_capped(ATTENTION_PARAMETERS(T), i64 window, double cap,               \
                                               float* partialOut, float* partialLSE, i64 splits) {            \
    Decode<T, D> d;                                                                                           \
    d.run(ATTENTION_STRUCT(T, window, cap), partialOut, partialLSE, static_cast<int>(splits));                \
  }
#define ATTENTION_DECODES(T, NAME)                                                                                       \
  ATTENTION_DECODE(T, NAME, 64)                                                                                          \
  ATTENTION_DECODE(T, NAME, 96)                                                                                          \
  ATTENTION_DECODE(T, NAME, 128)                                                                                         \
  ATTENTION_DECODE(T, NAME, 256)                                                                                         \
  extern "C" __global__ void __launch_bounds__(combineThreads) attention_combine_##NAME(                                 \
      void* out, i64 outStride, float* lse, i64 lseStride, const float* partialOut, const float* partialLSE, i64 rows,   \
      i64 heads, i64 splits, i64 headDim, i64 flags) {                                                                   \
    combine<T>(out, outStride, lse, lseStride, partialOut, partialLSE, rows, heads, static_cast<int>(splits),            \
               static_cast<int>(headDim), static_cast<int>(flags));                                                      \
  }
