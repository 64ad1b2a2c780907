// Linear layers for 1 to 16 rows, of up to three weights that share their
// inputs. README.md has the arguments.
#pragma once

#include "gemv_plain.cuh"
#include "gemv_quant.cuh"

// gemvAny takes any type and alignment, an element at a time in f32.
template <typename T, typename W> __device__ __forceinline__ void gemvAny(const GemvArgs<T>& a) {
  constexpr int together = 4;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  awaitEarlier();
#pragma unroll 1
  for (int i = warp; i < a.columns(); i += warps) {
    const void* w = rowAt<W>(a.weight.w, a.column + i, a.weight.stride);
#pragma unroll 1
    for (int row = 0; row < a.rows; row += together) {
      float sum[together] = {};
#pragma unroll 1
      for (int k = lane; k < a.in; k += 32) {
        const float weight = weightAt<T, W>(w, k);
#pragma unroll
        for (int j = 0; j < together; j++) {
          if (row + j < a.rows) sum[j] += weight * toFloat(a.x[(row + j) * a.xStride + k]);
        }
      }
      float mine = 0; // lane j's is of row j
#pragma unroll
      for (int j = 0; j < together; j++) {
        const float total = warpSum(sum[j]);
        if (lane == j) mine = total;
      }
      if (lane < together && row + lane < a.rows) a.store(row + lane, i, mine);
    }
  }
}

// GemvShape is how a kernel is launched, and whether W's numbers are ones that gemvPlain multiplies without loss.
template <typename T, typename W> struct GemvShape {
  static constexpr bool quantised = isQuantised<W>::value, plain = !quantised && (__is_same(T, W) || __is_same(T, bf16));
  static constexpr int threads = quantised ? GemvQuantised::threads : GemvPlain::threads;
  static constexpr int resident = quantised ? GemvQuantised::resident : GemvPlain::resident;
};

template <typename T, typename W> __device__ __forceinline__ void gemv(const GemvArgs<T>& a) {
  extern __shared__ __align__(16) uint8_t shared[];
  if constexpr (isQuantised<W>::value) {
    if ((reinterpret_cast<uintptr_t>(a.x) & 7) == 0 && (a.xStride & 3) == 0) {
      if (a.rows == 1) {
        gemvQuantised<T, W, 1, true>(a, shared);
      } else {
        a.rows <= 8 ? gemvQuantised<T, W, 1, false>(a, shared) : gemvQuantised<T, W, 2, false>(a, shared);
      }
      return;
    }
  } else if constexpr (GemvShape<T, W>::plain) {
    if (vectors16(a.x, a.xStride, a.in) && vectors16(a.weight.w, a.weight.stride, a.in)) {
      a.rows <= 8 ? gemvPlain<T, W, 1>(a, shared) : gemvPlain<T, W, 2>(a, shared);
      return;
    }
  }
  gemvAny<T, W>(a);
}

#define GEMV(T, NAME, W, WNAME)                                                                                            \
  extern "C" __global__ void __launch_bounds__(GemvShape<T, W>::threads, GemvShape<T, W>::resident)                        \
      gemv_##NAME##_##WNAME(void* y, i64 yStride, const T* x, i64 xStride, i64 rows, i64 in, i64 flags, const void* w1,    \
                            i64 stride1, i64 out1, const void* w2, i64 stride2, i64 out2, const void* w3, i64 stride3,     \
                            i64 out3) {                                                                                    \
    admitNext();                                                                                                           \
    GemvArgs<T> a{y, yStride, x, xStride, static_cast<int>(rows), static_cast<int>(in), static_cast<int>(flags), {}, 0};   \
    a.take({w1, stride1, static_cast<int>(out1)}, {w2, stride2, static_cast<int>(out2)},                                   \
           {w3, stride3, static_cast<int>(out3)});                                                                         \
    gemv<T, W>(a);                                                                                                         \
  }
