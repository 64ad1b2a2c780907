// Tests of the linear layers for few rows.

#include <algorithm>

#include "encodings.h"

static unsigned up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

struct LinearCase {
  Type t;
  Encoding e;
  int rows, in, out, gap;
  bool accumulate, floatResult;
};

static void testCase(Rng& r, const LinearCase& c) {
  const Weights w = randomWeights(r, c.e, c.out, c.in, quantised(c.e) ? blockElements(c.e) : c.gap);
  const Matrix x = randomMatrix(r, c.t, c.rows, c.in, c.gap);
  const Type result = c.floatResult ? F32 : c.t;
  const Matrix y = c.accumulate ? randomMatrix(r, result, c.rows, c.out, 3, 5) : poisoned(result, c.rows, c.out, 3);
  launch(std::string("gemv_") + name(c.t) + "_" + name(c.e), {up(c.out, 16)}, 256, 0, y.at(), y.stride, x.at(), x.stride,
         uint64_t(w.memory->at), w.stride, c.rows, c.in, c.out, (c.accumulate ? 1 : 0) | (c.floatResult ? 2 : 0));
  std::vector<double> want(c.rows * c.out);
  parallel(c.out, [&](int64_t o) {
    for (int i = 0; i < c.rows; i++) {
      double sum = c.accumulate ? y.v[i * c.out + o] : 0;
      for (int k = 0; k < c.in; k++) sum += x.v[i * c.in + k] * w.v[o * c.in + k];
      want[i * c.out + o] = sum;
    }
  });
  char what[160];
  snprintf(what, sizeof what, "gemv %s of %s, %d rows, %d to %d, gap %d%s%s", name(c.t), name(c.e), c.rows, c.in, c.out, c.gap,
           c.accumulate ? ", adding" : "", c.floatResult ? ", to f32" : "");
  // Products of 16-bit numbers are exact in f32; the order of the sum and how tensor cores cut it off differ.
  near(what, read(y), want, c.floatResult ? 1e-5 : epsilon(c.t));
}

void testLinear(Rng& r, bool small) {
  for (Type t : activationTypes) {
    for (Encoding e : encodings) {
      for (int rows : {1, 2, 5, 8, 9, 16}) {
        // Whole blocks, so many that some warps have none and some several units.
        const int block = std::max(32, blockElements(e)), most = !small ? 6400 / block : block > 32 ? 20 : 12;
        const int in = block * uniform(r, 1, most), out = uniform(r, 1, small ? 40 : 300);
        const bool accumulate = uniform(r, 0, 1), floatResult = uniform(r, 0, 1);
        testCase(r, {t, e, rows, in, out, 8 * uniform(r, 0, 2), accumulate, floatResult});
        // Odd strides, and for plain weights odd widths.
        testCase(r, {t, e, rows, quantised(e) ? in : uniform(r, 1, 300), out, 1, !accumulate, !floatResult});
      }
    }
  }
}
