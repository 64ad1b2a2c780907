// Decode attention: few query tokens against many keys, bound by the bytes of
// the keys and values.
//
// The keys that any row sees are divided between blocks ("split-KV"), each of
// which streams its tiles through a ring in shared memory. Up to 64 rows, pairs
// of a query token and a query head of the KV head, are packed into 16-row
// tiles; the warps share out first the row tiles, then parts of a tile of keys,
// 16 or 32 at a time, with a partial softmax each, and join at the end. Where the
// keys are divided, a second kernel joins the blocks (attention_join.cuh).
//
// A launch takes one problem, or a list of them that do not depend on each other.
// Both kernels begin early, and have what they read first brought to the L2 cache.
#pragma once

#include "attention_join.cuh"

// DecodeShape is how a block works. Long is for many keys: one block fills a multiprocessor with tiles twice as large, so that
// half as many results are left to join.
template <int HeadDim, bool Long = false> struct DecodeShape {
  static constexpr int threads = Long ? 256 : 128, M = 64;
  static constexpr int N = (HeadDim > 128 ? 32 : 64) * (Long ? 2 : 1);  // keys a tile
  static constexpr int stages = HeadDim == 64 || HeadDim == 96 ? 4 : 3; // tiles in the ring
  static constexpr int tileBytes = N * HeadDim * 2;
  static constexpr int early = 6; // tiles brought to the L2 cache before earlier kernels have ended
  static constexpr int admit = 8; // tiles left when the next kernel may begin: what it brings to the cache displaces others
};

// DecodeProblem is a problem as it is passed: the words of README's "problem".
template <typename T> struct DecodeProblem {
  const T* q;
  i64 qStride;
  void* out;
  i64 outStride;
  float* lse;
  i64 lseStride, rows, group;
  double scale;
  i64 flags, pieces;
  struct {
    const T *k, *v;
    i64 tokens, headStride;
  } piece[maxPieces];
  i64 window;
  double cap;
  i64 splits, results;

  // part is the problem's part of the workspace.
  __device__ __forceinline__ Workspace part(const Workspace& of, int headDim) const {
    return {of.out + results * headDim, of.lse + results};
  }

  // args is the problem without what it says of blocks; without Capped, nothing of a window and a cap is compiled.
  template <bool Capped> __device__ __forceinline__ AttentionArgs<T> args() const {
    AttentionArgs<T> a = {q, qStride, out, outStride, lse, lseStride, static_cast<int>(rows), static_cast<int>(group),
                          static_cast<float>(scale), static_cast<int>(flags)};
#pragma unroll
    for (int p = 0; p < maxPieces; p++) {
      a.k[p] = piece[p].k;
      a.v[p] = piece[p].v;
      a.tokens[p] = p < pieces ? static_cast<int>(piece[p].tokens) : 0;
      a.headStride[p] = piece[p].headStride;
    }
    a.window = Capped ? static_cast<int>(window) : 0;
    a.cap = Capped ? static_cast<float>(cap) : 0;
    return a;
  }
};

constexpr int maxProblems = 64;

// DecodeList is several problems: the first block of each, never falling, and what it is.
template <typename T> struct DecodeList {
  i64 count, first[maxProblems];
  DecodeProblem<T> problem[maxProblems];

  // find is the problem of a block: the last of those that begin with it or before.
  __device__ __forceinline__ int find(int block) const {
    int lo = 0, hi = static_cast<int>(count);
    while (hi - lo > 1) {
      const int middle = (lo + hi) / 2;
      (first[middle] <= block ? lo : hi) = middle;
    }
    return lo;
  }
};

