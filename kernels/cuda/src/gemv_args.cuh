// What the kernels of linear layers for few rows share: their arguments, which
// columns a block computes, and how its warps' sums become the result.
#pragma once

#include "decode.cuh"
#include "mma.cuh"

constexpr i64 accumulateFlag = 1, floatResultFlag = 2;
constexpr int gemvColumns = 16; // of y, a block; they are of one weight

// GemvWeight is one of the weights of a launch, [out, in]; out is 0 where there is none.
struct GemvWeight {
  const void* w;
  i64 stride;
  int out;
};

// GemvArgs are a block's: its weight, whose results begin at y, and its first column there.
template <typename T> struct GemvArgs {
  void* y;
  i64 yStride;
  const T* x;
  i64 xStride;
  int rows, in, flags;
  GemvWeight weight;
  int column;

  // take chooses the block's weight: each has as many blocks as columns need, and its columns of y follow those of the weights before.
  __device__ __forceinline__ void take(const GemvWeight& first, const GemvWeight& second, const GemvWeight& third) {
    int block = blockIdx.x;
    i64 before = 0;
    weight = first;
    if (block >= blocks(first)) {
      block -= blocks(first);
      before = first.out;
      weight = second;
      if (block >= blocks(second)) {
        block -= blocks(second);
        before += second.out;
        weight = third;
      }
    }
    column = block * gemvColumns;
    y = static_cast<uint8_t*>(y) + before * (flags & floatResultFlag ? sizeof(float) : sizeof(T));
  }
  __device__ __forceinline__ static int blocks(const GemvWeight& w) { return (w.out + gemvColumns - 1) / gemvColumns; }

  // columns is how many the block computes.
  __device__ __forceinline__ int columns() const { return min(gemvColumns, weight.out - column); }

  __device__ __forceinline__ void store(int row, int i, float value) const {
    const i64 at = row * yStride + column + i;
    if (flags & floatResultFlag) {
      float* p = static_cast<float*>(y) + at;
      *p = flags & accumulateFlag ? *p + value : value;
    } else {
      T* p = static_cast<T*>(y) + at;
      *p = fromFloat<T>(flags & accumulateFlag ? toFloat(*p) + value : value);
    }
  }
};

template <int Warps, int Tiles> struct GemvSums {
  float at[Warps][8 * Tiles][gemvColumns + 1];
};

// addWarps adds the warps' sums, each c[tile][4] of a lane in the order of an mma's result, and stores them.
template <int Warps, int Tiles, typename T>
__device__ __forceinline__ void addWarps(const GemvArgs<T>& a, const float (&c)[Tiles][4], GemvSums<Warps, Tiles>& sums) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, p = lane % 4;
#pragma unroll
  for (int t = 0; t < Tiles; t++) {
#pragma unroll
    for (int i = 0; i < 4; i++) sums.at[warp][t * 8 + 2 * p + (i & 1)][g + 8 * (i >> 1)] = c[t][i];
  }
  __syncthreads();
  const int i = threadIdx.x % gemvColumns;
  for (int row = threadIdx.x / gemvColumns; row < a.rows; row += Warps * 32 / gemvColumns) {
    if (i >= a.columns()) return;
    float total = 0;
#pragma unroll
    for (int k = 0; k < Warps; k++) total += sums.at[k][row][i];
    a.store(row, i, total);
  }
}
