// Weights of any encoding as numbers: codes as exact pairs of activations' type,
// and rows decoded.
#pragma once

#include "quant_super.cuh"

// isQuantised tells block encodings from plain types.
template <typename W, typename = void> struct isQuantised { static constexpr bool value = false; };
template <typename W> struct isQuantised<W, decltype(void(W::offset))> { static constexpr bool value = true; };

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
// bf16 has room for 7 bits so; full bytes, of offset 128, go by way of f32.
template <typename T, int Offset> __device__ __forceinline__ void bytePairs(uint32_t bytes, uint32_t& first, uint32_t& second) {
  if constexpr (__is_same(T, f16)) {
    first = addPairs(__byte_perm(bytes, 0x64646464u, 0x4140), -1024.f - Offset, T());
    second = addPairs(__byte_perm(bytes, 0x64646464u, 0x4342), -1024.f - Offset, T());
  } else if constexpr (Offset < 128) {
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

// Levels is IQ4_NL's table in T, whose low and high bytes are looked up apart.
template <typename T> struct Levels {
  static constexpr int fraction = __is_same(T, f16) ? 10 : 7, bias = __is_same(T, f16) ? 15 : 127;

  __host__ __device__ static constexpr uint32_t level(int i) {
    const int levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    const uint32_t n = levels[i] < 0 ? -levels[i] : levels[i];
    int exponent = 0;
    while (n >> (exponent + 1)) exponent++;
    return (levels[i] < 0 ? 0x8000u : 0u) | static_cast<uint32_t>(bias + exponent) << fraction | (n << (fraction - exponent) & ((1u << fraction) - 1));
  }
  // four packs a byte, the low (0) or the high (8), of four levels.
  __host__ __device__ static constexpr uint32_t four(int from, int shift) {
    uint32_t r = 0;
    for (int i = 0; i < 4; i++) r |= (level(from + i) >> shift & 255) << (8 * i);
    return r;
  }
  // find looks up four indices, the lower and the upper half of the table at once; `half` takes each from its half.
  template <int Shift> __device__ __forceinline__ static uint32_t find(uint32_t indices, uint32_t half) {
    constexpr uint32_t t0 = four(0, Shift), t1 = four(4, Shift), t2 = four(8, Shift), t3 = four(12, Shift);
    return __byte_perm(__byte_perm(t0, t1, indices), __byte_perm(t2, t3, indices), half);
  }
  __device__ __forceinline__ static void pairs(uint32_t bytes, uint32_t& first, uint32_t& second) {
    // Indices 1, 0, 3, 2 in 4 bits each, as __byte_perm takes them; it ignores their highest bits.
    const uint32_t indices = __byte_perm(bytes * 0x1001u, 0, 0x4431), half = 0x3210u | (indices & 0x8888u) >> 1;
    const uint32_t low = find<0>(indices, half), high = find<8>(indices, half);
    first = __byte_perm(low, high, 0x4051);
    second = __byte_perm(low, high, 0x6273);
  }
};

// codePairs turns 4 codes of W into two packed pairs of integers.
template <typename T, typename W> __device__ __forceinline__ void codePairs(uint32_t codes, uint32_t& first, uint32_t& second) {
  if constexpr (W::table) {
    Levels<T>::pairs(codes, first, second);
  } else {
    bytePairs<T, W::offset>(codes, first, second);
  }
}

// quarterOf is quarter q of 32 weights of a row, those from `first` on.
template <typename W> __device__ __forceinline__ Quarter quarterOf(const void* row, i64 first, int q) {
  const uint8_t* unit = static_cast<const uint8_t*>(row) + first / unitElements * unitBytes<W>;
  const int h = first / halfElements % 2, s = first / groupElements % 4;
  return W::at(W::open(unit, h), unit, h, s, q);
}

// weightAt is weight k of a row; T is the type that codes go by.
template <typename T, typename W> __device__ __forceinline__ float weightAt(const void* row, i64 k) {
  if constexpr (isQuantised<W>::value) {
    const Quarter o = quarterOf<W>(row, k & ~31ll, k >> 2 & 3);
    const bool high = k & 16;
    uint32_t pairs[2];
    codePairs<T, W>(high ? o.hi : o.lo, pairs[0], pairs[1]);
    const float2 codes = unpack2<T>(k & 2 ? pairs[1] : pairs[0]);
    return (high ? o.scale.y : o.scale.x) * (k & 1 ? codes.y : codes.x) + (high ? o.minimum.y : o.minimum.x);
  } else {
    return toFloat(static_cast<const W*>(row)[k]);
  }
}

// decodeFour writes 4 weights times factor.
template <typename T, typename W>
__device__ __forceinline__ void decodeFour(T* out, bool aligned, uint32_t codes, float scale, float minimum, float factor) {
  uint32_t pairs[2];
  codePairs<T, W>(codes, pairs[0], pairs[1]);
  float v[4];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const float2 code = unpack2<T>(pairs[i]);
    v[2 * i] = (scale * code.x + minimum) * factor;
    v[2 * i + 1] = (scale * code.y + minimum) * factor;
  }
  if (aligned) {
    *reinterpret_cast<uint2*>(out) = make_uint2(pack2<T>(v[0], v[1]), pack2<T>(v[2], v[3]));
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) out[i] = fromFloat<T>(v[i]);
  }
}

// decodeRow writes elements [from, to) of a row times factor, both whole blocks
// when W is quantised; the block's threads share the work.
template <typename T, typename W>
__device__ __forceinline__ void decodeRow(T* out, const void* row, i64 from, i64 to, float factor = 1) {
  if constexpr (isQuantised<W>::value) {
    const bool aligned = (reinterpret_cast<uintptr_t>(out) & 7) == 0;
    for (i64 i = from / 8 + threadIdx.x; i < to / 8; i += blockDim.x) {
      const i64 first = i / 4 * groupElements;
      const int q = i % 4;
      const Quarter o = quarterOf<W>(row, first, q);
      T* to = out + first + 4 * q;
      decodeFour<T, W>(to, aligned, o.lo, o.scale.x, o.minimum.x, factor);
      decodeFour<T, W>(to + 16, aligned, o.hi, o.scale.y, o.minimum.y, factor);
    }
  } else {
    const W* x = static_cast<const W*>(row);
    for (i64 i = from + threadIdx.x; i < to; i += blockDim.x) out[i] = fromFloat<T>(toFloat(x[i]) * factor);
  }
}

// rowAt returns the start of a row of a table whose stride is in elements.
template <typename W> __device__ __forceinline__ const void* rowAt(const void* table, i64 row, i64 stride) {
  if constexpr (isQuantised<W>::value) {
    return static_cast<const uint8_t*>(table) + row * (stride / W::elements) * W::bytes;
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
  MAKE(T, NAME, Q5_1, q5_1)        \
  MAKE(T, NAME, Q2_K, q2_k)        \
  MAKE(T, NAME, Q3_K, q3_k)        \
  MAKE(T, NAME, Q4_K, q4_k)        \
  MAKE(T, NAME, Q5_K, q5_k)        \
  MAKE(T, NAME, Q6_K, q6_k)        \
  MAKE(T, NAME, IQ4_NL, iq4_nl)
