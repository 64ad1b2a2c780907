// Tests of the element-wise operators.

#include <algorithm>

#include "encodings.h"

static unsigned up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }
static std::string T(Type t) { return name(t); }

static void testEmbed(Rng& r, Type t, Encoding e) {
  const int vocabulary = 50, rows = uniform(r, 1, 9), cols = quantised(e) ? blockElements(e) * uniform(r, 1, 1280 / blockElements(e)) : uniform(r, 1, 1300);
  const Weights table = randomWeights(r, e, vocabulary, cols, quantised(e) ? 2 * blockElements(e) : 3);
  const double scale = uniform(r, 0, 1) ? 1 : 55.4375;
  std::vector<int> ids(rows);
  for (int& id : ids) id = uniform(r, 0, vocabulary - 1);
  ids[0] = vocabulary - 1;
  if (rows > 2) ids[1] = vocabulary, ids[2] = -1;
  const auto device = upload(ids.data(), 4 * rows);
  const Matrix out = poisoned(t, rows, cols, 5);
  launch("embed_" + T(t) + "_" + name(e), {static_cast<unsigned>(rows)}, 128, 0, out.at(), out.stride, uint64_t(table.memory->at),
         table.stride, uint64_t(device->at), rows, cols, vocabulary, scale);
  std::vector<double> want;
  for (int id : ids) {
    for (int c = 0; c < cols; c++) want.push_back(id < 0 || id >= vocabulary ? 0 : table.v[id * cols + c] * scale);
  }
  near("embed " + T(t) + " of " + name(e), read(out), want, epsilon(t));
}

static void testDequantise(Rng& r, Type t, Encoding e) {
  const int rows = uniform(r, 1, 30), cols = quantised(e) ? blockElements(e) * uniform(r, 1, 2560 / blockElements(e)) : uniform(r, 1, 2500);
  const Weights w = randomWeights(r, e, rows, cols, quantised(e) ? blockElements(e) : 1);
  const Matrix out = poisoned(t, rows, cols, 3);
  launch("dequantise_" + T(t) + "_" + name(e), {up(cols, 1024), static_cast<unsigned>(rows)}, 128, 0, out.at(), out.stride,
         uint64_t(w.memory->at), w.stride, rows, cols);
  near("dequantise " + T(t) + " of " + name(e), read(out), w.v, epsilon(t));
  // A grid lower than the rows makes blocks take several.
  const Matrix x = randomMatrix(r, t, rows, cols, 2), wide = poisoned(F32, rows, cols, 1);
  launch("widen_" + T(t), {up(cols, 1024), up(rows, 3)}, 128, 0, wide.at(), wide.stride, x.at(), x.stride, rows, cols);
  same("widen " + T(t), read(wide), x.v);
}

static void testRMSNorm(Rng& r, Type t, int cols) {
  const int rows = uniform(r, 1, 20), gap = uniform(r, 0, 1) ? 8 : 3;
  const Matrix x = randomMatrix(r, t, rows, cols, gap), w = randomMatrix(r, F32, 1, cols, 0), out = poisoned(t, rows, cols, gap);
  const Matrix sum = randomMatrix(r, t, rows, cols, gap);
  const double eps = 1e-5;
  const unsigned grid = rows;
  launch("rmsnorm_" + T(t), {grid}, 256, 0, out.at(), out.stride, x.at(), x.stride, w.at(), rows, cols, eps, 0);
  launch("rmsnorm_" + T(t), {grid}, 256, 0, sum.at(), sum.stride, x.at(), x.stride, w.at(), rows, cols, eps, 1);
  std::vector<double> want(rows * cols);
  for (int i = 0; i < rows; i++) {
    double sum = 0;
    for (int c = 0; c < cols; c++) sum += x.v[i * cols + c] * x.v[i * cols + c];
    for (int c = 0; c < cols; c++) want[i * cols + c] = x.v[i * cols + c] / std::sqrt(sum / cols + eps) * w.v[c];
  }
  near("rmsnorm " + T(t) + " of " + std::to_string(cols), read(out), want, epsilon(t));
  for (size_t i = 0; i < want.size(); i++) want[i] += sum.v[i];
  near("rmsnorm " + T(t) + " of " + std::to_string(cols) + ", adding", read(sum), want, epsilon(t));
}

static void testGLU(Rng& r, Type t, int ffn) {
  const int rows = uniform(r, 1, 20), gap = uniform(r, 0, 1) ? 8 : 1;
  const Matrix x = randomMatrix(r, t, rows, 2 * ffn, gap, 3);
  for (int gelu : {0, 1}) {
    const Matrix out = poisoned(t, rows, ffn, gap);
    launch("glu_" + T(t), {static_cast<unsigned>(rows), up(ffn, 1024)}, 128, 0, out.at(), out.stride, x.at(), x.stride, rows, ffn, gelu);
    std::vector<double> want;
    for (int i = 0; i < rows; i++) {
      for (int c = 0; c < ffn; c++) {
        const double g = x.v[i * 2 * ffn + c], u = std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g);
        want.push_back((gelu ? g / 2 * (1 + std::tanh(u)) : g / (1 + std::exp(-g))) * x.v[i * 2 * ffn + ffn + c]);
      }
    }
    near("glu " + T(t) + " of " + std::to_string(ffn) + (gelu ? ", gelu" : ""), read(out), want, epsilon(t));
  }
}

static void testRandom(Rng& r, Type t) {
  const int rows = 37, cols = 1000;
  const int64_t seed = r();
  std::vector<double> first;
  for (int gap : {0, 9}) {
    const Matrix out = poisoned(t, rows, cols, gap);
    launch("random_" + T(t), {up(cols, 256), gap ? 5u : 37u}, 128, 0, out.at(), out.stride, rows, cols, seed, 0.5, 2.0);
    const std::vector<double> v = read(out);
    if (first.empty()) {
      first = v;
    } else {
      same("random " + T(t) + " with another stride and grid", v, first);
    }
  }
  double mean = 0, square = 0, fourth = 0, next = 0;
  for (size_t i = 0; i < first.size(); i++) {
    const double z = (first[i] - 0.5) / 2;
    mean += z;
    square += z * z;
    fourth += z * z * z * z;
    if (i) next += z * (first[i - 1] - 0.5) / 2;
  }
  const double n = first.size();
  char detail[128];
  snprintf(detail, sizeof detail, "moments %g %g %g, correlation of neighbours %g", mean / n, square / n, fourth / n, next / n);
  record("random " + T(t), std::fabs(mean / n) < 0.03 && std::fabs(square / n - 1) < 0.05 && std::fabs(fourth / n - 3) < 0.4 && std::fabs(next / n) < 0.03, detail);
}

void testOperators(Rng& r, bool small) {
  for (Type t : activationTypes) {
    for (Encoding e : encodings) {
      testEmbed(r, t, e);
      testDequantise(r, t, e);
    }
    for (int cols : {8, 72, 577, 4096}) testRMSNorm(r, t, cols);
    for (int ffn : {8, 100, 1531, 4096}) testGLU(r, t, ffn);
    if (!small) testRandom(r, t);
  }
  testRandom(r, F32);
}
