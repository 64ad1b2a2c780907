// Linear layers for 1 to 16 rows with weights that are plain numbers: y = x·wᵀ
// at the speed at which w can be read.
//
// A block computes 16 columns of y. Its warps share out the inputs, 256 bytes
// of each of the 16 rows of w at a time, and add up at the end. A warp's bytes
// come through a ring of its own in shared memory, all of which is on its way
// before the kernel waits for x: so memory is busy while the kernel ahead ends.
// The products are made by tensor cores with w as the left operand (mma.m16n8k16,
// rows of x as its columns): they cost nothing beside the loads, so 1 row and
// 8 rows take the same time. As the order of a sum is free, the inputs are given
// to the lanes so that each reads 16 bytes of w in one go.
#pragma once

#include "gemv_args.cuh"

struct GemvPlain {
  static constexpr int threads = 128, warps = threads / 32;
  // Three blocks find room in the shared memory of compute capability 9.0. Registers are left for a block
  // of the kernel that comes next, such as a norm, without which the one after that cannot begin either.
  static constexpr int resident = 4;
  static constexpr int stages = 4, rowBytes = 256; // of a warp's ring; of a row of w in a stage
  static constexpr int words = rowBytes / 16, stageBytes = gemvColumns * rowBytes, bytes = warps * stages * stageBytes;
};

// Piece turns 16 bytes of a row of w into parts that add up to it, each in
// packed pairs of activations' type: one part if that holds W's numbers, and
// else as many of bf16's 8 bits as W's bits need, with nothing lost.
template <typename T, typename W> struct Piece {
  static constexpr int inputs = 16 / sizeof(W), pairs = inputs / 2, parts = __is_same(T, W) ? 1 : __is_same(W, f16) ? 2 : 3;
  uint32_t at[parts][pairs];

  __device__ __forceinline__ explicit Piece(const uint4& v) {
    const uint32_t word[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < pairs; i++) {
      if constexpr (parts == 1) {
        at[0][i] = word[i];
      } else {
        float2 rest;
        if constexpr (__is_same(W, f16)) {
          rest = unpack2<f16>(word[i]);
        } else {
          rest = make_float2(__uint_as_float(word[2 * i]), __uint_as_float(word[2 * i + 1]));
        }
#pragma unroll
        for (int j = 0; j < parts; j++) {
          at[j][i] = __byte_perm(__float_as_uint(rest.x), __float_as_uint(rest.y), 0x7632);
          rest.x -= __uint_as_float(__float_as_uint(rest.x) & 0xffff0000u);
          rest.y -= __uint_as_float(__float_as_uint(rest.y) & 0xffff0000u);
        }
      }
    }
  }
};

// gemvPlain needs `in`, x and w as vectors16 wants them.
template <typename T, typename W, int Tiles> __device__ __forceinline__ void gemvPlain(const GemvArgs<T>& a, uint8_t* shared) {
  using S = GemvPlain;
  using P = Piece<T, W>;
  constexpr int inputs = S::words * P::inputs; // of a stage
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, p = lane % 4;
  uint8_t* const ring = shared + warp * S::stages * S::stageBytes;
  const uint32_t ringAddress = static_cast<uint32_t>(__cvta_generic_to_shared(ring));

  // Two rows are copied at a time, one by each half of the lanes. Odd rows have every 4 words exchanged
  // with the next 4, so that the words of two rows that 8 lanes read together lie in all banks.
  const int odd = lane / S::words, word = lane % S::words;
  const uint32_t to = ringAddress + odd * S::rowBytes + (word ^ odd << 2) * 16;
  const i64 step = a.weight.stride * static_cast<i64>(sizeof(W));
  const int lastRow = a.columns() - 1, chunks = (a.in + inputs - 1) / inputs;
  const uint8_t* const from = static_cast<const uint8_t*>(a.weight.w) + a.column * step + word * 16;
  auto fetch = [&](int chunk, int slot) {
    if (chunk < chunks) {
      const bool valid = chunk * inputs + word * P::inputs < a.in;
      const uint8_t* const at = valid ? from + static_cast<i64>(chunk) * S::rowBytes : from;
#pragma unroll
      for (int i = 0; i < gemvColumns / 2; i++) {
        copy16(to + slot * S::stageBytes + 2 * i * S::rowBytes, at + min(2 * i + odd, lastRow) * step, valid);
      }
    }
    commitCopies(); // an empty group too, so that the count of groups is the count of chunks
  };
#pragma unroll
  for (int i = 0; i < S::stages; i++) fetch(warp + i * S::warps, i);
  awaitEarlier();

  const T* x[Tiles];
#pragma unroll
  for (int t = 0; t < Tiles; t++) x[t] = a.x + min(g + 8 * t, a.rows - 1) * a.xStride + p * P::inputs;
  const uint8_t* const mine = ring + g * S::rowBytes;
  float c[Tiles][2][4] = {};
  int slot = 0;
  for (int chunk = warp; chunk < chunks; chunk += S::warps) {
    uint32_t xv[Tiles][S::words / 4][P::pairs];
#pragma unroll
    for (int t = 0; t < Tiles; t++) {
#pragma unroll
      for (int s = 0; s < S::words / 4; s++) {
        const int k = chunk * inputs + s * 4 * P::inputs;
        const bool valid = k + p * P::inputs < a.in && g + 8 * t < a.rows;
        if constexpr (P::pairs == 4) {
          const uint4 v = valid ? *reinterpret_cast<const uint4*>(x[t] + k) : make_uint4(0, 0, 0, 0);
          xv[t][s][0] = v.x, xv[t][s][1] = v.y, xv[t][s][2] = v.z, xv[t][s][3] = v.w;
        } else {
          const uint2 v = valid ? *reinterpret_cast<const uint2*>(x[t] + k) : make_uint2(0, 0);
          xv[t][s][0] = v.x, xv[t][s][1] = v.y;
        }
      }
    }
    waitCopies<S::stages - 1>();
    __syncwarp(); // what the other lanes copied is there too
    uint4 w[S::words / 4][2];
#pragma unroll
    for (int s = 0; s < S::words / 4; s++) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        w[s][i] = *reinterpret_cast<const uint4*>(mine + slot * S::stageBytes + 8 * i * S::rowBytes + ((4 * s + p) ^ (g & 1) << 2) * 16);
      }
    }
    __syncwarp(); // all have read the stage
    fetch(chunk + S::stages * S::warps, slot);
    slot = slot + 1 == S::stages ? 0 : slot + 1;
#pragma unroll
    for (int s = 0; s < S::words / 4; s++) {
      const P top(w[s][0]), bottom(w[s][1]);
#pragma unroll
      for (int j = 0; j < P::parts; j++) {
#pragma unroll
        for (int i = 0; i < P::pairs; i += 2) {
          const uint32_t rows[4] = {top.at[j][i], bottom.at[j][i], top.at[j][i + 1], bottom.at[j][i + 1]};
#pragma unroll
          for (int t = 0; t < Tiles; t++) mma<T>(c[t][(s + i / 2) & 1], rows, xv[t][s][i], xv[t][s][i + 1]);
        }
      }
    }
  }
  float sum[Tiles][4];
#pragma unroll
  for (int t = 0; t < Tiles; t++) {
#pragma unroll
    for (int i = 0; i < 4; i++) sum[t][i] = c[t][0][i] + c[t][1][i];
  }
  waitCopies<0>();
  __syncthreads(); // the rings are free for the sums
  addWarps<S::warps, Tiles>(a, sum, *reinterpret_cast<GemvSums<S::warps, Tiles>*>(shared));
}
