// How the parts of decode attention's softmax come together: those of a block's
// warps and then, in a kernel of its own, those of the blocks that divide the
// keys of the same rows between them. Each is summed in one order.
#pragma once

#include "attention.cuh"

constexpr int decodeThreads = 128;

// WarpParts is what the warps of a block leave in shared memory, 16 rows each.
template <int D> struct WarpParts {
  static constexpr int warps = decodeThreads / 32;
  float outs[warps * 16][D], tops[warps * 16], sums[warps * 16];
  float shares[warps * 16]; // what each counts for, once that is known
  float old[warps * 16];    // what a row's old result counts for
};

// Workspace is device memory for blocks' results.
struct Workspace {
  float *out, *lse; // [kvHeads * rows * group, splits, D] and the same without D
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

  // run joins the warps that share rows, rowWarps apart. The result is the problem's if there is one split, else one of
  // those that Combine joins.
  __device__ __forceinline__ void run(WarpParts<D>& parts, int rowWarps) const {
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
};

constexpr int combineThreads = 256; // at most

// Combine joins the splits' results of one row. Groups of threads, of 4 channels each, share out the splits: the more threads,
// the sooner a row is joined; with 128 a block fits beside those of the decode kernel that it waits for.
template <typename T> struct Combine {
  static constexpr int ahead = 8; // results on the way to a thread

  // Each group's largest log-sum-exp, the sum of its weights beside that, and the sum of its results by these.
  float4 sums[combineThreads];
  float tops[combineThreads], totals[combineThreads];

  __device__ __forceinline__ static void add(float4& sum, float w, const float4& v) {
    sum.x += w * v.x;
    sum.y += w * v.y;
    sum.z += w * v.z;
    sum.w += w * v.w;
  }
  // share is what a part counts for whose largest log-sum-exp is top, beside another that is no less.
  __device__ __forceinline__ static float share(float top, float beside) { return top == minusInfinity() ? 0.f : expf(top - beside); }

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
        const float before = share(top, most);
        top = most;
        total *= before;
        sum = make_float4(sum.x * before, sum.y * before, sum.z * before, sum.w * before);
#pragma unroll
        for (int i = 0; i < ahead; i++) {
          const float w = share(lse[i], top);
          total += w;
          add(sum, w, v[i]);
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
      const float w = share(tops[g], top);
      total += w * totals[g];
      add(sum, w, sums[g * lanes + lane]);
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