template <typename T, int D, bool Long = false> struct Decode {
  using Shape = DecodeShape<D, Long>;
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

  // copyTile starts copying a tile, whose keys or values lie without gaps; rows past its end become zeros.
  __device__ __forceinline__ static void copyTile(uint32_t shared, const T* tile, int length) {
    constexpr int chunks = D / 8;
    if (length == N) {
#pragma unroll
      for (int i = 0; i < N * chunks / threads; i++) {
        const int at = i * threads + threadIdx.x;
        copy16Once(shared + chunkOffset<D>(at / chunks, at % chunks), tile + at * 8, true);
      }
      return;
    }
#pragma unroll 2
    for (int i = 0; i < N * chunks / threads; i++) {
      const int at = i * threads + threadIdx.x;
      const bool valid = at / chunks < length;
      copy16Once(shared + chunkOffset<D>(at / chunks, at % chunks), tile + (valid ? at * 8 : 0), valid);
    }
  }

  // attend takes 16 or 32 keys and values of the tile in shared memory; a row sees the tile's keys begin[half] to end[half].
  template <int Count>
  __device__ __forceinline__ void attend(const AttentionArgs<T>& a, uint32_t keys, uint32_t values, int from, const int (&begin)[2],
                                         const int (&end)[2], float scale2, float slope) {
    constexpr int columns = Count / 8, sums = 32 / Count; // a product waits for the one that it is added to: of few there are two sums each
    const int lane = threadIdx.x % 32;
    float s[columns][4] = {}, odd[columns][4] = {};
    const int kRow = (lane & 7) + (lane >> 4) * 8;
    const uint32_t kBase = keys + (from + kRow) * D * 2, kChunk = ((lane >> 3 & 1) ^ swizzle<D>(kRow)) << 4;
#pragma unroll
    for (int d = 0; d < D / 16; d++) {
#pragma unroll
      for (int n = 0; n < columns; n += 2) {
        uint32_t b[4];
        ldmatrix4(b, kBase + n * 8 * D * 2 + (kChunk ^ d << 5));
        mma<T>(d % sums == 0 ? s[n] : odd[n], q[d], b[0], b[1]);
        mma<T>(d % sums == 0 ? s[n + 1] : odd[n + 1], q[d], b[2], b[3]);
      }
    }
    if (sums > 1) {
#pragma unroll
      for (int n = 0; n < columns; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) s[n][i] += odd[n][i];
      }
    }
    if (a.cap != 0) {
#pragma unroll
      for (int n = 0; n < columns; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) s[n][i] = a.bound(s[n][i], slope);
      }
    }
    float shrink[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float t = top[half];
#pragma unroll
      for (int n = 0; n < columns; n++) {
        const int key = from + n * 8 + lane % 4 * 2;
        if (key >= end[half] || (a.window != 0 && key < begin[half])) s[n][half * 2] = minusInfinity();
        if (key + 1 >= end[half] || (a.window != 0 && key + 1 < begin[half])) s[n][half * 2 + 1] = minusInfinity();
        t = fmaxf(t, fmaxf(s[n][half * 2], s[n][half * 2 + 1]));
      }
      t = fmaxf(t, __shfl_xor_sync(wholeWarp, t, 1));
      t = fmaxf(t, __shfl_xor_sync(wholeWarp, t, 2));
      const float base = t == minusInfinity() ? 0.f : t * scale2;
      shrink[half] = exp2Fast(top[half] * scale2 - base);
      top[half] = t;
      sum[half] *= shrink[half];
#pragma unroll
      for (int n = 0; n < columns; n++) {
        s[n][half * 2] = exp2Fast(s[n][half * 2] * scale2 - base);
        s[n][half * 2 + 1] = exp2Fast(s[n][half * 2 + 1] * scale2 - base);
        sum[half] += s[n][half * 2] + s[n][half * 2 + 1];
      }
    }
    // After the first keys the largest score is rarely exceeded.
    if (__any_sync(wholeWarp, shrink[0] != 1 || shrink[1] != 1)) {
#pragma unroll
      for (int d = 0; d < D / 8; d++) {
#pragma unroll
        for (int i = 0; i < 4; i++) o[d][i] *= shrink[i / 2];
      }
    }
    const int vRow = lane & 15;
    const uint32_t vBase = values + (from + vRow) * D * 2, vChunk = ((lane >> 4) ^ swizzle<D>(vRow)) << 4;
#pragma unroll
    for (int k = 0; k < columns / 2; k++) {
      const float(&x)[4] = s[2 * k], (&y)[4] = s[2 * k + 1];
      const uint32_t p[4] = {pack2<T>(x[0], x[1]), pack2<T>(x[2], x[3]), pack2<T>(y[0], y[1]), pack2<T>(y[2], y[3])};
#pragma unroll
      for (int d = 0; d < D / 16; d++) {
        uint32_t b[4];
        ldmatrix4Transposed(b, vBase + k * 16 * D * 2 + (vChunk ^ d << 5));
        mma<T>(o[2 * d], p, b[0], b[1]);
        mma<T>(o[2 * d + 1], p, b[2], b[3]);
      }
    }
  }

  // share leaves this warp's part of the softmax in shared memory, of the first rows.
  __device__ __forceinline__ void share(WarpParts<D, threads>& parts, int rows) const {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float total = sum[half];
      total += __shfl_xor_sync(wholeWarp, total, 1);
      total += __shfl_xor_sync(wholeWarp, total, 2);
      if (half * 8 + lane / 4 >= rows) continue;
      const int row = warp * 16 + half * 8 + lane / 4;
      if (lane % 4 == 0) {
        parts.tops[row] = top[half];
        parts.sums[row] = total;
      }
#pragma unroll
      for (int d = 0; d < D / 8; d++) {
        *reinterpret_cast<float2*>(&parts.outs[row][d * 8 + lane % 4 * 2]) = make_float2(o[d][half * 2], o[d][half * 2 + 1]);
      }
    }
  }

  // prefetch has the L2 cache read some bytes, a multiple of 16. They need not be what they will be once earlier kernels
  // have ended: all writes go through that cache.
  __device__ __forceinline__ static void prefetch(const T* at, int bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(at), "r"(bytes));
