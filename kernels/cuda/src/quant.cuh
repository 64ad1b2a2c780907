// GGUF's block encodings, a quarter of a block at a time.
//
// A block holds 32 weights. Quarter q (0 to 3) is the 8 weights 4q … 4q+3 and
// 16+4q … 16+4q+3: in the 4- and 5-bit encodings those are the low and the high
// halves of four neighbouring bytes, so four lanes read a block with no overlap.
#pragma once

#include "common.cuh"

constexpr int blockElements = 32;

__device__ __forceinline__ float halfAt(const uint8_t* p) {
  return __half2float(*reinterpret_cast<const __half*>(p));
}

// word reads 4 bytes at an address that is only known to be even.
__device__ __forceinline__ uint32_t word(const uint8_t* p) {
  const uint16_t* h = reinterpret_cast<const uint16_t*>(p);
  return h[0] | static_cast<uint32_t>(h[1]) << 16;
}

__device__ __forceinline__ uint32_t alignedWord(const uint8_t* p) { return *reinterpret_cast<const uint32_t*>(p); }

// Quarter is what one lane takes of a block: raw integers i[8] and the scale
// and minimum of the block; weight = scale * i + minimum. The integers are at
// most 8 bits with their sign, so bf16 and f16 hold them exactly.
struct Quarter {
  int i[8];
  float scale, minimum;
};

__device__ __forceinline__ void nibbles(Quarter& o, uint32_t packed, int offset) {
#pragma unroll
  for (int j = 0; j < 4; j++) {
    o.i[j] = static_cast<int>(packed >> (8 * j) & 15) - offset;
    o.i[j + 4] = static_cast<int>(packed >> (8 * j + 4) & 15) - offset;
  }
}

__device__ __forceinline__ void fifthBits(Quarter& o, uint32_t packed, uint32_t high, int q, int offset) {
#pragma unroll
  for (int j = 0; j < 4; j++) {
    o.i[j] = static_cast<int>((packed >> (8 * j) & 15) | (high >> (4 * q + j) & 1) << 4) - offset;
    o.i[j + 4] = static_cast<int>((packed >> (8 * j + 4) & 15) | (high >> (16 + 4 * q + j) & 1) << 4) - offset;
  }
}

// Encodings. bytes is a block's size; hasMinimum says whether minimum is used;
// Raw is what a lane loads, apart from its decoding, so that several loads can
// be under way before the first is used.
struct Q8_0 {
  static constexpr int bytes = 34;
  static constexpr bool hasMinimum = false;
  struct Raw { uint32_t lo, hi; float scale; };
  __device__ __forceinline__ static Raw load(const uint8_t* b, int q) {
    return {word(b + 2 + 4 * q), word(b + 18 + 4 * q), halfAt(b)};
  }
  __device__ __forceinline__ static Quarter decode(Raw r, int) {
    Quarter o;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      o.i[j] = static_cast<int8_t>(r.lo >> (8 * j));
      o.i[j + 4] = static_cast<int8_t>(r.hi >> (8 * j));
    }
    o.scale = r.scale;
    o.minimum = 0;
    return o;
  }
};

struct Q4_0 {
  static constexpr int bytes = 18;
  static constexpr bool hasMinimum = false;
  struct Raw { uint32_t packed; float scale; };
  __device__ __forceinline__ static Raw load(const uint8_t* b, int q) { return {word(b + 2 + 4 * q), halfAt(b)}; }
  __device__ __forceinline__ static Quarter decode(Raw r, int) {
    Quarter o;
    nibbles(o, r.packed, 8);
    o.scale = r.scale;
    o.minimum = 0;
    return o;
  }
};

struct Q4_1 {
  static constexpr int bytes = 20;
  static constexpr bool hasMinimum = true;
  struct Raw { uint32_t packed, scales; };
  __device__ __forceinline__ static Raw load(const uint8_t* b, int q) {
    return {alignedWord(b + 4 + 4 * q), alignedWord(b)};
  }
  __device__ __forceinline__ static Quarter decode(Raw r, int) {
    Quarter o;
    nibbles(o, r.packed, 0);
    const float2 s = unpack2<f16>(r.scales);
    o.scale = s.x;
    o.minimum = s.y;
    return o;
  }
};

