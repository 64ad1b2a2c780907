// What the attention kernels share: the walk over pieces of keys, and the
// online softmax in powers of two (Dao 2023, "FlashAttention-2", section 3.1).
#pragma once

#include "mma.cuh"

constexpr i64 causalFlag = 1, mergeFlag = 2, floatOutFlag = 4;
constexpr int maxPieces = 4;
constexpr float log2e = 1.4426950408889634f, ln2 = 0.6931471805599453f;

__device__ __forceinline__ float minusInfinity() { return __int_as_float(0xff800000); }

// ATTENTION_PARAMETERS are the words of README's "A", and ATTENTION_STRUCT is what they come to with a window and a cap. Where
// these are the constant 0, nothing of them is compiled.
#define ATTENTION_PARAMETERS(T)                                                                                            \
  const T *q, i64 qStride, void *out, i64 outStride, float *lse, i64 lseStride, i64 rows, i64 group, double scale, i64 flags, \
      i64 pieces, const T *k0, const T *v0, i64 tokens0, i64 headStride0, const T *k1, const T *v1, i64 tokens1,           \
      i64 headStride1, const T *k2, const T *v2, i64 tokens2, i64 headStride2, const T *k3, const T *v3, i64 tokens3,      \
      i64 headStride3
#define ATTENTION_STRUCT(T, WINDOW, CAP)                                                                             \
  AttentionArgs<T> {                                                                                                 \
    q, qStride, out, outStride, lse, lseStride, static_cast<int>(rows), static_cast<int>(group),                     \
        static_cast<float>(scale), static_cast<int>(flags), {k0, k1, k2, k3}, {v0, v1, v2, v3},                      \
        {pieces > 0 ? static_cast<int>(tokens0) : 0, pieces > 1 ? static_cast<int>(tokens1) : 0,                     \
         pieces > 2 ? static_cast<int>(tokens2) : 0, pieces > 3 ? static_cast<int>(tokens3) : 0},                    \
        {headStride0, headStride1, headStride2, headStride3}, static_cast<int>(WINDOW), static_cast<float>(CAP)      \
  }

template <typename T> struct AttentionArgs {
  const T* q;
  i64 qStride;
  void* out;
  i64 outStride;
  float* lse;
  i64 lseStride;
  int rows, group;
  float scale;
  int flags;
  const T* k[maxPieces];
  const T* v[maxPieces];
  int tokens[maxPieces];
  i64 headStride[maxPieces];
  int window; // 0: none
  float cap;  // 0: none

  __device__ __forceinline__ int keys() const { return tokens[0] + tokens[1] + tokens[2] + tokens[3]; }
  // visible is how many of the first keys a row may see, at least 0.
  __device__ __forceinline__ int visible(int row) const {
    return flags & causalFlag ? max(0, keys() - rows + row + 1) : keys();
  }
  // hidden is how many of these lie before its window.
  __device__ __forceinline__ int hidden(int row) const { return window != 0 ? max(0, visible(row) - window) : 0; }

  // A product q·k is weighed as it is, and times unit it is a score; under a cap what is weighed is the score.
  __device__ __forceinline__ float unit() const { return cap != 0 ? 1.f : scale; }
  // slope is bound's factor for the exponent.
  __device__ __forceinline__ float slope() const { return cap != 0 ? 2 * log2e * scale / cap : 0.f; }
  // bound is cap * tanh(scale * product / cap). tanh.approx is off by 2^-11 of the cap, this by some 2^-22.
  __device__ __forceinline__ float bound(float product, float slope) const {
    return cap - 2 * cap * reciprocalFast(1 + exp2Fast(product * slope));
  }
};

// select picks an element without indexing memory by a run-time number.
template <typename V> __device__ __forceinline__ V select(const V (&of)[maxPieces], int i) {
  return i == 0 ? of[0] : i == 1 ? of[1] : i == 2 ? of[2] : of[3];
}

