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

constexpr int scatterPieces = 64;

struct ScatterList {
  i64 rows, rowBytes;
  ScatterPiece piece[scatterPieces];
};

// Steps are bytes between the starts of two rows. The grid's y is the pieces.
extern "C" __global__ void __launch_bounds__(128) scatter(const __grid_constant__ ScatterList list) {
  admitNext();
  awaitEarlier();
  const ScatterPiece p = list.piece[blockIdx.y];
  const i64 rows = list.rows, rowBytes = list.rowBytes;
  const uintptr_t all = reinterpret_cast<uintptr_t>(p.to) | reinterpret_cast<uintptr_t>(p.from) | p.toStep | p.fromStep | rowBytes;
  if (all % 16 == 0) {
    scatterRows<uint4>(p, rows, rowBytes);
  } else if (all % 4 == 0) {
    scatterRows<uint32_t>(p, rows, rowBytes);
  } else {
    scatterRows<uint8_t>(p, rows, rowBytes);
  }
}
