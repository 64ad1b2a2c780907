// Linear layers for 1 to 16 rows with weights in GGUF's blocks. As with plain
// weights (gemv_plain.cuh), a block computes 16 columns of y, its warps share out the
// inputs and bring them through rings, and the products are made by tensor cores.
#pragma once

#include "gemv_args.cuh"

struct GemvQuantised {
  static constexpr int threads = 256, warps = threads / 32;
  static constexpr int resident = 3; // blocks that find room in the shared memory of compute capability 9.0
  static constexpr int bytes = 65536, warpBytes = bytes / warps; // of shared memory
};

// copyWord starts a copy of 16 bytes to shared memory.
__device__ __forceinline__ void copyWord(uint32_t shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}

// Stage is a chunk of inputs of each of 16 rows: a unit, or half of one whose
// bytes are many. As blocks are aligned to 2 bytes only, whole 16-byte words
// around them are copied; what a row lacks of its last chunk is zeros.
template <typename W> struct Stage {
  static constexpr int halves = unitBytes<W> > 256 ? 1 : 2;
  static constexpr int inputs = halves * halfElements, chunkBytes = halves * unitBytes<W> / 2;
  static constexpr int words = (chunkBytes + 14 + 15) / 16;
  static constexpr int pitch = (words | 1) * 16; // an odd number of words: 8 rows lie in 8 groups of banks
  static constexpr int bytes = gemvColumns * pitch;

  // copy starts copying two rows, 8 apart, from byte `at` on to `to`, of four lanes' share the part of lane p. They will lie
  // there as to 16 bytes as they do in memory. Past `end` nothing is read.
  __device__ __forceinline__ static void copy(uint32_t to, const uint8_t* const (&rows)[2], int at, int end, int p) {
    to += 16 * p;
    if (at + 16 * words <= end) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const uint8_t* const from = wordOf(rows[i] + at) + 16 * p;
#pragma unroll
        for (int j = 0; j < (words + 3) / 4; j++) {
          if (p + 4 * j < words) copyWord(to + 8 * i * pitch + 64 * j, from + 64 * j);
        }
      }
      return;
    }
#pragma unroll 1
    for (int i = 0; i < 2; i++) {
      const uint8_t* const row = i == 0 ? rows[0] : rows[1];
      const uint8_t* const from = wordOf(row + at);
      const int left = static_cast<int>(row + end - from);
#pragma unroll 1
      for (int j = 0; j < words - p; j += 4) {
        const int byte = 16 * (p + j);
        copyPart(to + 8 * i * pitch + 16 * j, from + (byte < left ? byte : 0), max(0, min(16, left - byte)));
      }
    }
  }
  // wordOf is the 16-byte word that a byte lies in.
  __device__ __forceinline__ static const uint8_t* wordOf(const uint8_t* p) { return p - (reinterpret_cast<uintptr_t>(p) & 15); }
};

// Scales are those of a half of 16 rows of super-blocks, [group][row]: what the
// four lanes of a row would all have to decode, each decodes a quarter of.
template <typename W> struct Scales {
  static constexpr bool shared = W::elements == unitElements;
  static constexpr int floats = (W::scalesOf16 ? 2 : 1) * (W::hasMinimum ? 2 : 1);
  static constexpr int groupFloats = gemvColumns * floats, bytes = shared ? halfElements / groupElements * groupFloats * 4 : 0;

  __device__ __forceinline__ static void put(float* to, const Quarter& o) {
    if constexpr (floats == 4) {
      *reinterpret_cast<float4*>(to) = make_float4(o.scale.x, o.scale.y, o.minimum.x, o.minimum.y);
    } else {
      *reinterpret_cast<float2*>(to) = W::scalesOf16 ? o.scale : make_float2(o.scale.x, o.minimum.x);
    }
  }
  __device__ __forceinline__ static void get(const float* from, Quarter& o) {
    if constexpr (floats == 4) {
      const float4 v = *reinterpret_cast<const float4*>(from);
      o.scale = make_float2(v.x, v.y), o.minimum = make_float2(v.z, v.w);
    } else {
      const float2 v = *reinterpret_cast<const float2*>(from);
      o.scale = W::scalesOf16 ? v : make_float2(v.x, v.x), o.minimum = make_float2(v.y, v.y);
    }
  }
};

// addScaled adds the sums of 8 columns, scaled, to an mma's result.
__device__ __forceinline__ void addScaled(float (&c)[4], const float (&sum)[4], float top, float bottom) {
  c[0] += top * sum[0];
  c[1] += top * sum[1];
  c[2] += bottom * sum[2];
  c[3] += bottom * sum[3];
}

