// Many small copies within the device in one launch: each by itself would cost
// as much as a launch.
#include "common.cuh"

struct ScatterPiece {
  uint8_t* to;
  i64 toStep;
  const uint8_t* from;
  i64 fromStep;
};

template <typename Word> __device__ __forceinline__ void scatterRows(const ScatterPiece& p, i64 rows, i64 rowBytes) {
  const i64 words = rowBytes / static_cast<i64>(sizeof(Word)), all = rows * words;
  for (i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x; i < all; i += static_cast<i64>(gridDim.x) * blockDim.x) {
    const i64 row = i / words, word = i % words;
    reinterpret_cast<Word*>(p.to + row * p.toStep)[word] = reinterpret_cast<const Word*>(p.from + row * p.fromStep)[word];
  }
}

#define SCATTER_PARAMETERS(I) uint8_t *to##I, i64 toStep##I, const uint8_t *from##I, i64 fromStep##I
#define SCATTER_PIECE(I) ScatterPiece{to##I, toStep##I, from##I, fromStep##I}
#define SCATTER_CHOOSE(I) \
  if (blockIdx.y == I) p = SCATTER_PIECE(I);

// Steps are bytes between the starts of two rows. The grid's y is the pieces.
extern "C" __global__ void __launch_bounds__(128)
    scatter(i64 rows, i64 rowBytes, SCATTER_PARAMETERS(0), SCATTER_PARAMETERS(1), SCATTER_PARAMETERS(2), SCATTER_PARAMETERS(3),
            SCATTER_PARAMETERS(4), SCATTER_PARAMETERS(5), SCATTER_PARAMETERS(6), SCATTER_PARAMETERS(7), SCATTER_PARAMETERS(8),
            SCATTER_PARAMETERS(9), SCATTER_PARAMETERS(10), SCATTER_PARAMETERS(11), SCATTER_PARAMETERS(12), SCATTER_PARAMETERS(13),
            SCATTER_PARAMETERS(14)) {
  ScatterPiece p = SCATTER_PIECE(0);
  SCATTER_CHOOSE(1) SCATTER_CHOOSE(2) SCATTER_CHOOSE(3) SCATTER_CHOOSE(4) SCATTER_CHOOSE(5) SCATTER_CHOOSE(6) SCATTER_CHOOSE(7)
  SCATTER_CHOOSE(8) SCATTER_CHOOSE(9) SCATTER_CHOOSE(10) SCATTER_CHOOSE(11) SCATTER_CHOOSE(12) SCATTER_CHOOSE(13) SCATTER_CHOOSE(14)
  const uintptr_t all = reinterpret_cast<uintptr_t>(p.to) | reinterpret_cast<uintptr_t>(p.from) | p.toStep | p.fromStep | rowBytes;
  if (all % 16 == 0) {
    scatterRows<uint4>(p, rows, rowBytes);
  } else if (all % 4 == 0) {
    scatterRows<uint32_t>(p, rows, rowBytes);
  } else {
    scatterRows<uint8_t>(p, rows, rowBytes);
  }
}
