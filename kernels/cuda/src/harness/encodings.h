// Random rows of every weight encoding, and what they stand for.
#pragma once

#include "harness.h"

enum Encoding { W_BF16, W_F16, W_F32, W_Q8_0, W_Q4_0, W_Q4_1, W_Q5_0, W_Q5_1 };
constexpr Encoding encodings[] = {W_BF16, W_F16, W_F32, W_Q8_0, W_Q4_0, W_Q4_1, W_Q5_0, W_Q5_1};

const char* name(Encoding e);
bool quantised(Encoding e);
double bytesPerElement(Encoding e);

// Weights are encoded rows on the device.
struct Weights {
  Encoding encoding;
  int64_t rows, cols, stride; // stride in elements
  std::shared_ptr<Memory> memory;
  std::vector<double> v;
};

// randomWeights makes rows with a gap after each; cols and gap are whole blocks.
Weights randomWeights(Rng& r, Encoding e, int64_t rows, int64_t cols, int64_t gap);
