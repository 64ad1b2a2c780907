// Prefill attention for compute capability 9.0a: FlashAttention-3 (Shah et al.
// 2024, sections 3.1 and 3.2), with the blocks of a cluster sharing what they
// read.
//
// Rows are packed as in attention_prefill.cuh. The two blocks of a cluster have
// neighbouring rows and go through the same tiles of keys and values. One thread
// of each copies a half of every tile to the shared memory of both, into rings;
// so a tile leaves the L2 cache once for both, whose bandwidth is what
// multiprocessors would wait for. Each of the other warpgroups owns 64 rows for
// good. A consumer starts the scores of the next tile before it weighs the values
// of this one, and turns scores into weights while the other consumers' products
// run: they start products in turns.
#pragma once

#include "attention.cuh"
#include "attention_hopper_ptx.cuh"

template <int HeadDim> struct HopperShape;
template <> struct HopperShape<128> {
  static constexpr int consumers = 2, stages = 2;
  static constexpr int producerRegisters = 24, consumerRegisters = 240;
};
template <> struct HopperShape<64> {
  static constexpr int consumers = 3, stages = 3;
  static constexpr int producerRegisters = 32, consumerRegisters = 160;
};

// HopperMaps are the pieces' keys and values as tensors [head, token, column], in boxes of a part, below.
struct HopperMaps {
  TensorMap k[maxPieces], v[maxPieces];
};

