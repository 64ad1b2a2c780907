// Keys and values of a cache in 8 or 4 bits, and back (KIVI, Liu et al. 2024).
// README.md in this folder has the arguments and the layout.
//
// A record of a head has as many blocks as the head has channels, of keys and of
// values alike, so both kernels walk the blocks of a side in the order in which
// they lie: block n belongs to record n / headDim. Of keys, it is the channel
// n % headDim with the record's tokens; of values, a record's blocks are its
// elements [tokens, headDim] in order. Neighbouring threads take neighbouring
// channels when they touch activations, and neighbouring words when they touch
// codes; shared memory lies between the two.

#include "mma.cuh"

// Code is one of the encodings: Codes to a block, 4 bits each if Narrow.
template <int Codes, bool Narrow> struct Code {
  static constexpr int codes = Codes;
  static constexpr bool narrow = Narrow;
  static constexpr int codeWords = Codes / (Narrow ? 8 : 4); // 32-bit words
  static constexpr int words = 1 + codeWords;                // of a block: scale and minimum come first
  static constexpr float most = Narrow ? 15 : 255;           // the largest code
};

// byteAsFloat is byte i of a word: put at the low end of 2²³, less 2²³.
__device__ __forceinline__ float byteAsFloat(uint32_t word, int i) {
  return __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7650 | i)) - 8388608.f;
}

constexpr int codeThreads = 128;
constexpr int decodedBlocks = 256; // blocks of codes that a block of threads decodes

// Decoder reads blocks to shared memory and writes what they stand for. There,
// 4 words follow every 8 blocks: blocks have an odd number of words, so that
// this puts the runs of 8 that a warp reads at a time in 8 different groups of
// 4 banks.
template <typename T, typename C> struct Decoder {
  static constexpr int run = 8 * C::words + 4; // words from one run of 8 blocks to the next
  static constexpr int runs = decodedBlocks / 8;

  __device__ __forceinline__ static void load(uint32_t* shared, const uint32_t* from, int blocks) {
    if ((reinterpret_cast<uintptr_t>(from) & 15) == 0) {
      const uint32_t base = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
      for (int c = threadIdx.x; c < blocks / 4 * C::words; c += codeThreads) {
        copy16(base + 16 * (c + c / (2 * C::words)), from + 4 * c, true);
      }
      commitCopies();
      waitCopies<0>();
    } else {
      for (int w = threadIdx.x; w < blocks * C::words; w += codeThreads) shared[w + w / (8 * C::words) * 4] = from[w];
    }
    __syncthreads();
  }

  // numbers decodes the 4 codes of a word from low (of each byte, if narrow) or high halves.
  __device__ __forceinline__ static void numbers(float (&x)[4], uint32_t word, bool high, float2 header) {
    if (C::narrow) word = (high ? word >> 4 : word) & 0x0f0f0f0fu;
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = byteAsFloat(word, i) * header.x + header.y;
  }

  // keys: a lane has 8 channels, which are a run of blocks, and of their tokens 4
  // (and 4 more where codes share bytes) at a time; a warp 8 lanes side by side.
  __device__ __forceinline__ static void keys(T* out, const uint32_t* shared, unsigned first, int blocks, unsigned headDim) {
    const int lane = threadIdx.x % 32, at = threadIdx.x / 32 * 8 + lane % 8; // the run
    if (at * 8 >= blocks) return;
    const uint32_t* block = shared + at * run;
    const unsigned n = first + at * 8, record = n / headDim;
    out += static_cast<i64>(record) * (C::codes * headDim) + n % headDim;
    float2 header[8];
#pragma unroll
    for (int j = 0; j < 8; j++) header[j] = unpack2<f16>(block[j * C::words]);
#pragma unroll
    for (int i = 0; i < C::codeWords / 4; i++) {
      const int w = 4 * i + lane / 8;
      uint32_t word[8];
#pragma unroll
      for (int j = 0; j < 8; j++) word[j] = block[j * C::words + 1 + w];
#pragma unroll
      for (int high = 0; high < 1 + C::narrow; high++) {
        Eight<T> row[4];
#pragma unroll
        for (int j = 0; j < 8; j++) {
          float x[4];
          numbers(x, word[j], high, header[j]);
#pragma unroll
          for (int t = 0; t < 4; t++) row[t].v[j] = x[t];
        }
        T* to = out + (4 * w + high * C::codes / 2) * headDim;
#pragma unroll
        for (int t = 0; t < 4; t++) row[t].store(to + t * headDim);
      }
    }
  }

  // values: a lane has two words of a block, whose codes are 8 neighbours (and 8
  // more where codes share bytes).
  __device__ __forceinline__ static void values(T* out, const uint32_t* shared, unsigned first, int blocks) {
    constexpr int pairs = C::codeWords / 2;
#pragma unroll 4
    for (int i = threadIdx.x; i < blocks * pairs; i += codeThreads) {
      const int b = i / pairs, w = i % pairs * 2;
      const uint32_t* block = shared + b / 8 * run + b % 8 * C::words;
      const float2 header = unpack2<f16>(block[0]);
#pragma unroll
      for (int high = 0; high < 1 + C::narrow; high++) {
        Eight<T> e;
#pragma unroll
        for (int half = 0; half < 2; half++) {
          float x[4];
          numbers(x, block[1 + w + half], high, header);
#pragma unroll
          for (int j = 0; j < 4; j++) e.v[4 * half + j] = x[j];
        }
        e.store(out + static_cast<i64>(first + b) * C::codes + 4 * w + high * C::codes / 2);
      }
    }
  }
};

