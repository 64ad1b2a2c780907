// Linear layers for 1 to 16 rows: y = x·wᵀ at the speed at which w can be read.
//
// A block computes 16 columns of y. Its 8 warps share out the inputs and add up
// at the end. The products are made by tensor cores with w as the left operand
// (mma.m16n8k16, rows of x as its columns): they cost nothing beside the loads,
// so 1 row and 8 rows take the same time. As the order of a sum is free, the
// inputs are given to the lanes so that each reads 16 bytes of w in one go.
#pragma once

#include "decode.cuh"
#include "mma.cuh"

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

// Stage is a warp's part of shared memory: units of each of 16 rows. As blocks
// are aligned to 2 bytes only, whole 16-byte words around them are copied; what
// a row lacks of its last unit is zeros.
template <typename W> struct Stage {
  static constexpr int words = (W::staged * unitBytes<W> + 14 + 15) / 16;
  static constexpr int pitch = (words | 1) * 16; // an odd number of words: 8 rows lie in 8 groups of banks
  static constexpr int bytes = GemvShape::columns * pitch;

  // copy starts copying a row's bytes from `at` on to `row`, of four lanes' share the part of lane p, and returns where the
  // first of them will be: they lie there as to 16 bytes as they do in memory. Past `end` nothing is read.
  __device__ __forceinline__ static int copy(uint32_t row, const uint8_t* w, int at, int end, int p) {
    const int before = reinterpret_cast<uintptr_t>(w + at) & 15;
    const uint8_t* from = w + (at - before);
    const int left = end - (at - before);
#pragma unroll
    for (int i = 0; i < (words + 3) / 4; i++) {
      const int word = 16 * p + 64 * i;
      if (p + 4 * i < words) copyPart(row + word, from + (word < left ? word : 0), max(0, min(16, left - word)));
    }
    return before;
  }
};

// addScaled adds the sums of 8 columns, scaled, to an mma's result.
__device__ __forceinline__ void addScaled(float (&c)[4], const float (&sum)[4], float top, float bottom) {
  c[0] += top * sum[0];
  c[1] += top * sum[1];
  c[2] += bottom * sum[2];
  c[3] += bottom * sum[3];
}