template <int D> struct Hopper {
  using Shape = HopperShape<D>;
  static constexpr int consumers = Shape::consumers, stages = Shape::stages;
  static constexpr int threads = (consumers + 1) * warpgroupThreads;
  static constexpr int M = consumers * 64, N = 128;
  using Keys = Walk<bf16, N, D>;

  // Shared memory: the consumers' queries, the two rings, and their barriers. Matrices lie in halves of 64 columns.
  static constexpr uint32_t queryBytes = 64 * D * 2, tileBytes = N * D * 2;
  static constexpr uint32_t queryHalf = 64 * atomRowBytes, tileHalf = N * atomRowBytes;
  static constexpr uint32_t keysAt = consumers * queryBytes, valuesAt = keysAt + stages * tileBytes;
  static constexpr uint32_t barriersAt = valuesAt + stages * tileBytes;
  // Shared memory need not begin at an atom's boundary.
  static constexpr uint32_t sharedBytes = atomBytes + barriersAt + 4 * stages * 8;

  // A block copies its part of a tile, a half of 64 columns or, if there is one only, half of the tokens.
  static constexpr int blocks = 2;
  static constexpr uint32_t partBytes = tileBytes / blocks;
  static constexpr int partRows = D == 64 ? N / blocks : 0, partColumns = D == 64 ? 0 : 64; // from one part to the next

  // Named barriers: 0 is __syncthreads; then a consumer's turn, and its queries being there.
  static constexpr int turnBarrier = 1, queriesBarrier = turnBarrier + consumers;

  // A thread copies the same chunk of every copyRows-th row of its warpgroup's queries.
  static constexpr int chunks = D / 8, copyRows = warpgroupThreads / chunks;

  // Ring is a place in one of the two rings of tiles, with a barrier for each
  // stage being full and one for it being empty.
  struct Ring {
    uint32_t tiles, full;
    int stage;
    uint32_t parity;

    __device__ __forceinline__ Ring(uint32_t shared, int which)
        : tiles(shared + (which ? valuesAt : keysAt)), full(shared + barriersAt + which * 2 * stages * 8), stage(0), parity(0) {}
    __device__ __forceinline__ uint32_t tile() const { return tiles + stage * tileBytes; }
    __device__ __forceinline__ uint32_t fullBarrier() const { return full + stage * 8; }
    __device__ __forceinline__ uint32_t emptyBarrier() const { return full + (stages + stage) * 8; }
    __device__ __forceinline__ void next() {
      if (++stage == stages) {
        stage = 0;
        parity ^= 1;
      }
    }
  };

  __device__ __forceinline__ static void initBarriers(uint32_t shared) {
#pragma unroll
    for (int which = 0; which < 2; which++) {
      Ring ring(shared, which);
      for (; ring.parity == 0; ring.next()) {
        barrierInit(ring.fullBarrier(), 1);
        barrierInit(ring.emptyBarrier(), blocks * consumers * warpgroupThreads / warpSize32);
      }
    }
  }

  // chunkAt is the place of this thread's first chunk in a matrix with halves so many bytes apart.
  __device__ __forceinline__ static uint32_t chunkAt(uint32_t half) {
    const int thread = threadIdx.x % warpgroupThreads, row = thread / chunks, c = thread % chunks;
    return c / 8 * half + row * atomRowBytes + ((c % 8 ^ row % 8) << 4);
  }

  // fill starts to copy this block's part of a tile once the ring's stage is empty in all blocks; rows past the piece's end become zeros.
  __device__ __forceinline__ static void fill(Ring& ring, const TensorMap& map, int start, int kvHead, int block) {
    barrierWait(ring.emptyBarrier(), ring.parity ^ 1);
    barrierExpect(ring.fullBarrier(), tileBytes);
    copyBox(ring.tile() + block * partBytes, map, block * partColumns, start + block * partRows, kvHead, ring.fullBarrier(), (1 << blocks) - 1);
    ring.next();
  }

  // produce copies keys one tile ahead of values, in the order in which consumers want them.
  __device__ __forceinline__ static void produce(const AttentionArgs<bf16>& a, const HopperMaps& maps, uint32_t shared, int kvHead, int tiles) {
    Ring keys(shared, 0), values(shared, 1);
    Keys walk(a, kvHead, 0);
    const int block = blockOfCluster();
    fill(keys, maps.k[walk.piece], walk.start, kvHead, block);
    for (int t = 0; t < tiles; t++) {
      const int piece = walk.piece, start = walk.start;
      if (t + 1 < tiles) {
        walk.next();
        fill(keys, maps.k[walk.piece], walk.start, kvHead, block);
      }
      fill(values, maps.v[piece], start, kvHead, block);
    }
  }

  // What a consumer holds of its 64 rows.
  float o[D / 2];
  float s[N / 2];
  uint32_t p[N / 4];        // weights, as A operands
  float top[2], sum[2];     // of two rows; sum is of this lane's columns alone
  float shrink[2];          // what the last tile's new tops make of earlier weights
  int end[2];               // how many keys the rows see

  __device__ __forceinline__ static int lowerRow(int half) { return threadIdx.x % warpgroupThreads / 32 * 16 + half * 8 + threadIdx.x % 32 / 4; }

  __device__ __forceinline__ static void copyQueries(const AttentionArgs<bf16>& a, uint32_t queries, int m0, i64 kvHead) {
    const int thread = threadIdx.x % warpgroupThreads, c = thread % chunks, packed = a.rows * a.group;
    const uint32_t to = queries + chunkAt(queryHalf);
#pragma unroll
    for (int i = 0; i < 64 / copyRows; i++) {
      const int m = m0 + thread / chunks + i * copyRows;
      const bool valid = m < packed;
      const bf16* from = a.q;
      if (valid) from += m / a.group * a.qStride + (kvHead * a.group + m % a.group) * D + c * 8;
      copy16(to + i * copyRows * atomRowBytes, from, valid);
    }
    commitCopies(); // only copies of a group can be waited for
    waitCopies<0>();
    publish();
  }

  // startScores starts the products of a tile of keys.
  __device__ __forceinline__ void startScores(uint32_t queries, const Ring& keys) {
    const uint64_t q = operand(queries, 0, atomBytes), k = operand(keys.tile(), 0, atomBytes);
    hold(s);
    beginProducts();
    multiply<false>(s, q, k);
#pragma unroll
    for (int d = 1; d < D / 16; d++) {
      const int half = d / 4, bytes = d % 4 * 32;
      multiply<true>(s, advanced(q, half * queryHalf + bytes), advanced(k, half * tileHalf + bytes));
    }
    endProducts();
    hold(s);
  }

  // startValues starts the products of the weights with a tile of values.
  __device__ __forceinline__ void startValues(const Ring& values) {
    const uint64_t v = operand(values.tile(), tileHalf, atomBytes);
    hold(o);
    hold(p);
    beginProducts();
#pragma unroll
    for (int n = 0; n < N / 16; n++) multiplyRows(o, p + 4 * n, advanced(v, n * 16 * atomRowBytes));
    endProducts();
    hold(o);
  }

  // hide masks what lies past the tile's end or a row's last visible key.
  __device__ __forceinline__ void hide(int position, int length) {
    const int first = threadIdx.x % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int past = min(length, end[half] - position) - first;
#pragma unroll
      for (int n = 0; n < N / 8; n++) {
        if (n * 8 >= past) s[n * 4 + half * 2] = minusInfinity();
        if (n * 8 + 1 >= past) s[n * 4 + half * 2 + 1] = minusInfinity();
      }
    }
  }

  // weigh turns scores into exp(score - top), and says how what was summed so far is brought to the new top.
  __device__ __forceinline__ void weigh(float scale2) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float t = top[half];
