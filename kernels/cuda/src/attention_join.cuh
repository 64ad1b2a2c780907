// How the parts of decode attention's softmax come together: those of a block's
// warps and then, in a kernel of its own, those of the blocks that divide the
// keys of the same rows between them. Each is summed in one order.
#pragma once

#include "attention.cuh"

// WarpParts is what the warps of a block leave in shared memory, 16 rows each.
template <int D, int Threads> struct WarpParts {
  static constexpr int warps = Threads / 32;
  float outs[warps * 16][D + 8]; // 8 apart, so that a warp's rows lie in different banks
  float tops[warps * 16], sums[warps * 16];
  float shares[warps * 16]; // what each counts for, once that is known
  float lses[warps * 16];   // of the rows, over the block's keys
  float old[warps * 16];    // of the rows, what they are merged into
};

// Workspace is device memory for results of splits.
struct Workspace {
  float *out, *lse; // [kvHeads * rows * group, splits, D] and the same without D
};

__device__ __forceinline__ void addShare(float4& sum, float w, const float4& v) {
  sum.x += w * v.x;
  sum.y += w * v.y;
  sum.z += w * v.z;
  sum.w += w * v.w;
}
// shareBeside is what a part counts for whose largest log-sum-exp is top, beside another that is no less.
__device__ __forceinline__ float shareBeside(float top, float beside) { return top == minusInfinity() ? 0.f : expf(top - beside); }

// Join has what a block knows of its place: `here` packed rows from m0 on of a KV head, and a split of their keys.
template <typename T, int D, int Threads> struct Join {
  using Parts = WarpParts<D, Threads>;
  static constexpr int warps = Parts::warps, lanes = D / 4; // channels go by fours

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
  __device__ __forceinline__ bool merges() const { return splits == 1 && a.flags & mergeFlag; }

  // run joins the warps that share rows, rowWarps apart. The result is the problem's if there is one split, else one of
  // those that Combine joins.
  __device__ __forceinline__ void run(Parts& parts, int rowWarps) const {
    weigh(parts, rowWarps);
    __syncthreads();
#pragma unroll 2
    for (int at = threadIdx.x; at < here * lanes; at += Threads) {
      const int row = at / lanes, lane = at % lanes;
      float4 value = make_float4(0, 0, 0, 0);
#pragma unroll
      for (int w = 0; w < warps; w++) {
        if (w % rowWarps != row / 16) continue;
        const int r = w * 16 + row % 16;
        addShare(value, parts.shares[r], reinterpret_cast<const float4*>(parts.outs[r])[lane]);
      }
      leave(parts, row, lane, value, parts.lses[row]);
    }
  }

  // weigh finds what each warp's part of a row counts for, and the row's log-sum-exp.
  __device__ __forceinline__ void weigh(Parts& parts, int rowWarps) const {
    const int row = threadIdx.x;
    if (row >= here) return;
    if (merges()) parts.old[row] = *lseOf(row); // by all, before one replaces it
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
    parts.lses[row] = total > 0 ? best * a.unit() + logf(total) : minusInfinity();
    const float inverse = total > 0 ? 1 / total : 0;
#pragma unroll 1
    for (int w = row / 16; w < warps; w += rowWarps) parts.shares[w * 16 + row % 16] *= inverse;
  }

  // leave writes four channels of a row's result, and with the first of them its log-sum-exp.
  __device__ __forceinline__ void leave(const Parts& parts, int row, int lane, const float4& value, float lse) const {
    if (splits > 1) {
      const i64 at = result(row) + split;
      __stcg(reinterpret_cast<float4*>(work.out + at * D) + lane, value);
      if (lane == 0) __stcg(work.lse + at, lse);
      return;
    }
    Joined joined = {lse, 0, 1};
    if (merges()) joined = join(parts.old[row], lse);
    if (lane == 0) *lseOf(row) = joined.lse;
    const i64 to = outOf(row) + lane * 4;
    storePair<T>(a.out, to, make_float2(value.x, value.y), joined.first, joined.second, a.flags);
    storePair<T>(a.out, to + 2, make_float2(value.z, value.w), joined.first, joined.second, a.flags);
  }
};

constexpr int combineThreads = 256; // at most

