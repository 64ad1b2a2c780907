// Prefill attention: FlashAttention-2 (Dao 2023) with mma.sync and cp.async,
// for compute capability 8.0 and newer.
//
// A block takes M rows of one KV head, where a row is a pair of a query token
// and one of the KV head's query heads, tokens first: so one tile of keys
// serves all of the group, and a causal mask cuts few tiles. Each of the 4
// warps owns M/4 rows for good. Keys come in tiles of N; while the scores of a
// tile are computed its values are on their way, and while they are weighed,
// the next tile's keys. Tiles before the windows of all rows are left out.
#pragma once

#include "attention.cuh"

template <int HeadDim> struct PrefillShape {
  static constexpr int threads = 128;
  static constexpr int M = HeadDim > 128 ? 64 : 128;
  static constexpr int N = HeadDim > 128 ? 32 : HeadDim == 64 ? 128 : 64;
};

template <typename T, int D> struct Prefill {
  static constexpr int M = PrefillShape<D>::M, N = PrefillShape<D>::N, threads = PrefillShape<D>::threads;
  static constexpr int rowTiles = M / 64; // 16-row tiles of a warp
  using Keys = Walk<T, N, D>;

  // A thread copies the same chunk of every copyRows-th row of a tile, so that addresses are numbers of the instruction.
  static constexpr int chunks = D / 8, copyRows = D == 64 ? 16 : D == 256 ? 4 : 8;

  float o[rowTiles][D / 8][4];
  float s[rowTiles][N / 8][4];
  float top[rowTiles][2], sum[rowTiles][2]; // of rows g and g+8; sum is of this lane's columns alone

  __device__ __forceinline__ static void copyQueries(const AttentionArgs<T>& a, uint32_t shared, int m0, i64 kvHead) {
    constexpr int chunks = D / 8;
    const int packed = a.rows * a.group;
#pragma unroll
    for (int i = 0; i < M * chunks / threads; i++) {
      const int at = i * threads + threadIdx.x, row = at / chunks, c = at % chunks, m = m0 + row;
      const bool valid = m < packed;
      const T* from = a.q;
      if (valid) from += m / a.group * a.qStride + (kvHead * a.group + m % a.group) * D + c * 8;
      copy16(shared + chunkOffset<D>(row, c), from, valid);
    }
  }

  // copyTile starts copying a tile of keys or values; rows past its end become zeros.
  __device__ __forceinline__ static void copyTile(uint32_t shared, const T* tile, int length) {
    const unsigned row = threadIdx.x / chunks, c = threadIdx.x % chunks;
    if (threads > copyRows * chunks && row >= copyRows) return;
    const T* from = tile + threadIdx.x * 8; // copyRows rows are one run of memory
    const uint32_t to = shared + chunkOffset<D>(row, c);
    if (length == N) {
#pragma unroll
      for (int i = 0; i < N / copyRows; i++) copy16(place(to, i), from + i * copyRows * D, true);
    } else {
#pragma unroll 1
      for (int i = 0; i < N / copyRows; i++) {
        const bool valid = static_cast<int>(row) + i * copyRows < length;
        copy16(place(to, i), valid ? from + i * copyRows * D : tile, valid);
      }
    }
  }
  // place is where a thread's copy of its i-th row goes; 4 rows further the swizzle is another.
  __device__ __forceinline__ static uint32_t place(uint32_t to, int i) {
    return (copyRows == 4 && i % 2 ? to ^ 4 << 4 : to) + i * copyRows * D * 2;
  }

  __device__ __forceinline__ void scores(uint32_t queries, uint32_t keys) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < rowTiles; i++) {
#pragma unroll
      for (int n = 0; n < N / 8; n++) s[i][n][0] = s[i][n][1] = s[i][n][2] = s[i][n][3] = 0;
    }
    const int qRow = warp * 16 * rowTiles + (lane & 15), kRow = (lane & 7) + (lane >> 4) * 8;
    const uint32_t qBase = queries + qRow * D * 2, qChunk = ((lane >> 4) ^ swizzle<D>(qRow)) << 4;
    const uint32_t kBase = keys + kRow * D * 2, kChunk = ((lane >> 3 & 1) ^ swizzle<D>(kRow)) << 4;
