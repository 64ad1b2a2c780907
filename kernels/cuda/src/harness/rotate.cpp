// Tests of the rotary table, and of what makes queries, keys and values ready
// for attention.

#include <algorithm>

#include "harness.h"

static unsigned up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

// Turn is a rotary table, and its values.
struct Turn {
  int half;
  bool neighbours;
  Matrix cosines, sines;
  std::vector<double> c, s; // [rows, half]
};

static Turn randomTurn(Rng& r, int rows, int half, bool neighbours) {
  Turn t{half, neighbours, poisoned(F32, rows, half, 1), poisoned(F32, rows, half, 2), {}, {}};
  if (half == 0) return t;
  const double scale = uniform(r, 0, 1) ? 1 : 1.2079441541679836;
  std::vector<int> positions(rows);
  std::vector<double> frequencies(half);
  for (int& p : positions) p = uniform(r, 0, 4000000);
  for (int i = 0; i < half; i++) frequencies[i] = std::pow(10000.0, -1.0 * i / half);
  const auto p = upload(positions.data(), 4 * rows), f = upload(frequencies.data(), 8 * half);
  launch("rotary_table", {up(rows * half, 128)}, 128, 0, t.cosines.at(), t.cosines.stride, t.sines.at(), t.sines.stride, uint64_t(p->at),
         uint64_t(f->at), rows, half, scale);
  for (int i = 0; i < rows * half; i++) {
    t.c.push_back(scale * std::cos(positions[i / half] * frequencies[i % half]));
    t.s.push_back(scale * std::sin(positions[i / half] * frequencies[i % half]));
  }
  near("rotary cosine", read(t.cosines), t.c, 1e-7);
  near("rotary sine", read(t.sines), t.s, 1e-7);
  return t;
}

// Weights are what a model may have; without rows, it has not.
struct HeadWeights {
  Matrix bias, norm;
};
constexpr double eps = 1e-5;

static HeadWeights randomWeights(Rng& r, int heads, int headDim, bool bias, bool norm) {
  HeadWeights w;
  if (bias) w.bias = randomMatrix(r, F32, 1, heads * headDim, 0);
  if (norm) w.norm = randomMatrix(r, F32, 1, headDim, 0);
  return w;
}

static uint64_t addressOf(const Matrix& m) { return m.memory ? m.at() : 0; }

// readied computes what becomes of [rows, heads*headDim], in the same order.
static std::vector<double> readied(const Matrix& m, int headDim, const HeadWeights& w, const Turn& t) {
  std::vector<double> out = m.v;
  for (int64_t at = 0; at < int64_t(out.size()); at += headDim) {
    double* x = out.data() + at;
    const int64_t row = at / m.cols, first = at % m.cols;
    if (w.bias.rows) {
      for (int i = 0; i < headDim; i++) x[i] += w.bias.v[first + i];
    }
    if (w.norm.rows) {
      double sum = 0;
      for (int i = 0; i < headDim; i++) sum += x[i] * x[i];
      for (int i = 0; i < headDim; i++) x[i] *= w.norm.v[i] / std::sqrt(sum / headDim + eps);
    }
    for (int i = 0; i < t.half; i++) {
      double &a = x[t.neighbours ? 2 * i : i], &b = x[t.neighbours ? 2 * i + 1 : t.half + i];
      const double c = t.c[row * t.half + i], s = t.s[row * t.half + i], before = a;
      a = before * c - b * s;
      b = b * c + before * s;
    }
  }
  return out;
}

// byHead turns [rows, heads*headDim] into [heads, rows*headDim].
static std::vector<double> byHead(const std::vector<double>& x, int rows, int heads, int headDim) {
  std::vector<double> out;
  for (int h = 0; h < heads; h++) {
    for (int row = 0; row < rows; row++) {
      const double* from = x.data() + (int64_t(row) * heads + h) * headDim;
      out.insert(out.end(), from, from + headDim);
    }
  }
  return out;
}

static void testRotateSplit(Rng& r, Type t, int headDim, int half, bool neighbours, int gap) {
  const int rows = uniform(r, 1, 40), qHeads = uniform(r, 1, 9), kvHeads = uniform(r, 1, 4);
  const Turn turn = randomTurn(r, rows, half, neighbours), none{};
  for (int weights = 0; weights < 8; weights++) {
    // Biases of all or of one, and a norm of one or both.
    const bool all = uniform(r, 0, 1), bias = weights & 1, qNorm = weights & 2, kNorm = weights & 4;
    const HeadWeights qw = randomWeights(r, qHeads, headDim, bias && all, qNorm), kw = randomWeights(r, kvHeads, headDim, bias && all, kNorm),
                      vw = randomWeights(r, kvHeads, headDim, bias, false);
    const Matrix q = randomMatrix(r, t, rows, qHeads * headDim, gap), k = randomMatrix(r, t, rows, kvHeads * headDim, 2 * gap),
                 v = randomMatrix(r, t, rows, kvHeads * headDim, 3 * gap);
    const Matrix newK = poisoned(t, kvHeads, rows * headDim, headDim), newV = poisoned(t, kvHeads, rows * headDim, headDim);
    std::vector<uint64_t> words = {q.at(), word(q.stride), k.at(), word(k.stride), v.at(), word(v.stride),
                                   half ? turn.cosines.at() : 0, word(turn.cosines.stride), half ? turn.sines.at() : 0, word(turn.sines.stride),
                                   newK.at(), newV.at(), word(newK.stride), word(rows), word(qHeads), word(kvHeads), word(headDim), word(half),
                                   word(neighbours ? 1 : 0)};
    std::string kernel = "rotate_split_" + std::string(name(t));
    if (weights > 0) {
      kernel += "_weighted";
      words.insert(words.end(), {addressOf(qw.bias), addressOf(kw.bias), addressOf(vw.bias), addressOf(qw.norm), addressOf(kw.norm), word(eps)});
    }
    launchWords(kernel, {static_cast<unsigned>(rows), static_cast<unsigned>(uniform(r, 1, 7))}, 256, 0, words, uniform(r, 0, 1));
    char what[200];
    snprintf(what, sizeof what, "%s head_dim %d, %d pairs%s, weights %d,", kernel.c_str(), headDim, half, neighbours ? " of neighbours" : "", weights);
    near(what + std::string(" queries"), read(q), readied(q, headDim, qw, turn), epsilon(t));
    near(what + std::string(" keys"), read(newK), byHead(readied(k, headDim, kw, turn), rows, kvHeads, headDim), epsilon(t));
    near(what + std::string(" values"), read(newV), byHead(readied(v, headDim, vw, none), rows, kvHeads, headDim), bias ? epsilon(t) : 0);
    same(what + std::string(" keys before"), read(k), k.v);
  }
}

void testRotate(Rng& r, bool small) {
  for (Type t : activationTypes) {
    for (bool neighbours : {false, true}) {
      for (int headDim : {8, 64, 96, 128, 256}) {
        testRotateSplit(r, t, headDim, headDim / 2, neighbours, 4);
        if (small && headDim > 64) continue;
        testRotateSplit(r, t, headDim, 2 * uniform(r, 1, headDim / 4), neighbours, 4);
        testRotateSplit(r, t, headDim, uniform(r, 1, headDim / 2), neighbours, uniform(r, 1, 4)); // one by one, unless by chance
      }
      testRotateSplit(r, t, 14, 7, neighbours, 1);
      testRotateSplit(r, t, 80, 0, neighbours, 4);
    }
  }
}