// mulGroup multiplies 32 inputs by codes: 16 and 16 more, added up or Apart.
template <typename T, bool Apart>
__device__ __forceinline__ void mulGroup(float (&first)[4], float (&second)[4], const uint32_t (&lower)[4], const uint32_t (&upper)[4], const uint2 (&x)[2]) {
  mma<T>(first, lower, x[0].x, x[0].y);
  mma<T>(Apart ? second : first, upper, x[1].x, x[1].y);
}

// addGroup adds the products of 32 inputs, of which x has the lane's first and last four. The minimum counts as often as the
// inputs add up to, which a product with ones finds.
template <typename T, typename W>
__device__ __forceinline__ void addGroup(float (&c)[4], const uint32_t (&lower)[4], const uint32_t (&upper)[4], const Quarter& top,
                                         const Quarter& bottom, const uint2 (&x)[2]) {
  float first[4] = {}, second[4] = {};
  mulGroup<T, W::scalesOf16>(first, second, lower, upper, x);
  addScaled(c, first, top.scale.x, bottom.scale.x);
  if constexpr (W::scalesOf16) addScaled(c, second, top.scale.y, bottom.scale.y);
  if constexpr (W::hasMinimum) {
    const uint32_t one = pack2<T>(1, 1), ones[4] = {one, one, one, one};
    float total[4] = {}, rest[4] = {};
    mulGroup<T, W::scalesOf16>(total, rest, ones, ones, x);
    addScaled(c, total, top.minimum.x, bottom.minimum.x);
    if constexpr (W::scalesOf16) addScaled(c, rest, top.minimum.y, bottom.minimum.y);
  }
}

