#include "encodings.h"

#include <cstring>

const char* name(Encoding e) {
  static const char* const names[] = {"bf16", "f16", "f32", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1",
                                      "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl"};
  return names[e];
}

bool quantised(Encoding e) { return e >= W_Q8_0; }

int blockElements(Encoding e) { return !quantised(e) ? 1 : e >= W_Q2_K && e <= W_Q6_K ? 256 : 32; }

static int blockBytes(Encoding e) {
  static const int bytes[] = {2, 2, 4, 34, 18, 20, 22, 24, 84, 110, 144, 176, 210, 18};
  return bytes[e];
}

double bytesPerElement(Encoding e) { return blockBytes(e) / double(blockElements(e)); }

static const int levels[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}; // of IQ4_NL

// fillBlock writes one random block and appends its values.
static void fillBlock(Rng& r, Encoding e, uint8_t* p, std::vector<double>& v) {
  if (!quantised(e)) {
    const Type t = e == W_BF16 ? BF16 : e == W_F16 ? F16 : F32;
    encode(p, normal(r), t);
    v.push_back(decoded(p, t));
    return;
  }
  for (int i = 0; i < blockBytes(e); i++) p[i] = static_cast<uint8_t>(r());
  if (blockElements(e) == 256) return fillSuper(r, e, p, v);
  const double span = e == W_Q8_0 || e == W_IQ4_NL ? 128 : e == W_Q4_0 || e == W_Q4_1 ? 8 : 16;
  encode(p, (0.5 + uniform(r, 0, 1000) / 1000.0) / span, F16);
  const double scale = decoded(p, F16);
  double minimum = 0;
  const bool hasMinimum = e == W_Q4_1 || e == W_Q5_1;
  if (hasMinimum) {
    encode(p + 2, -uniform(r, 0, 1500) / 1000.0, F16);
    minimum = decoded(p + 2, F16);
  }
  const bool fifth = e == W_Q5_0 || e == W_Q5_1;
  const uint8_t* q = p + (hasMinimum ? 4 : 2);
  uint32_t high = 0;
  if (fifth) {
    memcpy(&high, q, 4);
    q += 4;
  }
  for (int i = 0; i < 32; i++) {
    int n;
    if (e == W_Q8_0) {
      n = static_cast<int8_t>(q[i]);
    } else {
      n = i < 16 ? q[i] & 15 : q[i - 16] >> 4;
      if (fifth) n |= (high >> i & 1) << 4;
      if (e == W_Q4_0) n -= 8;
      if (e == W_Q5_0) n -= 16;
      if (e == W_IQ4_NL) n = levels[n];
    }
    v.push_back(scale * n + minimum);
  }
}

Weights randomWeights(Rng& r, Encoding e, int64_t rows, int64_t cols, int64_t gap) {
  Weights w{e, rows, cols, cols + gap, nullptr, {}};
  const int64_t step = static_cast<int64_t>((cols + gap) * bytesPerElement(e));
  std::vector<uint8_t> host(rows * step, 0xff);
  w.v.reserve(rows * cols);
  for (int64_t i = 0; i < rows; i++) {
    uint8_t* p = host.data() + i * step;
    for (int64_t c = 0; c < cols; c += blockElements(e), p += blockBytes(e)) fillBlock(r, e, p, w.v);
  }
  w.memory = upload(host.data(), host.size());
  return w;
}
