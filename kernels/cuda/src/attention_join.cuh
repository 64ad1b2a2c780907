// How the parts of decode attention's softmax come together: those of a block's
// warps, and those of the blocks that divide the keys of the same rows between
// them. Each is summed in one order, whichever block is the last to arrive.
#pragma once

#include "attention.cuh"

constexpr int decodeThreads = 128;
constexpr i64 apartFlag = 8;

// WarpParts is what the warps of a block leave in shared memory, 16 rows each.
template <int D> struct WarpParts {
  static constexpr int warps = decodeThreads / 32;
  float outs[warps * 16][D], tops[warps * 16], sums[warps * 16];
  float shares[warps * 16]; // what each counts for, once that is known
  float old[warps * 16];    // what a row's old result counts for
};

// Workspace is device memory for blocks' results, and to count those that have arrived; all counters are 0 between launches.
struct Workspace {
  float *out, *lse; // [kvHeads * rows * group, splits, D] and the same without D
  unsigned* counters;
};

// Join has what a block knows of its place: `here` packed rows from m0 on of a KV head, and a split of their keys.
template <typename T, int D> struct Join {
  static constexpr int warps = decodeThreads / 32;

  const AttentionArgs<T>& a;
  const Workspace& work;
  i64 kvHead;
  int m0, here, split, splits;

  // result is where the first split's result of a row of the block lies.
  __device__ __forceinline__ i64 result(int row) const { return (kvHead * a.rows * a.group + m0 + row) * splits; }
  __device__ __forceinline__ float* lseOf(int row) const {
    const int m = m0 + row;
    return a.lse + (kvHead * a.group + m % a.group) * a.lseStride + m / a.group;
  }
  __device__ __forceinline__ i64 outOf(int row) const {
    const int m = m0 + row;
    return m / a.group * a.outStride + (kvHead * a.group + m % a.group) * D;
  }

  // run joins the warps that share rows, rowWarps apart. The result is the problem's if there is one split, else the
  // last block of a unit, the splits of the same rows, joins it with the others.
  __device__ __forceinline__ void run(WarpParts<D>& parts, int rowWarps, int unit) const {
    weigh(parts, rowWarps);
    __syncthreads();
#pragma unroll 1
    for (int at = threadIdx.x; at < here * (D / 2); at += decodeThreads) {
      const int row = at / (D / 2), d = at % (D / 2) * 2;
      float2 value = make_float2(0, 0);
#pragma unroll 1
      for (int w = row / 16; w < warps; w += rowWarps) {
        const int r = w * 16 + row % 16;
        const float share = parts.shares[r];
        const float2 part = *reinterpret_cast<const float2*>(&parts.outs[r][d]);
        value = make_float2(value.x + share * part.x, value.y + share * part.y);
      }
      if (splits > 1) {
        __stcg(reinterpret_cast<float2*>(work.out + (result(row) + split) * D + d), value);
      } else {
        storePair<T>(a.out, outOf(row) + d, value, parts.old[row], 1, a.flags);
      }
    }
    if (splits > 1 && last(work.counters + unit)) joinSplits(reinterpret_cast<float*>(&parts));
  }

  // weigh finds what each warp's part of a row counts for, and the row's log-sum-exp.
  __device__ __forceinline__ void weigh(WarpParts<D>& parts, int rowWarps) const {
    const int row = threadIdx.x;
    if (row >= here) return;
    float best = minusInfinity(), total = 0;
#pragma unroll 1
    for (int w = row / 16; w < warps; w += rowWarps) best = fmaxf(best, parts.tops[w * 16 + row % 16]);
#pragma unroll 1
    for (int w = row / 16; w < warps; w += rowWarps) {
      const int r = w * 16 + row % 16;
      const float share = parts.tops[r] == minusInfinity() ? 0 : exp2f((parts.tops[r] - best) * a.unit() * log2e);
      parts.shares[r] = share;
      total += share * parts.sums[r];
    }
    const float lse = total > 0 ? best * a.unit() + logf(total) : minusInfinity();
    Joined joined = {lse, 0, 1};
    if (splits > 1) {
      __stcg(work.lse + result(row) + split, lse);
    } else {
      float* const old = lseOf(row);
      if (a.flags & mergeFlag) joined = join(*old, lse);
      *old = joined.lse;
      parts.old[row] = joined.first;
    }
    const float inverse = total > 0 ? joined.second / total : 0;
#pragma unroll 1
    for (int w = row / 16; w < warps; w += rowWarps) parts.shares[w * 16 + row % 16] *= inverse;
  }

  // last says whether this block is the last of its unit to arrive; the results of all are there to be read then.
  __device__ __forceinline__ bool last(unsigned* counter) const {
    __shared__ bool isLast;
    __threadfence(); // what this thread has written is there before its block counts as arrived
    __syncthreads();
    if (threadIdx.x == 0) {
      isLast = atomicAdd(counter, 1u) == splits - 1u;
      if (isLast) *counter = 0; // as it was before the launch
    }
    __syncthreads();
    if (isLast) __threadfence();
    return isLast;
  }

  // joinSplits joins the splits' results. A warp takes a row; where there are fewer rows than warps, several share a
  // row's splits.
  __device__ __forceinline__ void joinSplits(float* shared) const {
    constexpr int lanes = D / 4 < 32 ? D / 4 : 32;         // that hold a row's result, 4 elements each …
    constexpr int columns = D / 4 > 32 ? D / 4 / 32 : 1;   // … or so many times 4
    constexpr int groups = 32 / lanes;                     // splits that a warp reads at once
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / lanes, column = lane % lanes;
    const int together = here >= warps ? warps : here >= 2 ? 2 : 1; // rows at once
    const int shares = warps / together, mine = warp / together;    // warps that share a row
    float4(*sums)[32 * columns] = reinterpret_cast<float4(*)[32 * columns]>(shared); // [warps]
    float* const weights = shared + warps * 128 * columns + warp * splits;
#pragma unroll 1
    for (int row0 = 0; row0 < here; row0 += together) {
      const int row = min(row0 + warp % together, here - 1); // a row too many is computed again, and not stored
      const i64 first = result(row);
      float top = minusInfinity(), total = 0;
#pragma unroll 1
      for (int s = lane; s < splits; s += 32) {
        weights[s] = __ldcg(work.lse + first + s);
        top = fmaxf(top, weights[s]);
      }
#pragma unroll
      for (int d = 16; d > 0; d >>= 1) top = fmaxf(top, __shfl_xor_sync(wholeWarp, top, d));
#pragma unroll 1
      for (int s = lane; s < splits; s += 32) {
        weights[s] = top == minusInfinity() ? 0 : expf(weights[s] - top);
        total += weights[s];
      }
      total = warpSum(total);
      __syncwarp();
      float4 sum[columns];
#pragma unroll
      for (int c = 0; c < columns; c++) sum[c] = make_float4(0, 0, 0, 0);
      if (group < groups) {
        const float4* const from = reinterpret_cast<const float4*>(work.out + first * D) + column;
#pragma unroll(16 / columns)
        for (int s = mine * groups + group; s < splits; s += shares * groups) {
          const float w = weights[s];
#pragma unroll
          for (int c = 0; c < columns; c++) sum[c] = plus(sum[c], w, __ldcg(from + static_cast<i64>(s) * (D / 4) + c * 32));
        }
      }
      if (groups == 2) {
        const float4 other = make_float4(__shfl_xor_sync(wholeWarp, sum[0].x, 16), __shfl_xor_sync(wholeWarp, sum[0].y, 16),
                                         __shfl_xor_sync(wholeWarp, sum[0].z, 16), __shfl_xor_sync(wholeWarp, sum[0].w, 16));
        sum[0] = plus(sum[0], 1, other);
      }
      if (shares > 1) {
#pragma unroll
        for (int c = 0; c < columns; c++) sums[warp][c * 32 + lane] = sum[c];
        __syncthreads();
        for (int w = 1; w < shares; w++) {
#pragma unroll
          for (int c = 0; c < columns; c++) sum[c] = plus(sum[c], 1, sums[(warp + w * together) % warps][c * 32 + lane]);
        }
        __syncthreads(); // the next rows' sums are written to the same place
      }
      if (mine == 0 && row0 + warp % together < here) store(row, top, total, sum, lane < lanes, column);
      __syncwarp();
    }
  }

  __device__ __forceinline__ static float4 plus(float4 sum, float w, float4 v) {
    return make_float4(sum.x + w * v.x, sum.y + w * v.y, sum.z + w * v.z, sum.w + w * v.w);
  }

  // store folds a row, whose columns the lanes hold that are to write them, into the problem's result.
  template <int Columns>
  __device__ __forceinline__ void store(int row, float top, float total, const float4 (&sum)[Columns], bool writes, int column) const {
    float* const old = lseOf(row);
    Joined joined = {total > 0 ? top + logf(total) : minusInfinity(), 0, 1};
    if (a.flags & mergeFlag) joined = ::join(*old, joined.lse);
    __syncwarp(); // all have read the old log-sum-exp
    if (threadIdx.x % 32 == 0) *old = joined.lse;
    if (!writes) return;
    const float share = total > 0 ? joined.second / total : 0;
#pragma unroll
    for (int c = 0; c < Columns; c++) {
      const i64 to = outOf(row) + (c * 32 + column) * 4;
      storePair<T>(a.out, to, make_float2(sum[c].x, sum[c].y), joined.first, share, a.flags);
      storePair<T>(a.out, to + 2, make_float2(sum[c].z, sum[c].w), joined.first, share, a.flags);
    }
  }
};