#pragma unroll
      for (int n = 0; n < N / 8; n++) t = fmaxf(t, fmaxf(s[n * 4 + half * 2], s[n * 4 + half * 2 + 1]));
      t = fmaxf(t, __shfl_xor_sync(wholeWarp, t, 1));
      t = fmaxf(t, __shfl_xor_sync(wholeWarp, t, 2));
      // A row that has seen no key yet has no finite top; any number serves.
      const float base = t == minusInfinity() ? 0.f : t * scale2;
      shrink[half] = exp2Fast(top[half] * scale2 - base);
      top[half] = t;
      float total = sum[half] * shrink[half];
#pragma unroll
      for (int n = 0; n < N / 8; n++) {
        float& x = s[n * 4 + half * 2];
        float& y = s[n * 4 + half * 2 + 1];
        x = exp2Fast(x * scale2 - base);
        y = exp2Fast(y * scale2 - base);
        total += x + y;
      }
      sum[half] = total;
    }
  }

  __device__ __forceinline__ void roundWeights() {
#pragma unroll
    for (int i = 0; i < N / 4; i++) p[i] = pack2<bf16>(s[2 * i], s[2 * i + 1]);
  }

  __device__ __forceinline__ void shrinkOutputs() {
    // After the first tiles a new top is rare, and a warp without one has nothing to bring along.
    if (!__any_sync(wholeWarp, shrink[0] != 1 || shrink[1] != 1)) return;
#pragma unroll
    for (int d = 0; d < D / 8; d++) {
      o[4 * d] *= shrink[0];
      o[4 * d + 1] *= shrink[0];
      o[4 * d + 2] *= shrink[1];
      o[4 * d + 3] *= shrink[1];
    }
  }

  // await waits until a ring's stage is full; leave tells the cluster's producers that this warp has done with it.
  __device__ __forceinline__ static void await(const Ring& ring) { barrierWait(ring.fullBarrier(), ring.parity); }
  __device__ __forceinline__ static void leave(Ring& ring) {
    if (threadIdx.x % warpSize32 < blocks) barrierArriveAt(ring.emptyBarrier(), threadIdx.x % warpSize32);
    ring.next();
  }

  // consume attends with the 64 rows from m0 on.
  __device__ __forceinline__ void consume(const AttentionArgs<bf16>& a, uint32_t shared, int consumer, int m0, i64 kvHead, int tiles) {
    const uint32_t queries = shared + consumer * queryBytes;
    const float scale2 = a.scale * log2e;
    const int seenByAll = a.visible(m0 / a.group);
#pragma unroll
    for (int half = 0; half < 2; half++) {
      top[half] = minusInfinity();
      sum[half] = 0;
      end[half] = a.visible((m0 + lowerRow(half)) / a.group);
    }
#pragma unroll
    for (int i = 0; i < D / 2; i++) o[i] = 0;
    if (tiles == 0) return;

    Ring keys(shared, 0), values(shared, 1);
    Keys walk(a, kvHead, 0);
    copyQueries(a, queries, m0, kvHead);
    meet(queriesBarrier + consumer, warpgroupThreads);
    const int turn = turnBarrier + consumer, nextTurn = turnBarrier + (consumer + 1) % consumers;
    if (consumer == consumers - 1) pass(nextTurn, 2 * warpgroupThreads);

    await(keys);
    startScores(queries, keys);
    waitProducts<0>();
    hold(s);
    leave(keys);
    if (walk.length() < N || N > seenByAll) hide(0, walk.length());
    weigh(scale2);
    roundWeights();
    if (tiles > 1) await(keys);
    for (int t = 1; t < tiles; t++) {
      walk.next();
      const int position = walk.position(), length = walk.length();
      meet(turn, 2 * warpgroupThreads);
      startScores(queries, keys);
      await(values);
      startValues(values);
      pass(nextTurn, 2 * warpgroupThreads);
      waitProducts<1>();
      hold(s);
      leave(keys);
      if (length < N || position + N > seenByAll) hide(position, length);
      weigh(scale2);
      hold(s);
      // Waiting here for the next keys also makes the compiler weigh before it waits for the values' products, not after.
      if (t + 1 < tiles) await(keys);
      waitProducts<0>();
      hold(o);
      leave(values);
      roundWeights();
      shrinkOutputs();
    }
    if (consumer == 0) meet(turn, 2 * warpgroupThreads); // the last pass
    await(values);
    startValues(values);
    waitProducts<0>();
    hold(o);
  }

  // storeRow writes a row's columns; weights are what the old and the new partial result count for.
  template <typename T> __device__ __forceinline__ void storeRow(T* out, int half, float oldWeight, float weight) {
    if (oldWeight != 0) {
      // All are asked for before the first is needed.
      float2 old[D / 8];
#pragma unroll
      for (int d = 0; d < D / 8; d++) old[d] = loadPair(out + d * 8);
#pragma unroll
      for (int d = 0; d < D / 8; d++) {
        o[4 * d + 2 * half] = o[4 * d + 2 * half] * weight + old[d].x * oldWeight;
        o[4 * d + 2 * half + 1] = o[4 * d + 2 * half + 1] * weight + old[d].y * oldWeight;
      }
      weight = 1;
    }
#pragma unroll
    for (int d = 0; d < D / 8; d++) setPair(out + d * 8, o[4 * d + 2 * half] * weight, o[4 * d + 2 * half + 1] * weight);
  }
  __device__ __forceinline__ static float2 loadPair(const float* p) { return *reinterpret_cast<const float2*>(p); }
  __device__ __forceinline__ static float2 loadPair(const bf16* p) { return unpack2<bf16>(*reinterpret_cast<const uint32_t*>(p)); }
  __device__ __forceinline__ static void setPair(float* p, float x, float y) { *reinterpret_cast<float2*>(p) = make_float2(x, y); }
  __device__ __forceinline__ static void setPair(bf16* p, float x, float y) { *reinterpret_cast<uint32_t*>(p) = pack2<bf16>(x, y); }

  __device__ __forceinline__ void store(const AttentionArgs<bf16>& a, int m0, i64 kvHead) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float total = sum[half];
      total += __shfl_xor_sync(wholeWarp, total, 1);
      total += __shfl_xor_sync(wholeWarp, total, 2);
      const int m = m0 + lowerRow(half), row = m / a.group;
      const bool stored = m < a.rows * a.group;
      const i64 head = kvHead * a.group + m % a.group;
      float* at = a.lse + head * a.lseStride + row;
      Joined joined = {total > 0 ? top[half] * a.scale + logf(total) : minusInfinity(), 0, 1};
      if ((a.flags & mergeFlag) && stored) joined = join(*at, joined.lse);
      __syncwarp(); // the four lanes of a row have read the old value
      if (!stored) continue;
      if (threadIdx.x % 4 == 0) *at = joined.lse;
      const float weight = total > 0 ? joined.second / total : 0;
      const i64 to = row * a.outStride + head * D + threadIdx.x % 4 * 2;
      if (a.flags & floatOutFlag) {
        storeRow(static_cast<float*>(a.out) + to, half, joined.first, weight);
      } else {
        storeRow(static_cast<bf16*>(a.out) + to, half, joined.first, weight);
      }
    }
  }

  __device__ __forceinline__ static void run(const AttentionArgs<bf16>& a, const HopperMaps& maps) {
    extern __shared__ __align__(1024) uint8_t memory[];
    const uint32_t shared = (static_cast<uint32_t>(__cvta_generic_to_shared(memory)) + atomBytes - 1) / atomBytes * atomBytes;
    // The last rows see the most keys: they go first, so that no multiprocessor is left with a long block at the end.
    const int m0 = (gridDim.x - 1 - blockIdx.x) * M, kvHead = blockIdx.y;
    // As many for all blocks of a cluster, the first of which has its last rows.
    const int last = (gridDim.x - blockIdx.x / blocks * blocks) * M - 1;
    const int tiles = Keys::tiles(a, a.visible(min(a.rows - 1, last / a.group)));
    if (threadIdx.x == 0) initBarriers(shared);
    meetCluster();

    // Told to the compiler as the same for a warp, since it decides which code a warp runs.
    const int warpgroup = __shfl_sync(wholeWarp, threadIdx.x / warpgroupThreads, 0);
    if (warpgroup == 0) {
      fewerRegisters<Shape::producerRegisters>();
      if (threadIdx.x == 0 && tiles > 0) produce(a, maps, shared, kvHead, tiles);
      __syncwarp();
    } else {
      moreRegisters<Shape::consumerRegisters>();
      Hopper rows;
      const int consumer = warpgroup - 1, first = m0 + consumer * 64;
      rows.consume(a, shared, consumer, first, kvHead, tiles);
      rows.store(a, first, kvHead);
      __syncwarp();
    }
    meetCluster(); // shared memory has to last as long as others copy into it and arrive at its barriers
  }
};

#define ATTENTION_HOPPER(D)                                                                                              \
  extern "C" __global__ void __cluster_dims__(Hopper<D>::blocks, 1, 1) __launch_bounds__(Hopper<D>::threads, 1)            \
      attention_hopper_bf16_hd##D(const __grid_constant__ HopperMaps maps, ATTENTION_PARAMETERS(bf16)) {                   \
    Hopper<D>::run(ATTENTION_STRUCT(bf16, 0, 0), maps);                                                                  \
  }