// Combine joins the splits' results of one row. Groups of threads, of 4 channels each, share out the splits: the more threads,
// the sooner a row is joined; with 128 a block fits beside those of the decode kernel that it waits for.
template <typename T> struct Combine {
  static constexpr int ahead = 8; // results on the way to a thread

  // Each group's largest log-sum-exp, the sum of its weights beside that, and the sum of its results by these.
  float4 sums[combineThreads];
  float tops[combineThreads], totals[combineThreads];

  // run joins row m, of rows * group, of a KV head.
  __device__ __forceinline__ void run(const AttentionArgs<T>& a, const Workspace& work, i64 kvHead, int m, int splits, int headDim) {
    const int lanes = headDim / 4, groups = static_cast<int>(blockDim.x) / lanes, group = threadIdx.x / lanes, lane = threadIdx.x % lanes;
    const i64 first = (kvHead * a.rows * a.group + m) * splits, head = kvHead * a.group + m % a.group;
    const int row = m / a.group;
    float* const lse = a.lse + head * a.lseStride + row;
    awaitEarlier();
    const float old = a.flags & mergeFlag ? *lse : minusInfinity(); // read by all before one thread replaces it
    float top = minusInfinity(), total = 0;
    float4 sum = make_float4(0, 0, 0, 0);
    if (group < groups) {
      const float4* const from = reinterpret_cast<const float4*>(work.out) + first * lanes + lane;
#pragma unroll 1
      for (int s0 = group; s0 < splits; s0 += ahead * groups) {
        float lse[ahead], most = top;
        float4 v[ahead];
#pragma unroll
        for (int i = 0; i < ahead; i++) {
          const int s = s0 + i * groups;
          lse[i] = s < splits ? __ldcg(work.lse + first + s) : minusInfinity();
          v[i] = s < splits ? __ldcg(from + static_cast<i64>(s) * lanes) : make_float4(0, 0, 0, 0);
        }
#pragma unroll
        for (int i = 0; i < ahead; i++) most = fmaxf(most, lse[i]);
        const float before = shareBeside(top, most);
        top = most;
        total *= before;
        sum = make_float4(sum.x * before, sum.y * before, sum.z * before, sum.w * before);
#pragma unroll
        for (int i = 0; i < ahead; i++) {
          const float w = shareBeside(lse[i], top);
          total += w;
          addShare(sum, w, v[i]);
        }
      }
      sums[threadIdx.x] = sum;
      if (lane == 0) {
        tops[group] = top;
        totals[group] = total;
      }
    }
    __syncthreads();
    if (threadIdx.x >= lanes) return;
    top = minusInfinity();
    for (int g = 0; g < groups; g++) top = fmaxf(top, tops[g]);
    total = 0;
    sum = make_float4(0, 0, 0, 0);
    for (int g = 0; g < groups; g++) {
      const float w = shareBeside(tops[g], top);
      total += w * totals[g];
      addShare(sum, w, sums[g * lanes + lane]);
    }
    Joined joined = {total > 0 ? top + logf(total) : minusInfinity(), 0, 1};
    if (a.flags & mergeFlag) joined = join(old, joined.lse);
    if (lane == 0) *lse = joined.lse;
    const i64 to = row * a.outStride + head * headDim + lane * 4;
    const float weight = total > 0 ? joined.second / total : 0;
    storePair<T>(a.out, to, make_float2(sum.x, sum.y), joined.first, weight, a.flags);
    storePair<T>(a.out, to + 2, make_float2(sum.z, sum.w), joined.first, weight, a.flags);
  }
};

// combineRow joins the results of up to 16 splits of a row by a warp, for a head_dim of 128: 4 channels a lane, all results
// on their way together.
template <typename T>
__device__ __forceinline__ void combineRow(const AttentionArgs<T>& a, const Workspace& work, i64 kvHead, int m, int splits) {
  constexpr int D = 128, most = 16;
  const int lane = threadIdx.x % 32, row = m / a.group;
  const i64 first = (kvHead * a.rows * a.group + m) * splits, head = kvHead * a.group + m % a.group;
  float* const lse = a.lse + head * a.lseStride + row;
  const float4* const from = reinterpret_cast<const float4*>(work.out) + first * 32 + lane;
  awaitEarlier();
  const float old = a.flags & mergeFlag ? *lse : minusInfinity();
  const float mine = lane < splits ? __ldcg(work.lse + first + lane) : minusInfinity();
  float4 v[most];
#pragma unroll
  for (int i = 0; i < most; i++) v[i] = i < splits ? __ldcg(from + i * 32) : make_float4(0, 0, 0, 0);
  float top = mine;
#pragma unroll
  for (int d = 16; d > 0; d >>= 1) top = fmaxf(top, __shfl_xor_sync(wholeWarp, top, d));
  const float weight = shareBeside(mine, top), total = warpSum(weight);
  float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
  for (int i = 0; i < most; i++) addShare(sum, __shfl_sync(wholeWarp, weight, i), v[i]);
  Joined joined = {total > 0 ? top + logf(total) : minusInfinity(), 0, 1};
  if (a.flags & mergeFlag) joined = join(old, joined.lse);
  __syncwarp(); // old has been read by all
  if (lane == 0) *lse = joined.lse;
  const i64 to = row * a.outStride + head * D + lane * 4;
  const float w = total > 0 ? joined.second / total : 0;
  storePair<T>(a.out, to, make_float2(sum.x, sum.y), joined.first, w, a.flags);
  storePair<T>(a.out, to + 2, make_float2(sum.z, sum.w), joined.first, w, a.flags);
}
