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

// Quarter is what one lane takes of a block: 8 unsigned bytes u, the first four
// in lo, and the scale and minimum of the block; with the encoding's offset,
// weight = scale * (u - offset) + minimum.
struct Quarter {
  uint32_t lo, hi;
  float scale, minimum;
};

__device__ __forceinline__ Quarter nibbles(uint32_t packed, float scale, float minimum) {
  return {packed & 0x0f0f0f0fu, packed >> 4 & 0x0f0f0f0fu, scale, minimum};
}

// bitsToBytes moves bits 0 to 3 to bit 4 of bytes 0 to 3: the product holds
// each bit at four distances, of which the mask keeps the right one.
__device__ __forceinline__ uint32_t bitsToBytes(uint32_t bits) { return ((bits & 15) * 0x00204081u & 0x01010101u) << 4; }

__device__ __forceinline__ Quarter fifthBits(uint32_t packed, uint32_t high, int q, float scale, float minimum) {
  Quarter o = nibbles(packed, scale, minimum);
  o.lo |= bitsToBytes(high >> (4 * q));
  o.hi |= bitsToBytes(high >> (16 + 4 * q));
  return o;
}

// Encodings. bytes is a block's size; hasMinimum says whether minimum is used;
// Raw is what a lane loads, apart from its decoding, so that several loads can
// be under way before the first is used.
struct Q8_0 {
  static constexpr int bytes = 34, offset = 128;
  static constexpr bool hasMinimum = false;
  struct Raw { uint32_t lo, hi; float scale; };
  __device__ __forceinline__ static Raw load(const uint8_t* b, int q) {
    return {word(b + 2 + 4 * q), word(b + 18 + 4 * q), halfAt(b)};
  }
  __device__ __forceinline__ static Quarter decode(const Raw& r, int) {
    return {r.lo ^ 0x80808080u, r.hi ^ 0x80808080u, r.scale, 0};
  }
};

struct Q4_0 {
  static constexpr int bytes = 18, offset = 8;
  static constexpr bool hasMinimum = false;
  struct Raw { uint32_t packed; float scale; };
  __device__ __forceinline__ static Raw load(const uint8_t* b, int q) { return {word(b + 2 + 4 * q), halfAt(b)}; }
  __device__ __forceinline__ static Quarter decode(const Raw& r, int) { return nibbles(r.packed, r.scale, 0); }
};

struct Q4_1 {
  static constexpr int bytes = 20, offset = 0;
  static constexpr bool hasMinimum = true;
  struct Raw { uint32_t packed, scales; };
  __device__ __forceinline__ static Raw load(const uint8_t* b, int q) {
    return {alignedWord(b + 4 + 4 * q), alignedWord(b)};
  }
  __device__ __forceinline__ static Quarter decode(const Raw& r, int) {
    const float2 s = unpack2<f16>(r.scales);
    return nibbles(r.packed, s.x, s.y);
  }
};

struct Q5_0 {
  static constexpr int bytes = 22, offset = 16;
  static constexpr bool hasMinimum = false;
  struct Raw { uint32_t packed, high; float scale; };
  __device__ __forceinline__ static Raw load(const uint8_t* b, int q) {
    return {word(b + 6 + 4 * q), word(b + 2), halfAt(b)};
  }
  __device__ __forceinline__ static Quarter decode(const Raw& r, int q) { return fifthBits(r.packed, r.high, q, r.scale, 0); }
};

struct Q5_1 {
  static constexpr int bytes = 24, offset = 0;
  static constexpr bool hasMinimum = true;
  struct Raw { uint32_t packed, high, scales; };
  __device__ __forceinline__ static Raw load(const uint8_t* b, int q) {
    return {alignedWord(b + 8 + 4 * q), alignedWord(b + 4), alignedWord(b)};
  }
  __device__ __forceinline__ static Quarter decode(const Raw& r, int q) {
    const float2 s = unpack2<f16>(r.scales);
    return fifthBits(r.packed, r.high, q, s.x, s.y);
  }
};

// isQuantised tells block encodings from plain types.
template <typename W> struct isQuantised { static constexpr bool value = false; };
template <> struct isQuantised<Q8_0> { static constexpr bool value = true; };
template <> struct isQuantised<Q4_0> { static constexpr bool value = true; };
template <> struct isQuantised<Q4_1> { static constexpr bool value = true; };
template <> struct isQuantised<Q5_0> { static constexpr bool value = true; };
template <> struct isQuantised<Q5_1> { static constexpr bool value = true; };

// decodeRow writes elements [from, to) of a row times factor, both divisible by 32
// when W is quantised; the block's threads share the work.
template <typename T, typename W>
__device__ __forceinline__ void decodeRow(T* out, const void* row, i64 from, i64 to, float factor = 1) {
  if constexpr (isQuantised<W>::value) {
    const uint8_t* blocks = static_cast<const uint8_t*>(row);
    const bool aligned = (reinterpret_cast<uintptr_t>(out) & 7) == 0;
    for (i64 i = from / 8 + threadIdx.x; i < to / 8; i += blockDim.x) {
      const i64 block = i / 4;
      const int q = i % 4;
      const Quarter o = W::decode(W::load(blocks + block * W::bytes, q), q);
      float v[8];
#pragma unroll
      for (int j = 0; j < 8; j++) {
        const int u = (j < 4 ? o.lo : o.hi) >> (8 * (j & 3)) & 255;
        v[j] = (o.scale * (u - W::offset) + o.minimum) * factor;
      }
      T* to = out + block * blockElements + 4 * q;
      if (aligned) {
        *reinterpret_cast<uint2*>(to) = make_uint2(pack2<T>(v[0], v[1]), pack2<T>(v[2], v[3]));
        *reinterpret_cast<uint2*>(to + 16) = make_uint2(pack2<T>(v[4], v[5]), pack2<T>(v[6], v[7]));
      } else {
#pragma unroll
        for (int j = 0; j < 8; j++) to[(j & 3) + (j >> 2) * 16] = fromFloat<T>(v[j]);
      }
    }
  } else {
    const W* x = static_cast<const W*>(row);
    for (i64 i = from + threadIdx.x; i < to; i += blockDim.x) out[i] = fromFloat<T>(toFloat(x[i]) * factor);
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
