// Tests of the element-wise operators.

#include <algorithm>

#include "encodings.h"

static unsigned up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }
static std::string T(Type t) { return name(t); }

static void testEmbed(Rng& r, Type t, Encoding e) {
  const int vocabulary = 50, rows = uniform(r, 1, 9), cols = quantised(e) ? 32 * uniform(r, 1, 40) : uniform(r, 1, 1300);
  const Weights table = randomWeights(r, e, vocabulary, cols, quantised(e) ? 64 : 3);
  std::vector<int> ids(rows);
  for (int& id : ids) id = uniform(r, 0, vocabulary - 1);
  ids[0] = vocabulary - 1;
  if (rows > 2) ids[1] = vocabulary, ids[2] = -1;
  const auto device = upload(ids.data(), 4 * rows);
  const Matrix out = poisoned(t, rows, cols, 5);
  launch("embed_" + T(t) + "_" + name(e), {static_cast<unsigned>(rows)}, 128, 0, out.at(), out.stride, uint64_t(table.memory->at),
         table.stride, uint64_t(device->at), rows, cols, vocabulary);
  std::vector<double> want;
  for (int id : ids) {
    for (int c = 0; c < cols; c++) want.push_back(id < 0 || id >= vocabulary ? 0 : table.v[id * cols + c]);
  }
  near("embed " + T(t) + " of " + name(e), read(out), want, epsilon(t));
}

static void testDequantise(Rng& r, Type t, Encoding e) {
  const int rows = uniform(r, 1, 30), cols = quantised(e) ? 32 * uniform(r, 1, 80) : uniform(r, 1, 2500);
  const Weights w = randomWeights(r, e, rows, cols, quantised(e) ? 32 : 1);
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
  const double eps = 1e-5;
  launch("rmsnorm_" + T(t), {static_cast<unsigned>(rows)}, 256, 0, out.at(), out.stride, x.at(), x.stride, w.at(), rows, cols, eps);
  std::vector<double> want(rows * cols);
  for (int i = 0; i < rows; i++) {
    double sum = 0;
    for (int c = 0; c < cols; c++) sum += x.v[i * cols + c] * x.v[i * cols + c];
    for (int c = 0; c < cols; c++) want[i * cols + c] = x.v[i * cols + c] / std::sqrt(sum / cols + eps) * w.v[c];
  }
  near("rmsnorm " + T(t) + " of " + std::to_string(cols), read(out), want, epsilon(t));
}

static void testRotary(Rng& r, Type t, int headDim, bool interleaved) {
  const int rows = uniform(r, 1, 40), qHeads = uniform(r, 1, 9), kvHeads = uniform(r, 1, 4), half = headDim / 2;
  std::vector<int> positions(rows);
  std::vector<double> frequencies(half);
  for (int& p : positions) p = uniform(r, 0, 4000000);
  for (int i = 0; i < half; i++) frequencies[i] = std::pow(10000.0, -2.0 * i / headDim);
  const auto p = upload(positions.data(), 4 * rows), f = upload(frequencies.data(), 8 * half);
  const Matrix cosines = poisoned(F32, rows, half, 1), sines = poisoned(F32, rows, half, 2);
  launch("rotary_table", {up(rows * half, 128)}, 128, 0, cosines.at(), cosines.stride, sines.at(), sines.stride, uint64_t(p->at),
         uint64_t(f->at), rows, half);
  std::vector<double> wantC, wantS;
  for (int i = 0; i < rows * half; i++) {
    wantC.push_back(std::cos(positions[i / half] * frequencies[i % half]));
    wantS.push_back(std::sin(positions[i / half] * frequencies[i % half]));
  }
  const std::vector<double> c = read(cosines), s = read(sines);
  near("rotary cosine", c, wantC, 1e-7);
  near("rotary sine", s, wantS, 1e-7);

  const Matrix q = randomMatrix(r, t, rows, qHeads * headDim, 4), k = randomMatrix(r, t, rows, kvHeads * headDim, 8),
               v = randomMatrix(r, t, rows, kvHeads * headDim, 12);
  const Matrix newK = poisoned(t, kvHeads, rows * headDim, headDim), newV = poisoned(t, kvHeads, rows * headDim, headDim);
  launch("rotate_split_" + T(t), {static_cast<unsigned>(rows)}, 256, 0, q.at(), q.stride, k.at(), k.stride, v.at(), v.stride,
         cosines.at(), cosines.stride, sines.at(), sines.stride, newK.at(), newV.at(), newK.stride, rows, qHeads, kvHeads, headDim,
         interleaved ? 1 : 0);
  auto rotated = [&](const Matrix& m, int row, int head, int i) {
    const int pair = interleaved ? i / 2 : i % half;
    const bool second = interleaved ? i % 2 : i >= half;
    const double* x = m.v.data() + row * m.cols + head * headDim;
    const double a = x[interleaved ? 2 * pair : pair], b = x[interleaved ? 2 * pair + 1 : pair + half];
    const double co = wantC[row * half + pair], si = wantS[row * half + pair];
    return second ? b * co + a * si : a * co - b * si;
  };
  std::vector<double> wantQ, wantK, wantV;
  for (int row = 0; row < rows; row++) {
    for (int i = 0; i < qHeads * headDim; i++) wantQ.push_back(rotated(q, row, i / headDim, i % headDim));
  }
  for (int head = 0; head < kvHeads; head++) {
    for (int i = 0; i < rows * headDim; i++) {
      wantK.push_back(rotated(k, i / headDim, head, i % headDim));
      wantV.push_back(v.v[i / headDim * v.cols + head * headDim + i % headDim]);
    }
  }
  const std::string what = "rotate_split " + T(t) + " head_dim " + std::to_string(headDim) + (interleaved ? " interleaved" : "");
  near(what + " queries", read(q), wantQ, epsilon(t));
  near(what + " keys", read(newK), wantK, epsilon(t));
  same(what + " values", read(newV), wantV);
  same(what + " keys before", read(k), k.v);
}

static void testGLU(Rng& r, Type t, int ffn) {
  const int rows = uniform(r, 1, 20), gap = uniform(r, 0, 1) ? 8 : 1;
  const Matrix x = randomMatrix(r, t, rows, 2 * ffn, gap, 3), out = poisoned(t, rows, ffn, gap);
  launch("glu_" + T(t), {static_cast<unsigned>(rows), up(ffn, 1024)}, 128, 0, out.at(), out.stride, x.at(), x.stride, rows, ffn, 0);
  std::vector<double> want;
  for (int i = 0; i < rows; i++) {
    for (int c = 0; c < ffn; c++) {
      const double g = x.v[i * 2 * ffn + c];
      want.push_back(g / (1 + std::exp(-g)) * x.v[i * 2 * ffn + ffn + c]);
    }
  }
  near("glu " + T(t) + " of " + std::to_string(ffn), read(out), want, epsilon(t));
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
    for (int headDim : {8, 64, 96, 128}) {
      testRotary(r, t, headDim, false);
      testRotary(r, t, headDim, true);
    }
    for (int ffn : {8, 100, 1531, 4096}) testGLU(r, t, ffn);
    if (!small) testRandom(r, t);
  }
  testRandom(r, F32);
}
