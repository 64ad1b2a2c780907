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
  // resident is how many blocks are to fit on a multiprocessor; decoding blocks takes more registers.
  template <typename W> static constexpr int resident() { return isQuantised<W>::value ? 3 : 4; }
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

template <int Tiles> struct Sums {
  float at[GemvShape::warps][8 * Tiles][GemvShape::columns + 1];
};

// addWarps adds the warps' sums, each c[tile][4] of a lane in the order of an mma's result, and stores them.
template <typename T, int Tiles> __device__ __forceinline__ void addWarps(const GemvArgs<T>& a, const float (&c)[Tiles][4], Sums<Tiles>& sums) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, p = lane % 4;
#pragma unroll
  for (int t = 0; t < Tiles; t++) {
#pragma unroll
    for (int i = 0; i < 4; i++) sums.at[warp][t * 8 + 2 * p + (i & 1)][g + 8 * (i >> 1)] = c[t][i];
  }
  __syncthreads();
  const int row = threadIdx.x / GemvShape::columns, i = threadIdx.x % GemvShape::columns;
  const int column = blockIdx.x * GemvShape::columns + i;
  if (row >= a.rows || column >= a.out) return;
  float total = 0;
#pragma unroll
  for (int k = 0; k < GemvShape::warps; k++) total += sums.at[k][row][i];
  a.store(row, column, total);
}

// gemvPlain multiplies weights of the activations' own type.
template <typename T, int Tiles> __device__ __forceinline__ void gemvPlain(const GemvArgs<T>& a, uint8_t* shared) {
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
    uint4 wv[U][2];
#pragma unroll
    for (int u = 0; u < U; u++) {
      const int k = (step + u) * 32 + p * 8;
#pragma unroll
      for (int i = 0; i < 2; i++) wv[u][i] = k < a.in ? __ldcs(reinterpret_cast<const uint4*>(w[i] + k)) : zero;
    }
#pragma unroll
    for (int u = 0; u < U; u++) {
      const int k = (step + u) * 32 + p * 8;
      const uint32_t first[4] = {wv[u][0].x, wv[u][1].x, wv[u][0].y, wv[u][1].y};
      const uint32_t second[4] = {wv[u][0].z, wv[u][1].z, wv[u][0].w, wv[u][1].w};
#pragma unroll
      for (int t = 0; t < Tiles; t++) {
        const uint4 xv = k < a.in && g + 8 * t < a.rows ? *reinterpret_cast<const uint4*>(x[t] + k) : zero;
        mma<T>(c[t], first, xv.x, xv.y);
        mma<T>(c[t], second, xv.z, xv.w);
      }
    }
  }
  addWarps<T, Tiles>(a, c, *reinterpret_cast<Sums<Tiles>*>(shared));
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
  if constexpr (__is_same(T, f16)) {
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

// Stage is a warp's part of shared memory: 8 blocks of each of 16 rows. Blocks
// are aligned to 2 bytes only, but 8 of them are a multiple of 16 bytes, so
// with one 16-byte word more they are copied by whole words wherever they begin.
template <typename W> struct Stage {
  static constexpr int blocks = 8, words = blocks * W::bytes / 16 + 1;
  static constexpr int pitch = (words | 1) * 16; // an odd number of words: 8 rows lie in 8 groups of banks
  static constexpr int bytes = GemvShape::columns * pitch;

  // copy starts copying the blocks from `first` on of a row to its place, and stops at the end of the row.
  __device__ __forceinline__ static void copy(uint32_t shared, const uint8_t* row, int first, int rowBytes, int word) {
    const uint8_t* from = row + first * W::bytes;
    const uint8_t* aligned = from - (reinterpret_cast<uintptr_t>(from) & 15) + word * 16;
    const int left = static_cast<int>(row + rowBytes - aligned);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared + word * 16), "l"(left > 0 ? aligned : row), "r"(max(0, min(16, left)))
                 : "memory");
  }
};

