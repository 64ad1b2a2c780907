// Linear layers for 1 to 16 rows with weights in GGUF's blocks. As with plain
// weights (gemv_plain.cuh), a block computes 16 columns of y and its warps share out
// the inputs, and the products are made by tensor cores.
#pragma once

#include "gemv_args.cuh"

struct GemvQuantised {
  static constexpr int threads = 256, warps = threads / 32;
  static constexpr int resident = 3; // blocks that are to fit on a multiprocessor
};

// Stage is a warp's part of shared memory: units of each of 16 rows. As blocks
// are aligned to 2 bytes only, whole 16-byte words around them are copied; what
// a row lacks of its last unit is zeros.
template <typename W> struct Stage {
  static constexpr int words = (W::staged * unitBytes<W> + 14 + 15) / 16;
  static constexpr int pitch = (words | 1) * 16; // an odd number of words: 8 rows lie in 8 groups of banks
  static constexpr int bytes = gemvColumns * pitch;

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
  const int rowBytes = a.in / W::elements * W::bytes;
  uint8_t* const stage = shared + warp * S::bytes;
  const uint32_t stageAddress = static_cast<uint32_t>(__cvta_generic_to_shared(stage));
  const uint8_t* mine[2]; // the rows that this lane and the three beside it multiply
#pragma unroll
  for (int i = 0; i < 2; i++) mine[i] = static_cast<const uint8_t*>(rowAt<W>(a.weight.w, a.column + min(g + 8 * i, a.columns() - 1), a.weight.stride));
  // Of rows that x lacks, the last stands in; nobody stores what comes out.
  const T* x[Tiles];
#pragma unroll
  for (int t = 0; t < Tiles; t++) x[t] = a.x + min(g + 8 * t, a.rows - 1) * a.xStride + 4 * p;
  const uint32_t one = pack2<T>(1, 1), ones[4] = {one, one, one, one};
  float c[Tiles][4] = {};
  const uint8_t* at[2];
  auto fetch = [&](int first) {
    if (first * unitElements >= a.in) return;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int row = (g + 8 * i) * S::pitch;
      at[i] = stage + row + S::copy(stageAddress + row, mine[i], first * unitBytes<W>, rowBytes, p);
    }
    commitCopies();
  };
  constexpr int stride = GemvQuantised::warps * W::staged;
  fetch(warp * W::staged);
  awaitEarlier();
  for (int first = warp * W::staged; first * unitElements < a.in; first += stride) {
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
    fetch(first + stride);
  }
  __syncthreads(); // and so is everybody's
  addWarps<GemvQuantised::warps, Tiles>(a, c, *reinterpret_cast<GemvSums<GemvQuantised::warps, Tiles>*>(shared));
}
