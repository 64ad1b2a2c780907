// What each key has received of attention that has been computed: the sum over
// queries of exp(scale * q·k - LSE) (H2O, Zhang et al. 2023).
//
// A block takes 64 keys of one KV head, 16 a warp, which stay in registers, and
// every row that sees any of them, a row being a pair of a query token and one
// of the KV head's query heads, tokens first. So a key's sum is one lane's
// from the first row to the last, in an order that does not change.

#include "attention.cuh"

template <int D> struct MassShape {
  static constexpr int threads = 128, keys = 64;
  static constexpr int rows = D > 128 ? 32 : 64; // a tile of rows, of which two are in shared memory
};

// Mass is for heads of D elements, or fewer, which are filled up with zeros.
template <typename T, int D> struct Mass {
  using Shape = MassShape<D>;
  static constexpr int M = Shape::rows, threads = Shape::threads;

  uint32_t k[D / 16][4]; // keys g and g+8 of the warp's 16
  float sum[2];          // of those keys, over this lane's rows alone

  __device__ __forceinline__ void loadKeys(const T* from, int length, int headDim) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int key = warp * 16 + half * 8 + lane / 4;
      const T* p = from + static_cast<i64>(key) * headDim;
#pragma unroll
      for (int d = 0; d < D / 16; d++) {
#pragma unroll
        for (int right = 0; right < 2; right++) {
          const int column = d * 16 + right * 8 + lane % 4 * 2;
          k[d][half + 2 * right] = key < length && column < headDim ? *reinterpret_cast<const uint32_t*>(p + column) : 0;
        }
      }
    }
  }

  // copyRows starts copying a tile's queries and log-sum-exps; past the last row are zeros.
  __device__ __forceinline__ static void copyRows(const AttentionArgs<T>& a, uint32_t queries, uint32_t lses, int m0, i64 kvHead,
                                                  int headDim) {
    constexpr int chunks = D / 8;
    const int packed = a.rows * a.group;
#pragma unroll
    for (int i = 0; i < M * chunks / threads; i++) {
      const int at = i * threads + threadIdx.x, row = at / chunks, c = at % chunks, m = m0 + row;
      const bool valid = m < packed && c * 8 < headDim;
      const T* from = a.q;
      if (valid) from += m / a.group * a.qStride + (kvHead * a.group + m % a.group) * headDim + c * 8;
      copy16(queries + chunkOffset<D>(row, c), from, valid);
    }
    if (threadIdx.x < M) {
      const int m = m0 + threadIdx.x;
      const bool valid = m < packed;
      copy4(lses + threadIdx.x * 4, valid ? a.lse + (kvHead * a.group + m % a.group) * a.lseStride + m / a.group : a.lse, valid);
    }
    commitCopies();
  }

  // add adds a tile of rows; unless all says that each of them is there and sees
  // all of the keys, it looks which do.
  __device__ __forceinline__ void add(const AttentionArgs<T>& a, uint32_t queries, const float* lses, int m0, int position, bool all) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, packed = a.rows * a.group;
    const float scale2 = a.scale * log2e;
    const int qRow = (lane & 7) + (lane >> 4) * 8;
    const uint32_t qBase = queries + qRow * D * 2, qChunk = ((lane >> 3 & 1) ^ swizzle<D>(qRow)) << 4;
    float part[2] = {0, 0};
#pragma unroll
    for (int n = 0; n < M / 16; n++) {
      float s[2][4] = {};
#pragma unroll
      for (int d = 0; d < D / 16; d++) {
        uint32_t b[4];
        ldmatrix4(b, qBase + n * 16 * D * 2 + (qChunk ^ d << 5));
        mma<T>(s[0], k[d], b[0], b[1]);
        mma<T>(s[1], k[d], b[2], b[3]);
      }
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int row = n * 16 + i / 2 * 8 + lane % 4 * 2 + i % 2;
        const float lse2 = lses[row] * log2e;
        const int m = m0 + row, key = position + warp * 16 + lane / 4;
        const int visible = all ? key + 9 : m < packed ? a.visible(m / a.group) : 0;
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const float weight = exp2Fast(s[i / 2][half * 2 + i % 2] * scale2 - lse2);
          part[half] += key + half * 8 < visible ? weight : 0.f;
        }
      }
    }
    sum[0] += part[0];
    sum[1] += part[1];
  }

  __device__ __forceinline__ void run(const AttentionArgs<T>& a, int headDim) {
    __shared__ __align__(128) uint8_t queries[2][M * D * 2];
    __shared__ float lses[2][M];
    const i64 kvHead = blockIdx.y;
    const Walk<T, Shape::keys, D> tile(a, kvHead, blockIdx.x);
    const int length = tile.length(), position = tile.position(), packed = a.rows * a.group;
    loadKeys(tile.k + static_cast<i64>(tile.start) * headDim, length, headDim);
    sum[0] = sum[1] = 0;
    // The rows of tokens before this one see none of these keys.
    const int first = a.flags & causalFlag ? max(0, position + a.rows - a.keys()) * a.group : 0;
    auto copy = [&](int m0, int buffer) {
      copyRows(a, static_cast<uint32_t>(__cvta_generic_to_shared(queries[buffer])),
               static_cast<uint32_t>(__cvta_generic_to_shared(lses[buffer])), m0, kvHead, headDim);
    };
    copy(first, 0);
    for (int m0 = first, buffer = 0; m0 < packed; m0 += M, buffer ^= 1) {
      waitCopies<0>();
      __syncthreads(); // this tile is there, and no warp reads the one before any more
      if (m0 + M < packed) copy(m0 + M, buffer ^ 1);
      add(a, static_cast<uint32_t>(__cvta_generic_to_shared(queries[buffer])), lses[buffer], m0, position,
          m0 + M <= packed && a.visible(m0 / a.group) >= position + length);
    }
    store(a, position, length, kvHead);
  }

  __device__ __forceinline__ void store(const AttentionArgs<T>& a, int position, int length, i64 kvHead) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float* mass = static_cast<float*>(a.out) + kvHead * a.outStride + position;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float total = sum[half];
      total += __shfl_xor_sync(wholeWarp, total, 1);
      total += __shfl_xor_sync(wholeWarp, total, 2);
      const int key = warp * 16 + half * 8 + lane / 4;
      if (lane % 4 == 0 && key < length) mass[key] += total;
    }
  }
};

#define ATTENTION_MASS(T, NAME, D)                                                                                  \
  extern "C" __global__ void __launch_bounds__(MassShape<D>::threads)                                               \
      attention_mass_##NAME##_hd##D(ATTENTION_PARAMETERS(T), i64 headDim) {                                         \
    Mass<T, D> m;                                                                                                   \
    m.run(ATTENTION_STRUCT(T, 0, 0), static_cast<int>(headDim));                                                    \
  }
#define ATTENTION_MASSES(T, NAME) \
  ATTENTION_MASS(T, NAME, 64)     \
  ATTENTION_MASS(T, NAME, 128)    \
  ATTENTION_MASS(T, NAME, 256)
ATTENTION_MASSES(bf16, bf16)
ATTENTION_MASSES(f16, f16)
