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

constexpr int gemvAdd = 1, gemvFloat = 2;

// gemv launches the kernel for up to three weights of one encoding, plainly or so that it may begin early.
void gemv(Type t, Encoding e, Rows y, Rows x, int rows, int in, const std::vector<Operand>& weights, int flags, bool early);