struct Q5_0 {
  static constexpr int bytes = 22;
  static constexpr bool hasMinimum = false;
  struct Raw { uint32_t packed, high; float scale; };
  __device__ __forceinline__ static Raw load(const uint8_t* b, int q) {
    return {word(b + 6 + 4 * q), word(b + 2), halfAt(b)};
  }
  __device__ __forceinline__ static Quarter decode(Raw r, int q) {
    Quarter o;
    fifthBits(o, r.packed, r.high, q, 16);
    o.scale = r.scale;
    o.minimum = 0;
    return o;
  }
};

struct Q5_1 {
  static constexpr int bytes = 24;
  static constexpr bool hasMinimum = true;
  struct Raw { uint32_t packed, high, scales; };
  __device__ __forceinline__ static Raw load(const uint8_t* b, int q) {
    return {alignedWord(b + 8 + 4 * q), alignedWord(b + 4), alignedWord(b)};
  }
  __device__ __forceinline__ static Quarter decode(Raw r, int q) {
    Quarter o;
    fifthBits(o, r.packed, r.high, q, 0);
    const float2 s = unpack2<f16>(r.scales);
    o.scale = s.x;
    o.minimum = s.y;
    return o;
  }
};

// isQuantised tells block encodings from plain types.
template <typename W> struct isQuantised { static constexpr bool value = false; };
template <> struct isQuantised<Q8_0> { static constexpr bool value = true; };
template <> struct isQuantised<Q4_0> { static constexpr bool value = true; };
template <> struct isQuantised<Q4_1> { static constexpr bool value = true; };
template <> struct isQuantised<Q5_0> { static constexpr bool value = true; };
template <> struct isQuantised<Q5_1> { static constexpr bool value = true; };

// decodeRow writes elements [from, to) of a row, both divisible by 32 when W
// is quantised; the block's threads share the work.
template <typename T, typename W> __device__ __forceinline__ void decodeRow(T* out, const void* row, i64 from, i64 to) {
  if constexpr (isQuantised<W>::value) {
    const uint8_t* blocks = static_cast<const uint8_t*>(row);
    for (i64 i = from / 8 + threadIdx.x; i < to / 8; i += blockDim.x) {
      const i64 block = i / 4;
      const int q = i % 4;
      const Quarter o = W::decode(W::load(blocks + block * W::bytes, q), q);
#pragma unroll
      for (int j = 0; j < 8; j++) {
        out[block * blockElements + 4 * q + (j & 3) + (j >> 2) * 16] = fromFloat<T>(o.scale * o.i[j] + o.minimum);
      }
    }
  } else {
    const W* x = static_cast<const W*>(row);
    for (i64 i = from + threadIdx.x; i < to; i += blockDim.x) out[i] = fromFloat<T>(toFloat(x[i]));
  }
}

// rowAt returns the start of a row of a table whose stride is in elements.
template <typename W> __device__ __forceinline__ const void* rowAt(const void* table, i64 row, i64 stride) {
  if constexpr (isQuantised<W>::value) {
    return static_cast<const uint8_t*>(table) + row * (stride / blockElements) * W::bytes;
  } else {
    return static_cast<const W*>(table) + row * stride;
  }
}

// FOR_WEIGHTS instantiates MAKE(T, Tname, W, Wname) for every encoding.
#define FOR_WEIGHTS(MAKE, T, NAME) \
  MAKE(T, NAME, bf16, bf16)        \
  MAKE(T, NAME, f16, f16)          \
  MAKE(T, NAME, f32, f32)          \
  MAKE(T, NAME, Q8_0, q8_0)        \
  MAKE(T, NAME, Q4_0, q4_0)        \
  MAKE(T, NAME, Q4_1, q4_1)        \
  MAKE(T, NAME, Q5_0, q5_0)        \
  MAKE(T, NAME, Q5_1, q5_1)
