// Linear layers for 1 to 16 rows: y = x·wᵀ at the speed at which w can be read.
//
// A block computes 16 columns of y. Its 8 warps share out the inputs and add up
// at the end. The products are made by tensor cores with w as the left operand
// (mma.m16n8k16, rows of x as its columns): they cost nothing beside the loads,
// so 1 row and 8 rows take the same time. As the order of a sum is free, the
// inputs are given to the lanes so that each reads 16 bytes of w in one go.
#pragma once

#include "mma.cuh"
#include "quant.cuh"

constexpr i64 accumulateFlag = 1, floatResultFlag = 2;

struct GemvShape {
  static constexpr int threads = 256, warps = threads / 32, columns = 16;
  static constexpr int unrolled = 4; // steps of 32 inputs whose loads are under way together
};

template <typename T> struct GemvArgs {
  void* y;
  i64 yStride;
  const T* x;
  i64 xStride;
  const void* w;
  i64 wStride;
  int rows, in, out, flags;

  __device__ __forceinline__ void store(int row, int column, float value) const {
    const i64 at = row * yStride + column;
    if (flags & floatResultFlag) {
      float* p = static_cast<float*>(y) + at;
      *p = flags & accumulateFlag ? *p + value : value;
    } else {
      T* p = static_cast<T*>(y) + at;
      *p = fromFloat<T>(flags & accumulateFlag ? toFloat(*p) + value : value);
    }
  }
};

// addWarps adds the warps' sums, each c[tile][4] of a lane in the order of an mma's result, and stores them.
template <typename T, int Tiles> __device__ __forceinline__ void addWarps(const GemvArgs<T>& a, const float (&c)[Tiles][4]) {
  __shared__ float sums[GemvShape::warps][8 * Tiles][GemvShape::columns + 1];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, p = lane % 4;
#pragma unroll
  for (int t = 0; t < Tiles; t++) {
#pragma unroll
    for (int i = 0; i < 4; i++) sums[warp][t * 8 + 2 * p + (i & 1)][g + 8 * (i >> 1)] = c[t][i];
  }
  __syncthreads();
  const int row = threadIdx.x / GemvShape::columns, i = threadIdx.x % GemvShape::columns;
  const int column = blockIdx.x * GemvShape::columns + i;
  if (row >= a.rows || column >= a.out) return;
  float total = 0;
#pragma unroll
  for (int k = 0; k < GemvShape::warps; k++) total += sums[k][row][i];
  a.store(row, column, total);
}

// gemvPlain multiplies weights of the activations' own type.
template <typename T, int Tiles> __device__ __forceinline__ void gemvPlain(const GemvArgs<T>& a) {
  constexpr int U = GemvShape::unrolled;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, p = lane % 4;
  const int column = blockIdx.x * GemvShape::columns + g;
  const uint4 zero = make_uint4(0, 0, 0, 0);
  const T* w[2];
#pragma unroll
  for (int i = 0; i < 2; i++) w[i] = static_cast<const T*>(a.w) + min(column + 8 * i, a.out - 1) * a.wStride;
  const T* x[Tiles];
#pragma unroll
  for (int t = 0; t < Tiles; t++) x[t] = a.x + min(g + 8 * t, a.rows - 1) * a.xStride;
  float c[Tiles][4] = {};
  for (int step = warp * U; step * 32 < a.in; step += GemvShape::warps * U) {
    uint4 wv[U][2], xv[U][Tiles];
#pragma unroll
    for (int u = 0; u < U; u++) {
      const int k = (step + u) * 32 + p * 8;
#pragma unroll
      for (int i = 0; i < 2; i++) wv[u][i] = k < a.in ? __ldcs(reinterpret_cast<const uint4*>(w[i] + k)) : zero;
    }
#pragma unroll
    for (int u = 0; u < U; u++) {
      const int k = (step + u) * 32 + p * 8;
#pragma unroll
      for (int t = 0; t < Tiles; t++) {
        xv[u][t] = k < a.in && g + 8 * t < a.rows ? *reinterpret_cast<const uint4*>(x[t] + k) : zero;
      }
    }
#pragma unroll
    for (int u = 0; u < U; u++) {
      const uint32_t first[4] = {wv[u][0].x, wv[u][1].x, wv[u][0].y, wv[u][1].y};
      const uint32_t second[4] = {wv[u][0].z, wv[u][1].z, wv[u][0].w, wv[u][1].w};
#pragma unroll
      for (int t = 0; t < Tiles; t++) {
        mma<T>(c[t], first, xv[u][t].x, xv[u][t].y);
        mma<T>(c[t], second, xv[u][t].z, xv[u][t].w);
      }
    }
  }
  addWarps<T, Tiles>(a, c);
}

