// GGUF's encodings in super-blocks of 256 weights, whose groups of 16 or 32 have
// integer scales and minima. Those of a half are kept a byte each, four to a
// word, until they are used.
#pragma once

#include "quant.cuh"

// scaled is byte i of a word times d, rounded once: with the byte in the last
// bits of 2²³ and 2²³·d taken off again, both exact, one fma is left.
__device__ __forceinline__ float scaled(uint32_t bytes, int i, float d) {
  return fmaf(__uint_as_float(__byte_perm(bytes, 0x4b000000u, 0x7440 + i)), d, -8388608.f * d);
}

// scaledLess is byte i less Offset, times d.
template <int Offset> __device__ __forceinline__ float scaledLess(uint32_t bytes, int i, float d) {
  return (__uint_as_float(__byte_perm(bytes, 0x4b000000u, 0x7440 + i)) - (8388608.f + Offset)) * d;
}

// of16 gives what f makes of the bytes of groups 2s and 2s+1, of 8 in two words.
template <typename F> __device__ __forceinline__ float2 of16(uint32_t first, uint32_t second, int s, F f) {
  const uint32_t bytes = s < 2 ? first : second;
  return make_float2(f(bytes, 2 * (s & 1)), f(bytes, 2 * (s & 1) + 1));
}

struct Q2_K {
  static constexpr int elements = 256, bytes = 84, offset = 0;
  static constexpr bool hasMinimum = true, scalesOf16 = true, table = false;
  struct Half {
    uint32_t first, second; // a group's scale in the low half of a byte, its minimum in the high half
    float2 d;
  };
  __device__ __forceinline__ static Half open(const uint8_t* b, int h) {
    return {alignedWord(b + 8 * h), alignedWord(b + 8 * h + 4), unpack2<f16>(alignedWord(b + 80))};
  }
  __device__ __forceinline__ static Quarter at(const Half& f, const uint8_t* b, int h, int s, int q) {
    const uint8_t* codes = b + 16 + 32 * h + 4 * q;
    constexpr uint32_t low = 0x0f0f0f0fu, two = 0x03030303u;
    return {alignedWord(codes) >> (2 * s) & two, alignedWord(codes + 16) >> (2 * s) & two,
            of16(f.first & low, f.second & low, s, [&](uint32_t v, int i) { return scaled(v, i, f.d.x); }),
            of16(f.first >> 4 & low, f.second >> 4 & low, s, [&](uint32_t v, int i) { return scaled(v, i, -f.d.y); })};
  }
};

struct Q3_K {
  static constexpr int elements = 256, bytes = 110, offset = 4;
  static constexpr bool hasMinimum = false, scalesOf16 = true, table = false;
  struct Half {
    uint32_t first, second;
    float d;
  };
  __device__ __forceinline__ static Half open(const uint8_t* b, int h) {
    const uint32_t high = word(b + 104) >> (4 * h);
    return {(word(b + 96) >> (4 * h) & 0x0f0f0f0fu) | (high << 4 & 0x30303030u),
            (word(b + 100) >> (4 * h) & 0x0f0f0f0fu) | (high << 2 & 0x30303030u), halfAt(b + 108)};
  }
  __device__ __forceinline__ static uint32_t codes(const uint8_t* b, int h, int s, int at) {
    return (word(b + 32 + 32 * h + at) >> (2 * s) & 0x03030303u) | (word(b + at) >> (4 * h + s) & 0x01010101u) << 2;
  }
  __device__ __forceinline__ static Quarter at(const Half& f, const uint8_t* b, int h, int s, int q) {
    return {codes(b, h, s, 4 * q), codes(b, h, s, 16 + 4 * q),
            of16(f.first, f.second, s, [&](uint32_t v, int i) { return scaledLess<32>(v, i, f.d); }), {}};
  }
};

// SixBits is what Q4_K and Q5_K have in common: 8 scales and 8 minima of 6 bits in 12 bytes.
struct SixBits {
  static constexpr int elements = 256, offset = 0;
  static constexpr bool hasMinimum = true, scalesOf16 = false, table = false;
  struct Half {
    uint32_t scales, minima;
    float2 d;
  };
  __device__ __forceinline__ static Half open(const uint8_t* b, int h) {
    uint32_t scales = alignedWord(b + 4), minima = alignedWord(b + 8);
    if (h == 0) {
      scales &= 0x3f3f3f3fu;
      minima &= 0x3f3f3f3fu;
    } else {
      const uint32_t last = alignedWord(b + 12);
      scales = (scales >> 2 & 0x30303030u) | (last & 0x0f0f0f0fu);
      minima = (minima >> 2 & 0x30303030u) | (last >> 4 & 0x0f0f0f0fu);
    }
    return {scales, minima, unpack2<f16>(alignedWord(b))};
  }
  // quarter adds the scales to the codes of which the low 4 bits are at `low` and 16 bytes on.
  __device__ __forceinline__ static Quarter quarter(const Half& f, const uint8_t* low, int s) {
    const float scale = scaled(f.scales, s, f.d.x), minimum = scaled(f.minima, s, -f.d.y);
    const int shift = 4 * (s & 1);
    return {alignedWord(low) >> shift & 0x0f0f0f0fu, alignedWord(low + 16) >> shift & 0x0f0f0f0fu, make_float2(scale, scale),
            make_float2(minimum, minimum)};
  }
};

struct Q4_K : SixBits {
  static constexpr int bytes = 144;
  __device__ __forceinline__ static Quarter at(const Half& f, const uint8_t* b, int h, int s, int q) {
    return quarter(f, b + 16 + 64 * h + 32 * (s >> 1) + 4 * q, s);
  }
};

struct Q5_K : SixBits {
  static constexpr int bytes = 176;
  __device__ __forceinline__ static Quarter at(const Half& f, const uint8_t* b, int h, int s, int q) {
    Quarter o = quarter(f, b + 48 + 64 * h + 32 * (s >> 1) + 4 * q, s);
    const uint8_t* fifth = b + 16 + 4 * q;
    o.lo |= (alignedWord(fifth) >> (4 * h + s) & 0x01010101u) << 4;
    o.hi |= (alignedWord(fifth + 16) >> (4 * h + s) & 0x01010101u) << 4;
    return o;
  }
};

struct Q6_K {
  static constexpr int elements = 256, bytes = 210, offset = 32;
  static constexpr bool hasMinimum = false, scalesOf16 = true, table = false;
  struct Half {
    uint32_t first, second; // plus 128
    float d;
  };
  __device__ __forceinline__ static Half open(const uint8_t* b, int h) {
    return {word(b + 192 + 8 * h) ^ 0x80808080u, word(b + 196 + 8 * h) ^ 0x80808080u, halfAt(b + 208)};
  }
  __device__ __forceinline__ static uint32_t codes(const uint8_t* b, int h, int s, int at) {
    return (word(b + 64 * h + 32 * (s & 1) + at) >> (4 * (s >> 1)) & 0x0f0f0f0fu) |
           (word(b + 128 + 32 * h + at) >> (2 * s) & 0x03030303u) << 4;
  }
  __device__ __forceinline__ static Quarter at(const Half& f, const uint8_t* b, int h, int s, int q) {
    return {codes(b, h, s, 4 * q), codes(b, h, s, 16 + 4 * q),
            of16(f.first, f.second, s, [&](uint32_t v, int i) { return scaledLess<128>(v, i, f.d); }), {}};
  }
};
