// GGUF's encodings, read a quarter of 32 weights at a time.
//
// Weights are taken 32 at a time, 4 times 32 a half, two halves a unit of 256:
// a super-block, or 8 blocks of 32. Quarter q (0 to 3) of 32 weights is the 8
// weights 4q … 4q+3 and 16+4q … 16+4q+3. All encodings hold those in the same
// bits of four neighbouring bytes, or of twice four, so four lanes read 32
// weights with no overlap.
//
// An encoding W has
//   elements, bytes   of a block or super-block
//   offset            see Quarter
//   hasMinimum        is minimum used?
//   scalesOf16        are there two scales in 32 weights?
//   table             are codes indices of IQ4_NL's levels?
//   Half, open        what is decoded once a half
//   at                quarter q of the 32 weights s (0 to 3) of half h (0 or 1) of a unit
#pragma once

#include "common.cuh"

constexpr int groupElements = 32, halfElements = 128, unitElements = 256;

template <typename W> constexpr int unitBytes = unitElements / W::elements * W::bytes;

__device__ __forceinline__ float halfAt(const uint8_t* p) {
  return __half2float(*reinterpret_cast<const __half*>(p));
}

// word reads 4 bytes at an address that is only known to be even.
__device__ __forceinline__ uint32_t word(const uint8_t* p) {
  const uint16_t* h = reinterpret_cast<const uint16_t*>(p);
  return h[0] | static_cast<uint32_t>(h[1]) << 16;
}

__device__ __forceinline__ uint32_t alignedWord(const uint8_t* p) { return *reinterpret_cast<const uint32_t*>(p); }

// Quarter is 8 codes u, one a byte, the first four in lo; scale and minimum are
// those of lo and of hi. weight = scale * (u - offset) + minimum.
struct Quarter {
  uint32_t lo, hi;
  float2 scale, minimum;
};

__device__ __forceinline__ Quarter nibbles(uint32_t packed, float scale, float minimum) {
  return {packed & 0x0f0f0f0fu, packed >> 4 & 0x0f0f0f0fu, make_float2(scale, scale), make_float2(minimum, minimum)};
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

// Blocks makes an encoding of W, whose blocks have 32 weights and stand alone.
template <typename W> struct Blocks {
  static constexpr int elements = 32;
  static constexpr bool scalesOf16 = false, table = false;
  struct Half {};
  __device__ __forceinline__ static Half open(const uint8_t*, int) { return {}; }
  __device__ __forceinline__ static Quarter at(Half, const uint8_t* unit, int h, int s, int q) {
    return W::quarter(unit + (4 * h + s) * W::bytes, q);
  }
};

struct Q8_0 : Blocks<Q8_0> {
  static constexpr int bytes = 34, offset = 128;
  static constexpr bool hasMinimum = false;
  __device__ __forceinline__ static Quarter quarter(const uint8_t* b, int q) {
    const float scale = halfAt(b);
    return {word(b + 2 + 4 * q) ^ 0x80808080u, word(b + 18 + 4 * q) ^ 0x80808080u, make_float2(scale, scale), {}};
  }
};

struct Q4_0 : Blocks<Q4_0> {
  static constexpr int bytes = 18, offset = 8;
  static constexpr bool hasMinimum = false;
  __device__ __forceinline__ static Quarter quarter(const uint8_t* b, int q) { return nibbles(word(b + 2 + 4 * q), halfAt(b), 0); }
};

struct Q4_1 : Blocks<Q4_1> {
  static constexpr int bytes = 20, offset = 0;
  static constexpr bool hasMinimum = true;
  __device__ __forceinline__ static Quarter quarter(const uint8_t* b, int q) {
    const float2 s = unpack2<f16>(alignedWord(b));
    return nibbles(alignedWord(b + 4 + 4 * q), s.x, s.y);
  }
};

struct Q5_0 : Blocks<Q5_0> {
  static constexpr int bytes = 22, offset = 16;
  static constexpr bool hasMinimum = false;
  __device__ __forceinline__ static Quarter quarter(const uint8_t* b, int q) {
    return fifthBits(word(b + 6 + 4 * q), word(b + 2), q, halfAt(b), 0);
  }
};

struct Q5_1 : Blocks<Q5_1> {
  static constexpr int bytes = 24, offset = 0;
  static constexpr bool hasMinimum = true;
  __device__ __forceinline__ static Quarter quarter(const uint8_t* b, int q) {
    const float2 s = unpack2<f16>(alignedWord(b));
    return fifthBits(alignedWord(b + 8 + 4 * q), alignedWord(b + 4), q, s.x, s.y);
  }
};

// IQ4_NL is Q4_0 with codes that count through a table.
struct IQ4_NL : Q4_0 {
  static constexpr bool table = true;
};