__device__ __forceinline__ uint32_t addPairs(uint32_t v, float by, bf16) {
  const __nv_bfloat162 r = __hfma2(*reinterpret_cast<const __nv_bfloat162*>(&v), __float2bfloat162_rn(1), __float2bfloat162_rn(by));
  return *reinterpret_cast<const uint32_t*>(&r);
}
__device__ __forceinline__ uint32_t addPairs(uint32_t v, float by, f16) {
  const __half2 r = __hadd2(*reinterpret_cast<const __half2*>(&v), __float2half2_rn(by));
  return *reinterpret_cast<const uint32_t*>(&r);
}

// bytePairs turns 4 unsigned bytes, less Offset, into two packed pairs,
// exactly: a byte placed in the mantissa of a power of two counts in ones.
// bf16 has room for 7 bits so; full bytes go by way of f32.
template <typename T, int Offset> __device__ __forceinline__ void bytePairs(uint32_t bytes, uint32_t& first, uint32_t& second) {
  if constexpr (sizeof(T) == sizeof(f16) && !__is_same(T, bf16)) {
    first = addPairs(__byte_perm(bytes, 0x64646464u, 0x4140), -1024.f - Offset, T());
    second = addPairs(__byte_perm(bytes, 0x64646464u, 0x4342), -1024.f - Offset, T());
  } else if constexpr (Offset <= 16) {
    first = addPairs(__byte_perm(bytes, 0x43434343u, 0x4140), -128.f - Offset, T());
    second = addPairs(__byte_perm(bytes, 0x43434343u, 0x4342), -128.f - Offset, T());
  } else {
    constexpr float base = 8388608.f + Offset;
    first = pack2<T>(__uint_as_float(__byte_perm(bytes, 0x4b000000u, 0x7440)) - base,
                     __uint_as_float(__byte_perm(bytes, 0x4b000000u, 0x7441)) - base);
    second = pack2<T>(__uint_as_float(__byte_perm(bytes, 0x4b000000u, 0x7442)) - base,
                      __uint_as_float(__byte_perm(bytes, 0x4b000000u, 0x7443)) - base);
  }
}

// fourOf reads 4 activations as two packed pairs.
template <typename T> __device__ __forceinline__ uint2 fourOf(const T* x, bool aligned) {
  if (aligned) return *reinterpret_cast<const uint2*>(x);
  const uint16_t* h = reinterpret_cast<const uint16_t*>(x);
  return make_uint2(h[0] | static_cast<uint32_t>(h[1]) << 16, h[2] | static_cast<uint32_t>(h[3]) << 16);
}

