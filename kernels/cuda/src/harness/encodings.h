// Random rows of every weight encoding, and what they stand for.
#pragma once

#include "harness.h"

enum Encoding { W_BF16, W_F16, W_F32, W_Q8_0, W_Q4_0, W_Q4_1, W_Q5_0, W_Q5_1, W_Q2_K, W_Q3_K, W_Q4_K, W_Q5_K, W_Q6_K, W_IQ4_NL };
constexpr Encoding encodings[] = {W_BF16, W_F16,  W_F32,  W_Q8_0, W_Q4_0, W_Q4_1, W_Q5_0,
                                  W_Q5_1, W_Q2_K, W_Q3_K, W_Q4_K, W_Q5_K, W_Q6_K, W_IQ4_NL};

const char* name(Encoding e);
bool quantised(Encoding e);
int blockElements(Encoding e); // encoded together; 1 if not quantised
double bytesPerElement(Encoding e);

// fillSuper puts plain scales into a super-block of random bytes, and appends its values.
void fillSuper(Rng& r, Encoding e, uint8_t* p, std::vector<double>& v);

// Weights are encoded rows on the device.
struct Weights {
  Encoding encoding;
  int64_t rows, cols, stride; // stride in elements
  std::shared_ptr<Memory> memory;
  std::vector<double> v;
};

// randomWeights makes rows with a gap after each; cols and gap are whole blocks.
Weights randomWeights(Rng& r, Encoding e, int64_t rows, int64_t cols, int64_t gap);