template <typename T, typename C>
__device__ __forceinline__ void dequantiseKV(T* outK, T* outV, i64 outHeadStride, const uint8_t* k, const uint8_t* v, i64 headBytes,
                                             i64 records, int headDim) {
  using D = Decoder<T, C>;
  __shared__ __align__(16) uint32_t shared[D::runs * D::run];
  const bool value = blockIdx.z;
  const i64 head = blockIdx.y;
  const unsigned first = blockIdx.x * decodedBlocks, all = static_cast<unsigned>(records) * headDim;
  const int blocks = min(all - first, static_cast<unsigned>(decodedBlocks));
  const uint8_t* from = (value ? v : k) + head * headBytes + static_cast<i64>(first) * (C::words * 4);
  D::load(shared, reinterpret_cast<const uint32_t*>(from), blocks);
  if (value) {
    D::values(outV + head * outHeadStride, shared, first, blocks);
  } else {
    D::keys(outK + head * outHeadStride, shared, first, blocks, headDim);
  }
}

constexpr int encodedBlocks = codeThreads; // a thread encodes one

// Pieces are runs of keys and values, one after another.
template <typename T> struct Pieces {
  const T* k[4];
  const T* v[4];
  i64 tokens[4], headStride[4];

  // at is where a token of a head lies.
  __device__ __forceinline__ const T* at(bool value, i64 head, i64 token, int headDim) const {
    const T* p = nullptr;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (token >= 0 && token < tokens[i]) p = (value ? v[i] : k[i]) + head * headStride[i] + token * headDim;
      token -= tokens[i];
    }
    return p;
  }
};

// half16 rounds to f16, and to the largest beyond it.
__device__ __forceinline__ f16 half16(float x) { return __float2half_rn(fminf(fmaxf(x, -65504.f), 65504.f)); }

template <typename T, typename C> struct Encoder {
  // A thread walks a block of values in one row, or one of keys down a column:
  // two elements after each C::codes, a block of values, put either walk's
  // neighbours in different banks.
  static constexpr int elements = encodedBlocks * (C::codes + 2);
  __device__ __forceinline__ static unsigned padded(unsigned e) { return e + e / C::codes * 2; }

  // load copies the elements of `blocks` blocks, from the given one of a record on, by rows.
  __device__ __forceinline__ static void load(T* shared, const Pieces<T>& p, bool value, i64 head, i64 token, int first, int blocks,
                                              int headDim) {
    const unsigned width = value ? headDim : blocks; // of a row
#pragma unroll 4
    for (int i = threadIdx.x; i < blocks * (C::codes / 8); i += codeThreads) {
      const unsigned e = 8 * i + (value ? first * C::codes : 0);
      const unsigned row = e / width, channel = e % width + (value ? 0 : first);
      const uint4 x = *reinterpret_cast<const uint4*>(p.at(value, head, token + row, headDim) + channel);
      uint32_t* to = reinterpret_cast<uint32_t*>(shared + padded(8 * i));
      to[0] = x.x;
      to[1] = x.y;
      to[2] = x.z;
      to[3] = x.w;
    }
  }

  // encode writes the block whose elements are step apart. Its operations are
  // rounded one by one, so that what a compiler fuses does not show in the bytes.
  __device__ __forceinline__ static void encode(uint32_t* block, const T* shared, int from, int step) {
    auto element = [&](int i) { return toFloat(shared[padded(from + i * step)]); };
    float least = element(0), largest = least;
#pragma unroll 8
    for (int i = 1; i < C::codes; i++) {
      const float x = element(i);
      least = fminf(least, x);
      largest = fmaxf(largest, x);
    }
    const f16 least16 = half16(least);
    least = __half2float(least16);
    const f16 scale16 = half16(__fdiv_rn(fmaxf(__fsub_rn(largest, least), 0.f), C::most));
    const float scale = __half2float(scale16), inverse = scale > 0 ? __frcp_rn(scale) : 0.f;
    block[0] = static_cast<uint32_t>(__half_as_ushort(scale16)) | static_cast<uint32_t>(__half_as_ushort(least16)) << 16;
    auto code = [&](int i) {
      const float x = __fadd_rn(__fmul_rn(__fsub_rn(element(i), least), inverse), 0.5f);
      return static_cast<uint32_t>(fminf(fmaxf(x, 0.f), C::most));
    };
#pragma unroll 2
    for (int w = 0; w < C::codeWords; w++) {
      uint32_t word = 0;
#pragma unroll
      for (int i = 0; i < 4; i++) {
        word |= code(4 * w + i) << 8 * i;
        if (C::narrow) word |= code(4 * w + i + C::codes / 2) << (8 * i + 4);
      }
      block[1 + w] = word;
    }
  }
};