// gemvQuantised multiplies the integers of a block as they are, and scales the
// block's sums in f32. The minimum counts as often as the inputs add up to,
// which a product with ones finds.
template <typename T, typename W, int Tiles> __device__ __forceinline__ void gemvQuantised(const GemvArgs<T>& a) {
  constexpr int U = GemvShape::unrolled;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, p = lane % 4;
  const int column = blockIdx.x * GemvShape::columns + g, blocks = a.in / blockElements;
  const bool aligned = (reinterpret_cast<uintptr_t>(a.x) & 7) == 0 && (a.xStride & 3) == 0;
  const uint8_t* w[2];
#pragma unroll
  for (int i = 0; i < 2; i++) w[i] = static_cast<const uint8_t*>(rowAt<W>(a.w, min(column + 8 * i, a.out - 1), a.wStride));
  const T* x[Tiles];
#pragma unroll
  for (int t = 0; t < Tiles; t++) x[t] = a.x + min(g + 8 * t, a.rows - 1) * a.xStride;
  const uint32_t one = pack2<T>(1, 1), ones[4] = {one, one, one, one};
  float c[Tiles][4] = {};
  for (int step = warp * U; step < blocks; step += GemvShape::warps * U) {
    typename W::Raw raw[U][2];
#pragma unroll
    for (int u = 0; u < U; u++) {
      const int block = min(step + u, blocks - 1);
#pragma unroll
      for (int i = 0; i < 2; i++) raw[u][i] = W::load(w[i] + block * W::bytes, p);
    }
#pragma unroll
    for (int u = 0; u < U; u++) {
      if (step + u >= blocks) break;
      const Quarter top = W::decode(raw[u][0], p), bottom = W::decode(raw[u][1], p);
      uint32_t first[4], second[4];
      bytePairs<T, W::offset>(top.lo, first[0], first[2]);
      bytePairs<T, W::offset>(bottom.lo, first[1], first[3]);
      bytePairs<T, W::offset>(top.hi, second[0], second[2]);
      bytePairs<T, W::offset>(bottom.hi, second[1], second[3]);
#pragma unroll
      for (int t = 0; t < Tiles; t++) {
        uint2 x1 = make_uint2(0, 0), x2 = x1;
        if (g + 8 * t < a.rows) {
          const T* at = x[t] + (step + u) * blockElements + 4 * p;
          x1 = fourOf(at, aligned);
          x2 = fourOf(at + 16, aligned);
        }
        float sum[4] = {};
        mma<T>(sum, first, x1.x, x1.y);
        mma<T>(sum, second, x2.x, x2.y);
        c[t][0] += top.scale * sum[0];
        c[t][1] += top.scale * sum[1];
        c[t][2] += bottom.scale * sum[2];
        c[t][3] += bottom.scale * sum[3];
        if constexpr (W::hasMinimum) {
          float inputs[4] = {};
          mma<T>(inputs, ones, x1.x, x1.y);
          mma<T>(inputs, ones, x2.x, x2.y);
          c[t][0] += top.minimum * inputs[0];
          c[t][1] += top.minimum * inputs[1];
          c[t][2] += bottom.minimum * inputs[2];
          c[t][3] += bottom.minimum * inputs[3];
        }
      }
    }
  }
  addWarps<T, Tiles>(a, c);
}

// gemvAny takes any plain type and alignment, an element at a time in f32.
template <typename T, typename W> __device__ __forceinline__ void gemvAny(const GemvArgs<T>& a) {
  constexpr int together = 4;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int i = warp; i < GemvShape::columns; i += GemvShape::warps) {
    const int column = blockIdx.x * GemvShape::columns + i;
    if (column >= a.out) return;
    const W* w = static_cast<const W*>(a.w) + column * a.wStride;
    for (int row = 0; row < a.rows; row += together) {
      float sum[together] = {};
      for (int k = lane; k < a.in; k += 32) {
        const float weight = toFloat(w[k]);
#pragma unroll
        for (int j = 0; j < together; j++) {
          if (row + j < a.rows) sum[j] += weight * toFloat(a.x[(row + j) * a.xStride + k]);
        }
      }
#pragma unroll
      for (int j = 0; j < together; j++) {
        sum[j] = warpSum(sum[j]);
        if (lane == 0 && row + j < a.rows) a.store(row + j, column, sum[j]);
      }
    }
  }
}

template <typename T, typename W> __device__ __forceinline__ void gemv(const GemvArgs<T>& a) {
  if constexpr (isQuantised<W>::value) {
    a.rows <= 8 ? gemvQuantised<T, W, 1>(a) : gemvQuantised<T, W, 2>(a);
  } else if constexpr (__is_same(T, W)) {
    if (!vectors16(a.x, a.xStride, a.in) || !vectors16(a.w, a.wStride, a.in)) {
      gemvAny<T, W>(a);
    } else {
      a.rows <= 8 ? gemvPlain<T, 1>(a) : gemvPlain<T, 2>(a);
    }
  } else {
    gemvAny<T, W>(a);
  }
}

#define GEMV(T, NAME, W, WNAME)                                                                                              \
  extern "C" __global__ void __launch_bounds__(GemvShape::threads)                                                           \
      gemv_##NAME##_##WNAME(void* y, i64 yStride, const T* x, i64 xStride, const void* w, i64 wStride, i64 rows, i64 in,     \
                            i64 out, i64 flags) {                                                                            \
    gemv<T, W>(GemvArgs<T>{y, yStride, x, xStride, w, wStride, static_cast<int>(rows), static_cast<int>(in),                 \
                           static_cast<int>(out), static_cast<int>(flags)});                                                 \
  }
