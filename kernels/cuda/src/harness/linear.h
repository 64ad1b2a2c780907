// How linear layers for few rows are launched.
#pragma once

#include "encodings.h"

// Operand is one of the weights of a launch, [out, in]; stride in elements.
struct Operand {
  uint64_t at;
  int64_t stride;
  int out;
};

// Rows are some rows of a matrix on the device; stride in elements.
struct Rows {
  uint64_t at;
  int64_t stride;
};

// repeatedWeight is a weight [out, in] of 16 random rows over and over: random bytes would hold scales that are not numbers,
// and so many rows take the host long. out is a multiple of 16.
std::shared_ptr<Memory> repeatedWeight(Rng& r, Encoding e, int in, int out);

constexpr int gemvAdd = 1, gemvFloat = 2;

// gemv launches the kernel for up to three weights of one encoding, plainly or so that it may begin early.
void gemv(Type t, Encoding e, Rows y, Rows x, int rows, int in, const std::vector<Operand>& weights, int flags, bool early);