// gemvQuantised multiplies the integers of a block as they are, and scales the
// block's sums in f32. The minimum counts as often as the inputs add up to,
// which a product with ones finds. Each warp brings its own blocks through its
// own part of shared memory; other warps compute meanwhile.
template <typename T, typename W, int Tiles> __device__ __forceinline__ void gemvQuantised(const GemvArgs<T>& a, uint8_t* shared) {
  using S = Stage<W>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, p = lane % 4;
  const int column = blockIdx.x * GemvShape::columns, blocks = a.in / blockElements, rowBytes = blocks * W::bytes;
  const bool aligned = (reinterpret_cast<uintptr_t>(a.x) & 7) == 0 && (a.xStride & 3) == 0;
  uint8_t* const stage = shared + warp * S::bytes;
  const uint32_t stageAddress = static_cast<uint32_t>(__cvta_generic_to_shared(stage));
  const uint8_t* const w = static_cast<const uint8_t*>(a.w);
  const i64 step = a.wStride / blockElements * W::bytes;
  const uint8_t* mine[2]; // the rows that this lane multiplies
#pragma unroll
  for (int i = 0; i < 2; i++) mine[i] = w + min(column + g + 8 * i, a.out - 1) * step;
  const T* x[Tiles];
#pragma unroll
  for (int t = 0; t < Tiles; t++) x[t] = a.x + min(g + 8 * t, a.rows - 1) * a.xStride + 4 * p;
  const uint32_t one = pack2<T>(1, 1), ones[4] = {one, one, one, one};
  float c[Tiles][4] = {};
  for (int first = warp * S::blocks; first < blocks; first += GemvShape::warps * S::blocks) {
#pragma unroll
    for (int i = 0; i < (GemvShape::columns * S::words + 31) / 32; i++) {
      const int at = i * 32 + lane, row = at / S::words;
      if (row < GemvShape::columns) S::copy(stageAddress + row * S::pitch, w + min(column + row, a.out - 1) * step, first, rowBytes, at % S::words);
    }
    commitCopies();
    waitCopies<0>();
    __syncwarp();
    const uint8_t* at[2];
#pragma unroll
    for (int i = 0; i < 2; i++) at[i] = stage + (g + 8 * i) * S::pitch + (reinterpret_cast<uintptr_t>(mine[i] + first * W::bytes) & 15);
    const int here = min(S::blocks, blocks - first);
#pragma unroll 2
    for (int u = 0; u < here; u++) {
      const Quarter top = W::decode(W::load(at[0] + u * W::bytes, p), p), bottom = W::decode(W::load(at[1] + u * W::bytes, p), p);
      uint32_t lower[4], upper[4];
      bytePairs<T, W::offset>(top.lo, lower[0], lower[2]);
      bytePairs<T, W::offset>(bottom.lo, lower[1], lower[3]);
      bytePairs<T, W::offset>(top.hi, upper[0], upper[2]);
      bytePairs<T, W::offset>(bottom.hi, upper[1], upper[3]);
#pragma unroll
      for (int t = 0; t < Tiles; t++) {
        uint2 x1 = make_uint2(0, 0), x2 = x1;
        if (g + 8 * t < a.rows) {
          const T* inputs = x[t] + (first + u) * blockElements;
          x1 = fourOf(inputs, aligned);
          x2 = fourOf(inputs + 16, aligned);
        }
        float sum[4] = {};
        mma<T>(sum, lower, x1.x, x1.y);
        mma<T>(sum, upper, x2.x, x2.y);
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
    __syncwarp(); // the stage is free
  }
  __syncthreads(); // and so is everybody's
  addWarps<T, Tiles>(a, c, *reinterpret_cast<Sums<Tiles>*>(shared));
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
    __shared__ __align__(16) uint8_t shared[GemvShape::warps * Stage<W>::bytes];
    a.rows <= 8 ? gemvQuantised<T, W, 1>(a, shared) : gemvQuantised<T, W, 2>(a, shared);
  } else if constexpr (__is_same(T, W)) {
    __shared__ __align__(16) uint8_t shared[sizeof(Sums<2>)];
    if (!vectors16(a.x, a.xStride, a.in) || !vectors16(a.w, a.wStride, a.in)) {
      gemvAny<T, W>(a);
    } else {
      a.rows <= 8 ? gemvPlain<T, 1>(a, shared) : gemvPlain<T, 2>(a, shared);
    }
  } else {
    gemvAny<T, W>(a);
  }
}

#define GEMV(T, NAME, W, WNAME)                                                                                              \
  extern "C" __global__ void __launch_bounds__(GemvShape::threads, GemvShape::resident<W>())                                                         \
      gemv_##NAME##_##WNAME(void* y, i64 yStride, const T* x, i64 xStride, const void* w, i64 wStride, i64 rows, i64 in,     \
                            i64 out, i64 flags) {                                                                            \
    gemv<T, W>(GemvArgs<T>{y, yStride, x, xStride, w, wStride, static_cast<int>(rows), static_cast<int>(in),                 \
                           static_cast<int>(out), static_cast<int>(flags)});                                                 \
  }