#pragma unroll
    for (int d = 0; d < D / 16; d++) {
      uint32_t a[rowTiles][4];
#pragma unroll
      for (int i = 0; i < rowTiles; i++) ldmatrix4(a[i], qBase + i * 16 * D * 2 + (qChunk ^ d << 5));
#pragma unroll
      for (int n = 0; n < N / 16; n++) {
        uint32_t b[4];
        ldmatrix4(b, kBase + n * 16 * D * 2 + (kChunk ^ d << 5));
#pragma unroll
        for (int i = 0; i < rowTiles; i++) {
          mma<T>(s[i][2 * n], a[i], b[0], b[1]);
          mma<T>(s[i][2 * n + 1], a[i], b[2], b[3]);
        }
      }
    }
  }

  // bound puts products under the cap.
  __device__ __forceinline__ void bound(const AttentionArgs<T>& a) {
    const float slope = a.slope();
#pragma unroll
    for (int i = 0; i < rowTiles; i++) {
#pragma unroll
      for (int n = 0; n < N / 8; n++) {
#pragma unroll
        for (int j = 0; j < 4; j++) s[i][n][j] = a.bound(s[i][n][j], slope);
      }
    }
  }

  // hide masks what lies past the tile's end or the causal diagonal, or before a row's window.
  __device__ __forceinline__ void hide(const AttentionArgs<T>& a, int m0, int position, int length) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < rowTiles; i++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int m = m0 + (warp * rowTiles + i) * 16 + half * 8 + lane / 4;
        const int end = min(length, a.visible(m / a.group) - position), begin = a.hidden(m / a.group) - position;
#pragma unroll
        for (int n = 0; n < N / 8; n++) {
          const int key = n * 8 + lane % 4 * 2;
          if (key >= end || (a.window != 0 && key < begin)) s[i][n][half * 2] = minusInfinity();
          if (key + 1 >= end || (a.window != 0 && key + 1 < begin)) s[i][n][half * 2 + 1] = minusInfinity();
        }
      }
    }
  }

  // weigh turns scores into exp(score - top), with what was summed so far brought to the new top.
  __device__ __forceinline__ void weigh(float scale2) {
#pragma unroll
    for (int i = 0; i < rowTiles; i++) {
      float shrink[2];
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float t = top[i][half];
#pragma unroll
        for (int n = 0; n < N / 8; n++) t = fmaxf(t, fmaxf(s[i][n][half * 2], s[i][n][half * 2 + 1]));
        t = fmaxf(t, __shfl_xor_sync(wholeWarp, t, 1));
        t = fmaxf(t, __shfl_xor_sync(wholeWarp, t, 2));
        // A row that has seen no key yet has no finite top; any number serves.
        const float base = t == minusInfinity() ? 0.f : t * scale2;
        shrink[half] = exp2Fast(top[i][half] * scale2 - base);
        top[i][half] = t;
        float total = sum[i][half] * shrink[half];
#pragma unroll
        for (int n = 0; n < N / 8; n++) {
          s[i][n][half * 2] = exp2Fast(s[i][n][half * 2] * scale2 - base);
          s[i][n][half * 2 + 1] = exp2Fast(s[i][n][half * 2 + 1] * scale2 - base);
          total += s[i][n][half * 2] + s[i][n][half * 2 + 1];
        }
        sum[i][half] = total;
      }
      // After the first tiles a new top is rare, and a warp without one has nothing to bring along.
      if (__any_sync(wholeWarp, shrink[0] != 1 || shrink[1] != 1)) {
#pragma unroll
        for (int d = 0; d < D / 8; d++) {
          o[i][d][0] *= shrink[0];
          o[i][d][1] *= shrink[0];
          o[i][d][2] *= shrink[1];
          o[i][d][3] *= shrink[1];
        }
      }
    }
  }

  __device__ __forceinline__ void addValues(uint32_t values) {
    const int lane = threadIdx.x % 32, row = lane & 15;
    const uint32_t base = values + row * D * 2, chunk = ((lane >> 4) ^ swizzle<D>(row)) << 4;
#pragma unroll
    for (int n = 0; n < N / 16; n++) {
      uint32_t p[rowTiles][4];
#pragma unroll
      for (int i = 0; i < rowTiles; i++) {
        p[i][0] = pack2<T>(s[i][2 * n][0], s[i][2 * n][1]);
        p[i][1] = pack2<T>(s[i][2 * n][2], s[i][2 * n][3]);
        p[i][2] = pack2<T>(s[i][2 * n + 1][0], s[i][2 * n + 1][1]);
        p[i][3] = pack2<T>(s[i][2 * n + 1][2], s[i][2 * n + 1][3]);
      }
#pragma unroll
      for (int d = 0; d < D / 16; d++) {
        uint32_t b[4];
        ldmatrix4Transposed(b, base + n * 16 * D * 2 + (chunk ^ d << 5));
#pragma unroll
        for (int i = 0; i < rowTiles; i++) {
          mma<T>(o[i][2 * d], p[i], b[0], b[1]);
          mma<T>(o[i][2 * d + 1], p[i], b[2], b[3]);
        }
      }
    }
  }

  __device__ __forceinline__ void store(const AttentionArgs<T>& a, int m0, i64 kvHead) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < rowTiles; i++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float total = sum[i][half];
        total += __shfl_xor_sync(wholeWarp, total, 1);
        total += __shfl_xor_sync(wholeWarp, total, 2);
        const int m = m0 + (warp * rowTiles + i) * 16 + half * 8 + lane / 4;
        const bool stored = m < a.rows * a.group;
        const int row = m / a.group;
        const i64 head = kvHead * a.group + m % a.group;
        float* at = a.lse + head * a.lseStride + row;
        Joined joined = {total > 0 ? top[i][half] * a.unit() + logf(total) : minusInfinity(), 0, 1};
        if ((a.flags & mergeFlag) && stored) joined = join(*at, joined.lse);
        __syncwarp(); // the four lanes of a row have read the old value
        if (!stored) continue;
        if (lane % 4 == 0) *at = joined.lse;
        const float weight = total > 0 ? joined.second / total : 0;
        const i64 to = row * a.outStride + head * D + lane % 4 * 2;