// Walk visits the keys in tiles of N; a tile lies in one piece, so the last one
// of a piece may be short.
template <typename T, int N, int HeadDim> struct Walk {
  const AttentionArgs<T>& a;
  i64 head;
  int piece;      // the piece of this tile
  int start;      // the tile's first key in its piece
  int before;     // keys of the pieces before this one
  const T *k, *v; // the piece's keys and values of this head

  // tiles counts the tiles that hold any of the first keys.
  __device__ __forceinline__ static int tiles(const AttentionArgs<T>& a, int keys) {
    int n = 0;
#pragma unroll
    for (int p = 0; p < maxPieces; p++) {
      const int here = min(keys, a.tokens[p]);
      n += (here + N - 1) / N;
      keys -= here;
    }
    return n;
  }

  // tileOf is the index of the tile with a key.
  __device__ __forceinline__ static int tileOf(const AttentionArgs<T>& a, int key) { return max(0, tiles(a, key + 1) - 1); }

  // The walk begins at the tile with this index.
  __device__ __forceinline__ Walk(const AttentionArgs<T>& args, i64 kvHead, int tile) : a(args), head(kvHead), piece(0), start(0), before(0) {
    for (; piece < maxPieces - 1; piece++) {
      const int tokens = select(a.tokens, piece), here = (tokens + N - 1) / N;
      if (tile < here) break;
      tile -= here;
      before += tokens;
    }
    start = tile * N;
    enter();
  }

  __device__ __forceinline__ void enter() {
    const i64 from = head * select(a.headStride, piece);
    k = select(a.k, piece) + from;
    v = select(a.v, piece) + from;
  }
  // length is how many keys the tile has, position the index of its first key in the whole sequence.
  __device__ __forceinline__ int length() const { return min(N, select(a.tokens, piece) - start); }
  __device__ __forceinline__ int position() const { return before + start; }
  __device__ __forceinline__ void next() {
    start += N;
    while (piece < maxPieces - 1 && start >= select(a.tokens, piece)) {
      before += select(a.tokens, piece);
      piece++;
      start = 0;
      enter();
    }
  }

  // skip moves on by some tiles.
  __device__ __forceinline__ void skip(int tiles) {
    start += tiles * N;
    while (piece < maxPieces - 1 && start >= select(a.tokens, piece)) {
      const int tokens = select(a.tokens, piece);
      start -= (tokens + N - 1) / N * N;
      before += tokens;
      piece++;
      enter();
    }
  }
};

// storePair writes one row's pair of outputs; weights are what the old and the new partial result count for.
template <typename T> __device__ __forceinline__ void storePair(void* out, i64 at, float2 value, float oldWeight, float weight, int flags) {
  value.x *= weight;
  value.y *= weight;
  if (flags & floatOutFlag) {
    float2* p = reinterpret_cast<float2*>(static_cast<float*>(out) + at);
    if ((flags & mergeFlag) && oldWeight != 0) {
      const float2 old = *p;
      value = make_float2(value.x + old.x * oldWeight, value.y + old.y * oldWeight);
    }
    *p = value;
    return;
  }
  uint32_t* p = reinterpret_cast<uint32_t*>(static_cast<T*>(out) + at);
  if ((flags & mergeFlag) && oldWeight != 0) {
    const float2 old = unpack2<T>(*p);
    value = make_float2(value.x + old.x * oldWeight, value.y + old.y * oldWeight);
  }
  *p = pack2<T>(value.x, value.y);
}

// Joined is how two partial results of a row are folded into one.
struct Joined {
  float lse, first, second; // the new log-sum-exp, and the shares of the two
};

__device__ __forceinline__ Joined join(float lse1, float lse2) {
  const float top = fmaxf(lse1, lse2);
  if (top == minusInfinity()) return {top, 0, 0};
  const float e1 = expf(lse1 - top), e2 = expf(lse2 - top), sum = e1 + e2;
  return {top + logf(sum), e1 / sum, e2 / sum};
}