// gemvQuantised multiplies integer codes as they are, and scales the sums of 16
// or 32 inputs in f32. The minimum counts as often as the inputs add up to,
// which a product with ones finds. Each warp brings its own units through its
// own part of shared memory; other warps compute meanwhile.
template <typename T, typename W, int Tiles> __device__ __forceinline__ void gemvQuantised(const GemvArgs<T>& a, uint8_t* shared) {
  using S = Stage<W>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, p = lane % 4;
  const int column = blockIdx.x * GemvShape::columns, rowBytes = a.in / W::elements * W::bytes;
  uint8_t* const stage = shared + warp * S::bytes;
  const uint32_t stageAddress = static_cast<uint32_t>(__cvta_generic_to_shared(stage));
  const uint8_t* mine[2]; // the rows that this lane and the three beside it multiply
#pragma unroll
  for (int i = 0; i < 2; i++) mine[i] = static_cast<const uint8_t*>(rowAt<W>(a.w, min(column + g + 8 * i, a.out - 1), a.wStride));
  // Of rows that x lacks, the last stands in; nobody stores what comes out.
  const T* x[Tiles];
#pragma unroll
  for (int t = 0; t < Tiles; t++) x[t] = a.x + min(g + 8 * t, a.rows - 1) * a.xStride + 4 * p;
  const uint32_t one = pack2<T>(1, 1), ones[4] = {one, one, one, one};
  float c[Tiles][4] = {};
  for (int first = warp * W::staged; first * unitElements < a.in; first += GemvShape::warps * W::staged) {
    const uint8_t* at[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int row = (g + 8 * i) * S::pitch;
      at[i] = stage + row + S::copy(stageAddress + row, mine[i], first * unitBytes<W>, rowBytes, p);
    }
    commitCopies();
    waitCopies<0>();
    __syncwarp();
    const int from = first * unitElements, to = min(a.in, from + W::staged * unitElements);
#pragma unroll 1
    for (int k = from; k < to; k += halfElements) {
      const int h = k / halfElements % 2, unit = (k - from) / unitElements * unitBytes<W>;
      const typename W::Half topHalf = W::open(at[0] + unit, h), bottomHalf = W::open(at[1] + unit, h);
#pragma unroll
      for (int s = 0; s < halfElements / groupElements; s++) {
        const Quarter top = W::at(topHalf, at[0] + unit, h, s, p), bottom = W::at(bottomHalf, at[1] + unit, h, s, p);
        uint32_t lower[4], upper[4];
        codePairs<T, W>(top.lo, lower[0], lower[2]);
        codePairs<T, W>(bottom.lo, lower[1], lower[3]);
        codePairs<T, W>(top.hi, upper[0], upper[2]);
        codePairs<T, W>(bottom.hi, upper[1], upper[3]);
        // Past the end of a row of blocks all scales are 0, so any inputs do.
        const int inputs = W::elements == unitElements ? k + s * groupElements : min(k + s * groupElements, a.in - groupElements);
#pragma unroll
        for (int t = 0; t < Tiles; t++) {
          const uint2 x1 = *reinterpret_cast<const uint2*>(x[t] + inputs), x2 = *reinterpret_cast<const uint2*>(x[t] + inputs + 16);
          float sum[4] = {};
          mma<T>(sum, lower, x1.x, x1.y);
          if constexpr (W::scalesOf16) {
            addScaled(c[t], sum, top.scale.x, bottom.scale.x);
            sum[0] = sum[1] = sum[2] = sum[3] = 0;
          }
          mma<T>(sum, upper, x2.x, x2.y);
          addScaled(c[t], sum, top.scale.y, bottom.scale.y);
          if constexpr (W::hasMinimum) {
            float total[4] = {};
            mma<T>(total, ones, x1.x, x1.y);
            if constexpr (W::scalesOf16) {
              addScaled(c[t], total, top.minimum.x, bottom.minimum.x);
              total[0] = total[1] = total[2] = total[3] = 0;
            }
            mma<T>(total, ones, x2.x, x2.y);
            addScaled(c[t], total, top.minimum.y, bottom.minimum.y);
          }
        }
      }
    }
    __syncwarp(); // the stage is free
  }
  __syncthreads(); // and so is everybody's
  addWarps<T, Tiles>(a, c, *reinterpret_cast<Sums<Tiles>*>(shared));
}

// gemvAny takes any type and alignment, an element at a time in f32.
template <typename T, typename W> __device__ __forceinline__ void gemvAny(const GemvArgs<T>& a) {
  constexpr int together = 4;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll 1
  for (int i = warp; i < GemvShape::columns; i += GemvShape::warps) {
    const int column = blockIdx.x * GemvShape::columns + i;
    if (column >= a.out) return;
    const void* w = rowAt<W>(a.w, column, a.wStride);
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
      if (lane < together && row + lane < a.rows) a.store(row + lane, column, mine);
    }
  }
}

template <typename T, typename W> __device__ __forceinline__ void gemv(const GemvArgs<T>& a) {
  if constexpr (isQuantised<W>::value) {
    __shared__ __align__(16) uint8_t shared[GemvShape::warps * Stage<W>::bytes];
    static_assert(sizeof shared >= sizeof(Sums<2>), "the sums take the stages' place");
    if ((reinterpret_cast<uintptr_t>(a.x) & 7) != 0 || (a.xStride & 3) != 0) {
      gemvAny<T, W>(a);
    } else {
      a.rows <= 8 ? gemvQuantised<T, W, 1>(a, shared) : gemvQuantised<T, W, 2>(a, shared);
    }
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