// gemvQuantised multiplies integer codes as they are, and scales the sums of 16
// or 32 inputs in f32. Each warp brings its own chunks through a ring of its own,
// all of which is on its way before the kernel waits for x.
//
// If x is Alone, of one row, all columns of a product are the same, so that of the
// four lanes of a row of w each decodes the scales of one group of a half, and
// scales that group's sum.
template <typename T, typename W, int Tiles, bool Alone> __device__ __forceinline__ void gemvQuantised(const GemvArgs<T>& a, uint8_t* shared) {
  using S = Stage<W>;
  using F = Scales<W>;
  constexpr int warps = GemvQuantised::warps, slots = (GemvQuantised::warpBytes - F::bytes) / S::bytes, groups = halfElements / groupElements;
  constexpr bool ahead = Tiles == 1; // there are registers for the inputs of a half
  static_assert(slots >= 2, "a warp computes while its next chunk comes");
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, p = lane % 4;
  const int rowBytes = a.in / W::elements * W::bytes, chunks = (a.in + S::inputs - 1) / S::inputs;
  uint8_t* const ring = shared + warp * GemvQuantised::warpBytes + g * S::pitch;
  const uint32_t ringAddress = static_cast<uint32_t>(__cvta_generic_to_shared(ring));
  float* const scales = reinterpret_cast<float*>(shared + (warp + 1) * GemvQuantised::warpBytes - F::bytes) + g * F::floats;
  const uint8_t* mine[2]; // the rows that this lane and the three beside it multiply
#pragma unroll
  for (int i = 0; i < 2; i++) {
    mine[i] = static_cast<const uint8_t*>(rowAt<W>(a.weight.w, a.column + min(g + 8 * i, a.columns() - 1), a.weight.stride));
  }
  auto fetch = [&](int chunk, int slot) {
    if (chunk < chunks) S::copy(ringAddress + slot * S::bytes, mine, chunk * S::chunkBytes, rowBytes, p);
    commitCopies(); // an empty group too, so that the count of groups is the count of chunks
  };
#pragma unroll
  for (int i = 0; i < slots; i++) fetch(warp + i * warps, i);
  awaitEarlier();

  // Of rows that x lacks, the last stands in; nobody stores what comes out.
  const T* x[Tiles];
#pragma unroll
  for (int t = 0; t < Tiles; t++) x[t] = a.x + min(g + 8 * t, a.rows - 1) * a.xStride + 4 * p;
  float c[Tiles][4] = {};
  int slot = 0;
#pragma unroll 1
  for (int chunk = warp; chunk < chunks; chunk += warps) {
    const uint8_t* at[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int before = static_cast<int>(reinterpret_cast<uintptr_t>(mine[i] + chunk * S::chunkBytes) & 15);
      at[i] = ring + slot * S::bytes + 8 * i * S::pitch + before;
    }
#pragma unroll(ahead ? S::halves : 1)
    for (int h = 0; h < S::halves; h++) {
      const int k = chunk * S::inputs + h * halfElements;
      // load reads the lane's inputs of a group.
      const bool whole = F::shared || k + halfElements <= a.in;
      auto load = [&](uint2 (&to)[2], const T* from) {
        to[0] = *reinterpret_cast<const uint2*>(from);
        to[1] = *reinterpret_cast<const uint2*>(from + 16);
      };
      // Past the end of a row of blocks all scales are 0, so any inputs do.
      auto clamped = [&](int s) { return min(k + s * groupElements, a.in - groupElements); };
      uint2 xv[ahead ? groups : 1][2];
      if constexpr (ahead) {
        if (whole) {
#pragma unroll
          for (int s = 0; s < groups; s++) load(xv[s], x[0] + k + s * groupElements);
        } else {
#pragma unroll
          for (int s = 0; s < groups; s++) load(xv[s], x[0] + clamped(s));
        }
      }
      uint2 columns[2]; // of the product with ones: 2s and 2s + 1 are group s
      if constexpr (Alone && W::hasMinimum) load(columns, x[0] + (whole ? k + g / 2 * groupElements : clamped(g / 2)));
      if (h == 0) waitCopies<slots - 1>();
      __syncwarp(); // what the other lanes copied is there too; they have read the scales of the half before
      Quarter mineOf[2]; // of which the scales count, those of group p
      if constexpr (F::shared || Alone) {
#pragma unroll
        for (int i = 0; i < 2; i++) mineOf[i] = W::at(W::open(at[i], h), at[i], h, p, 0);
      }
      if constexpr (F::shared && !Alone) {
#pragma unroll
        for (int i = 0; i < 2; i++) F::put(scales + p * F::groupFloats + 8 * i * F::floats, mineOf[i]);
        __syncwarp();
      }
      if constexpr (Alone && W::hasMinimum) {
        const uint32_t one = pack2<T>(1, 1), ones[4] = {one, one, one, one};
        float total[4] = {}, rest[4] = {};
        mulGroup<T, W::scalesOf16>(total, rest, ones, ones, columns);
#pragma unroll
        for (int i = 0; i < 2; i++) {
          c[0][2 * i] += mineOf[i].minimum.x * total[0];
          if constexpr (W::scalesOf16) c[0][2 * i] += mineOf[i].minimum.y * rest[0];
        }
      }
#pragma unroll
      for (int s = 0; s < groups; s++) {
        const typename W::Half none{}; // super-blocks' scales are replaced
        Quarter top = W::at(none, at[0], h, s, p), bottom = W::at(none, at[1], h, s, p);
        if constexpr (F::shared && !Alone) {
          F::get(scales + s * F::groupFloats, top);
          F::get(scales + s * F::groupFloats + 8 * F::floats, bottom);
        }
        uint32_t lower[4], upper[4];
        codePairs<T, W>(top.lo, lower[0], lower[2]);
        codePairs<T, W>(bottom.lo, lower[1], lower[3]);
        codePairs<T, W>(top.hi, upper[0], upper[2]);
        codePairs<T, W>(bottom.hi, upper[1], upper[3]);
        if constexpr (Alone) {
          float first[4] = {}, second[4] = {};
          mulGroup<T, W::scalesOf16>(first, second, lower, upper, xv[s]);
#pragma unroll
          for (int i = 0; i < 2; i++) {
            if (s == p) c[0][2 * i] += mineOf[i].scale.x * first[2 * i];
            if (W::scalesOf16 && s == p) c[0][2 * i] += mineOf[i].scale.y * second[2 * i];
          }
        } else if constexpr (ahead) {
          addGroup<T, W>(c[0], lower, upper, top, bottom, xv[s]);
        } else {
#pragma unroll
          for (int t = 0; t < Tiles; t++) {
            load(xv[0], x[t] + (whole ? k + s * groupElements : clamped(s)));
            addGroup<T, W>(c[t], lower, upper, top, bottom, xv[0]);
          }
        }
      }
    }
    __syncwarp(); // all have read the stage
    fetch(chunk + slots * warps, slot);
    slot = slot + 1 == slots ? 0 : slot + 1;
  }
  if constexpr (Alone) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      c[0][2 * i] += __shfl_xor_sync(wholeWarp, c[0][2 * i], 1);
      c[0][2 * i] += __shfl_xor_sync(wholeWarp, c[0][2 * i], 2);
    }
  }
  waitCopies<0>();
  __syncthreads(); // the rings are free for the sums
  addWarps<warps, Tiles>(a, c, *reinterpret_cast<GemvSums<warps, Tiles>*>(shared));
}