template <typename T, typename C>
__device__ __forceinline__ void quantiseKV(uint8_t* outK, uint8_t* outV, i64 headBytes, int headDim, const Pieces<T>& p) {
  using E = Encoder<T, C>;
  __shared__ __align__(16) T plain[E::elements];
  __shared__ uint32_t coded[encodedBlocks * C::words];
  const bool value = blockIdx.z & 1;
  const int first = blockIdx.z / 2 * encodedBlocks, blocks = min(encodedBlocks, headDim - first);
  const i64 record = blockIdx.x, head = blockIdx.y;
  E::load(plain, p, value, head, record * C::codes, first, blocks, headDim);
  __syncthreads();
  const int b = threadIdx.x;
  if (b < blocks) E::encode(coded + b * C::words, plain, value ? b * C::codes : b, value ? 1 : blocks);
  __syncthreads();
  uint8_t* out = (value ? outV : outK) + head * headBytes + (record * headDim + first) * (C::words * 4);
  for (int i = threadIdx.x; i < blocks * C::words; i += codeThreads) reinterpret_cast<uint32_t*>(out)[i] = coded[i];
}

#define KV_CODE(T, NAME, CODE, ...)                                                                                         \
  extern "C" __global__ void __launch_bounds__(codeThreads) dequantise_kv_##NAME##_##CODE(                                  \
      T* outK, T* outV, i64 outHeadStride, const uint8_t* k, const uint8_t* v, i64 headBytes, i64 records, i64 headDim) {   \
    dequantiseKV<T, Code<__VA_ARGS__>>(outK, outV, outHeadStride, k, v, headBytes, records, static_cast<int>(headDim));     \
  }                                                                                                                         \
  extern "C" __global__ void __launch_bounds__(codeThreads) quantise_kv_##NAME##_##CODE(                                    \
      uint8_t* outK, uint8_t* outV, i64 headBytes, i64 headDim, i64 pieces, const T* k0, const T* v0, i64 tokens0,          \
      i64 headStride0, const T* k1, const T* v1, i64 tokens1, i64 headStride1, const T* k2, const T* v2, i64 tokens2,       \
      i64 headStride2, const T* k3, const T* v3, i64 tokens3, i64 headStride3) {                                            \
    const Pieces<T> p = {{k0, k1, k2, k3}, {v0, v1, v2, v3},                                                                \
                         {tokens0, pieces > 1 ? tokens1 : 0, pieces > 2 ? tokens2 : 0, pieces > 3 ? tokens3 : 0},           \
                         {headStride0, headStride1, headStride2, headStride3}};                                             \
    quantiseKV<T, Code<__VA_ARGS__>>(outK, outV, headBytes, static_cast<int>(headDim), p);                                  \
  }
#define KV_CODES(T, NAME)               \
  KV_CODE(T, NAME, int8_32, 32, false)  \
  KV_CODE(T, NAME, int8_64, 64, false)  \
  KV_CODE(T, NAME, int4_32, 32, true)   \
  KV_CODE(T, NAME, int4_64, 64, true)
KV_CODES(bf16, bf16)
KV_CODES(f16, f16)
