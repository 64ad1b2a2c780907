// Super-blocks of 256 weights, decoded one weight at a time.

#include "encodings.h"

// randomScale puts a half-precision number of about `size` at p, and returns it.
static double randomScale(Rng& r, uint8_t* p, double size) {
  encode(p, (0.5 + uniform(r, 0, 1000) / 1000.0) * size, F16);
  return decoded(p, F16);
}

// twoBits is the i-th of 256: 32 bytes have the i-th of each 32 of 128 in turn, the first in their lowest bits.
static int twoBits(const uint8_t* p, int i) { return p[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3; }

// sixBits is scale (0) or minimum (1) g of Q4_K and Q5_K: of the last four groups, the upper 2 bits are with the first four.
static int sixBits(const uint8_t* p, int g, int minimum) {
  if (g < 4) return p[4 * minimum + g] & 63;
  return (p[8 + g - 4] >> (4 * minimum) & 15) | p[4 * minimum + g - 4] >> 6 << 4;
}

void fillSuper(Rng& r, Encoding e, uint8_t* p, std::vector<double>& v) {
  double d, minimum = 0;
  switch (e) {
  case W_Q2_K:
    d = randomScale(r, p + 80, 0.05), minimum = randomScale(r, p + 82, 0.05);
    for (int i = 0; i < 256; i++) v.push_back(d * (p[i / 16] & 15) * twoBits(p + 16, i) - minimum * (p[i / 16] >> 4));
    return;
  case W_Q3_K:
    d = randomScale(r, p + 108, 0.01);
    for (int i = 0; i < 256; i++) {
      const int g = i / 16, low = p[96 + g % 8] >> (g / 8 * 4) & 15, high = p[104 + g % 4] >> (g / 4 * 2) & 3;
      v.push_back(d * ((low | high << 4) - 32) * (twoBits(p + 32, i) + 4 * (p[i % 32] >> (i / 32) & 1) - 4));
    }
    return;
  case W_Q4_K:
  case W_Q5_K:
    d = randomScale(r, p, e == W_Q4_K ? 0.004 : 0.002), minimum = randomScale(r, p + 2, 0.02);
    for (int i = 0; i < 256; i++) {
      const int g = i / 32, fifth = e == W_Q5_K ? p[16 + i % 32] >> g & 1 : 0;
      const uint8_t* codes = p + (e == W_Q5_K ? 48 : 16);
      const int code = (codes[g / 2 * 32 + i % 32] >> (g % 2 * 4) & 15) | fifth << 4;
      v.push_back(d * sixBits(p + 4, g, 0) * code - minimum * sixBits(p + 4, g, 1));
    }
    return;
  default: // Q6_K
    d = randomScale(r, p + 208, 0.0004);
    for (int i = 0; i < 256; i++) {
      const int code = (p[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15) | twoBits(p + 128, i) << 4;
      v.push_back(d * static_cast<int8_t>(p[192 + i / 16]) * (code - 32));
    }
  }
}