#endif
  }

  // fetchSoon has the L2 cache read a tile.
  __device__ __forceinline__ static void fetchSoon(const Keys& tile) {
    const i64 from = static_cast<i64>(tile.start) * D;
    prefetch(tile.k + from, tile.length() * D * 2);
    prefetch(tile.v + from, tile.length() * D * 2);
  }

  // run is the work of a problem's block: split after split, then rows, then heads.
  __device__ __forceinline__ void run(const AttentionArgs<T>& a, int block, int splits, const Workspace& work) {
    extern __shared__ __align__(128) uint8_t shared[];
    const uint32_t ring = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, packed = a.rows * a.group;
    const int unit = block / splits, split = block % splits, rowBlocks = (packed + Shape::M - 1) / Shape::M;
    const i64 kvHead = unit / rowBlocks;
    const int m0 = unit % rowBlocks * Shape::M, here = min(Shape::M, packed - m0);
    const int rowWarps = here <= 16 ? 1 : here <= 32 ? 2 : 4; // warps with rows of their own
    const int keyWarps = warps / rowWarps;
    const int mWarp = m0 + warp % rowWarps * 16, part = warp / rowWarps;

    const int before = a.window != 0 ? Keys::tileOf(a, a.hidden(m0 / a.group)) : 0; // tiles that no row sees
    const int all = Keys::tiles(a, a.visible((m0 + here - 1) / a.group)) - before;
    // A split takes every so many tiles, so that blocks that run together read what lies together.
    const int count = max(0, all - split + splits - 1) / splits;
    if (count <= Shape::admit) admitNext();
    if (static_cast<int>(threadIdx.x) < min(count, Shape::early)) {
      fetchSoon(Keys(a, kvHead, before + split + static_cast<int>(threadIdx.x) * splits));
    }
    Keys ahead(a, kvHead, before + split), walk = ahead;
    awaitEarlier();
    int fetched = 0;
    auto fetch = [&] {
      if (fetched < count) {
        const uint32_t slot = ring + fetched % stages * 2 * Shape::tileBytes;
        const i64 from = static_cast<i64>(ahead.start) * D;
        const int length = ahead.length();
        copyTile(slot, ahead.k + from, length);
        copyTile(slot + Shape::tileBytes, ahead.v + from, length);
        ahead.skip(splits);
        fetched++;
      }
      commitCopies(); // an empty group too, so that the count of groups is the count of tiles
    };
#pragma unroll 1 // code that has to be fetched too
    for (int i = 0; i < stages - 1; i++) fetch();

    loadQueries(a, mWarp, kvHead);
    top[0] = top[1] = minusInfinity();
    sum[0] = sum[1] = 0;
#pragma unroll
    for (int d = 0; d < D / 8; d++) o[d][0] = o[d][1] = o[d][2] = o[d][3] = 0;
    const float scale2 = a.unit() * log2e, slope = a.slope();
    const int visible[2] = {a.visible((mWarp + lane / 4) / a.group), a.visible((mWarp + lane / 4 + 8) / a.group)};
    const int hidden[2] = {a.hidden((mWarp + lane / 4) / a.group), a.hidden((mWarp + lane / 4 + 8) / a.group)};
    for (int t = 0; t < count; t++) {
      waitCopies<stages - 2>();
      __syncthreads(); // tile t is there, and no warp reads tile t-1 any more
      fetch();
      if (t + Shape::admit + 1 == count) admitNext();
      const int length = walk.length(), position = walk.position();
      const int begin[2] = {hidden[0] - position, hidden[1] - position};
      const int end[2] = {min(length, visible[0] - position), min(length, visible[1] - position)};
      const uint32_t slot = ring + t % stages * 2 * Shape::tileBytes;
      if (D <= 128 && N >= keyWarps * 32) { // of larger heads the registers are full
        for (int from = part * 32; from < length; from += keyWarps * 32) {
          attend<32>(a, slot, slot + Shape::tileBytes, from, begin, end, scale2, slope);
        }
      } else {
        for (int from = part * 16; from < length; from += keyWarps * 16) {
          attend<16>(a, slot, slot + Shape::tileBytes, from, begin, end, scale2, slope);
        }
      }
      walk.skip(splits);
    }
    waitCopies<0>();
    __syncthreads(); // the ring is free for the warps' results
    WarpParts<D, threads>& parts = *reinterpret_cast<WarpParts<D, threads>*>(shared);
    share(parts, here - warp % rowWarps * 16);
    __syncthreads();
    const Join<T, D, threads> join = {a, work, kvHead, m0, here, split, splits};
    join.run(parts, rowWarps);
  }
};