#pragma unroll
        for (int d = 0; d < D / 8; d++) {
          storePair<T>(a.out, to + d * 8, make_float2(o[i][d][half * 2], o[i][d][half * 2 + 1]), joined.first, weight, a.flags);
        }
      }
    }
  }

  __device__ __forceinline__ void run(const AttentionArgs<T>& a) {
    extern __shared__ __align__(128) uint8_t shared[];
    const uint32_t queries = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
    const uint32_t keys = queries + M * D * 2, values = keys + N * D * 2;
    // The last rows see the most keys: they go first, so that no multiprocessor is left with a long block at the end.
    const int m0 = (gridDim.x - 1 - blockIdx.x) * M;
    const i64 kvHead = blockIdx.y;

    const int lastRow = min(a.rows - 1, (m0 + M - 1) / a.group);
    const int tiles = Keys::tiles(a, a.visible(lastRow)), seenByAll = a.visible(m0 / a.group);
    const int first = a.window != 0 ? Keys::tileOf(a, a.hidden(m0 / a.group)) : 0, hiddenFromSome = a.hidden(lastRow);
    const float scale2 = a.unit() * log2e;
#pragma unroll
    for (int i = 0; i < rowTiles; i++) {
      top[i][0] = top[i][1] = minusInfinity();
      sum[i][0] = sum[i][1] = 0;
#pragma unroll
      for (int d = 0; d < D / 8; d++) o[i][d][0] = o[i][d][1] = o[i][d][2] = o[i][d][3] = 0;
    }

    Keys walk(a, kvHead, first);
    copyQueries(a, queries, m0, kvHead);
    if (first < tiles) copyTile(keys, walk.k + static_cast<i64>(walk.start) * D, walk.length());
    commitCopies();
    for (int t = first; t < tiles; t++) {
      const int position = walk.position(), length = walk.length();
      waitCopies<0>();
      __syncthreads(); // the keys are there, and no warp reads the last values any more
      copyTile(values, walk.v + static_cast<i64>(walk.start) * D, length);
      commitCopies();
      scores(queries, keys);
      waitCopies<0>();
      __syncthreads(); // the values are there, and no warp reads these keys any more
      if (t + 1 < tiles) {
        walk.next();
        copyTile(keys, walk.k + static_cast<i64>(walk.start) * D, walk.length());
        commitCopies();
      }
      if (a.cap != 0) bound(a);
      if (length < N || position + N > seenByAll || (a.window != 0 && position < hiddenFromSome)) hide(a, m0, position, length);
      weigh(scale2);
      addValues(values);
    }
    waitCopies<0>();
    store(a, m0, kvHead);
  }
};

#define ATTENTION_PREFILL(T, NAME, D)                                                                          \
  extern "C" __global__ void __launch_bounds__(PrefillShape<D>::threads, 2)                                    \
      attention_prefill_##NAME##_hd##D(ATTENTION_PARAMETERS(T)) {                                              \
    Prefill<T, D> p;                                                                                           \
    p.run(ATTENTION_STRUCT(T, 0, 0));                                                                          \
  }                                                                                                            \
  extern "C" __global__ void __launch_bounds__(PrefillShape<D>::threads, 2)                                    \
      attention_prefill_##NAME##_hd##D##_capped(ATTENTION_PARAMETERS(T), i64 window, double cap) {             \
    Prefill<T, D> p;                                                                                           \
    p.run(ATTENTION_STRUCT(T, window, cap));                                                                   \
  }
#define ATTENTION_PREFILLS(T, NAME) \
  ATTENTION_PREFILL(T, NAME, 64)    \
  ATTENTION_PREFILL(T, NAME, 96)    \
  ATTENTION_PREFILL(T, NAME, 128)   \
  ATTENTION_PREFILL(T, NAME, 256)