// decodeProblem is what a block of a problem does.
template <typename T, int D, bool Capped, bool Long>
__device__ __forceinline__ void decodeProblem(const DecodeProblem<T>& problem, int block, const Workspace& work) {
  Decode<T, D, Long> d;
  d.run(problem.template args<Capped>(), block, static_cast<int>(problem.splits), problem.part(work, D));
}

// combineProblem joins the row of a problem's block: head after head of keys, and rows and their heads within.
template <typename T>
__device__ __forceinline__ void combineProblem(const DecodeProblem<T>& problem, int block, const Workspace& work, int headDim) {
  __shared__ Combine<T> combine;
  const AttentionArgs<T> a = problem.template args<false>();
  const int packed = a.rows * a.group;
  combine.run(a, problem.part(work, headDim), block / packed, block % packed, static_cast<int>(problem.splits), headDim);
}

#define DECODE_KERNEL(T, NAME, D, SUFFIX, CAPPED)                                                                               \
  extern "C" __global__ void __launch_bounds__(DecodeShape<D>::threads, 2) attention_decode_##NAME##_hd##D##SUFFIX(             \
      const __grid_constant__ DecodeProblem<T> problem, float* partialOut, float* partialLSE) {                                 \
    decodeProblem<T, D, CAPPED, false>(problem, blockIdx.x, {partialOut, partialLSE});                                          \
  }                                                                                                                             \
  extern "C" __global__ void __launch_bounds__(DecodeShape<D>::threads, 2) attention_decode_list_##NAME##_hd##D##SUFFIX(        \
      const __grid_constant__ DecodeList<T> list, float* partialOut, float* partialLSE) {                                       \
    const int i = list.find(blockIdx.x);                                                                                        \
    decodeProblem<T, D, CAPPED, false>(list.problem[i], blockIdx.x - static_cast<int>(list.first[i]), {partialOut, partialLSE});\
  }
#define DECODE_LONG_KERNEL(T, NAME, D)                                                                                          \
  extern "C" __global__ void __launch_bounds__(DecodeShape<D, true>::threads, 1) attention_decode_long_##NAME##_hd##D(          \
      const __grid_constant__ DecodeProblem<T> problem, float* partialOut, float* partialLSE) {                                 \
    decodeProblem<T, D, false, true>(problem, blockIdx.x, {partialOut, partialLSE});                                            \
  }

#define COMBINE_ROWS_KERNEL(T, NAME)                                                                                            \
  extern "C" __global__ void __launch_bounds__(32) attention_combine_rows_##NAME(                                               \
      const __grid_constant__ DecodeProblem<T> problem, float* partialOut, float* partialLSE) {                                 \
    admitNext();                                                                                                                \
    const AttentionArgs<T> a = problem.args<false>();                                                                           \
    const int packed = a.rows * a.group, row = blockIdx.x;                                                                      \
    combineRow<T>(a, problem.part({partialOut, partialLSE}, 128), row / packed, row % packed, static_cast<int>(problem.splits)); \
  }

#define ATTENTION_COMBINE(T, NAME)                                                                                              \
  extern "C" __global__ void __launch_bounds__(combineThreads, 3) attention_combine_##NAME(                                     \
      const __grid_constant__ DecodeProblem<T> problem, float* partialOut, float* partialLSE, i64 headDim) {                    \
    admitNext();                                                                                                                \
    combineProblem(problem, blockIdx.x, {partialOut, partialLSE}, static_cast<int>(headDim));                                   \
  }                                                                                                                             \
  extern "C" __global__ void __launch_bounds__(combineThreads, 3) attention_combine_list_##NAME(                                \
      const __grid_constant__ DecodeList<T> list, float* partialOut, float* partialLSE, i64 headDim) {                          \
    admitNext();                                                                                                                \
    const int i = list.find(blockIdx.x);                                                                                        \
    combineProblem(list.problem[i], blockIdx.x - static_cast<int>(list.first[i]), {partialOut, partialLSE},                     \
                   static_cast<int>(headDim));                                                                                  \
  }
#define ATTENTION_DECODE(T, NAME, D)     \
  DECODE_KERNEL(T, NAME, D, , false)     \
  DECODE_KERNEL(T, NAME, D, _capped, true)
#define ATTENTION_DECODES(T, NAME) \
  ATTENTION_COMBINE(T, NAME)       \
  COMBINE_ROWS_KERNEL(T, NAME)     \
  ATTENTION_DECODE(T, NAME, 64)    \
  ATTENTION_DECODE(T, NAME, 96)    \
  ATTENTION_DECODE(T, NAME, 128)   \
  ATTENTION_DECODE(T, NAME, 256)   \
  DECODE_LONG_KERNEL(T, NAME, 128)
