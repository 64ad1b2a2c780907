// Tests of attention against the definition in double precision, and of the
// fast kernels against the generic one where the host would take too long.

#include <algorithm>

#include "attention.h"

static const char* const kernelNames[] = {"prefill", "decode", "generic", "hopper", "decode long"};

static void fold(double& lse, double* out, double oldLSE, const double* old, int n) {
  const double top = std::max(lse, oldLSE);
  if (std::isinf(top)) return;
  const double a = std::exp(lse - top), b = std::exp(oldLSE - top);
  for (int i = 0; i < n; i++) out[i] = (a * out[i] + b * old[i]) / (a + b);
  lse = top + std::log(a + b);
}

Expected expected(const Problem& p) {
  const int D = p.headDim, width = p.heads() * D;
  Expected e{std::vector<double>(p.rows * width), std::vector<double>(p.heads() * p.rows)};
  parallel(int64_t(p.rows) * p.heads(), [&](int64_t i) {
    const int row = i / p.heads(), head = i % p.heads(), kvHead = head / p.group;
    const int from = p.from(row), to = p.to(row);
    const double* q = p.q.v.data() + row * width + head * D;
    std::vector<double> scores;
    std::vector<const double*> values;
    int at = 0;
    for (const auto& piece : p.pieces) {
      for (int j = 0; j < piece.tokens; j++, at++) {
        if (at < from || at >= to) continue;
        const double* k = piece.k.v.data() + (int64_t(kvHead) * piece.tokens + j) * D;
        double sum = 0;
        for (int d = 0; d < D; d++) sum += q[d] * k[d];
        scores.push_back(p.cap > 0 ? p.cap * std::tanh(sum * p.scale / p.cap) : sum * p.scale);
        values.push_back(piece.v.v.data() + (int64_t(kvHead) * piece.tokens + j) * D);
      }
    }
    double* out = e.out.data() + row * width + head * D;
    double& lse = e.lse[head * p.rows + row];
    lse = -INFINITY;
    if (!scores.empty()) {
      const double top = *std::max_element(scores.begin(), scores.end());
      double sum = 0;
      for (double s : scores) sum += std::exp(s - top);
      for (size_t j = 0; j < scores.size(); j++) {
        const double w = std::exp(scores[j] - top) / sum;
        for (int d = 0; d < D; d++) out[d] += w * values[j][d];
      }
      lse = top + std::log(sum);
    }
    if (p.merge) fold(lse, out, p.lse.v[head * p.rows + row], p.out.v.data() + row * width + head * D, D);
  });
  return e;
}

std::string describe(Kernel k, const Shape& s, int splits) {
  char text[300];
  std::string pieces;
  for (int n : s.tokens) pieces += (pieces.empty() ? "" : "+") + std::to_string(n);
  snprintf(text, sizeof text, "%s %s head_dim %d, %d rows of %dx%d heads, %s keys%s%s%s, window %d, cap %g, %d splits", kernelNames[k], name(s.t),
           s.headDim, s.rows, s.kvHeads, s.group, pieces.c_str(), s.causal ? ", causal" : "", s.merge ? ", merging" : "",
           s.floatOut ? ", to f32" : "", s.window, s.cap, splits);
  return text;
}

// tolerance is what rounding the weights, and the output, to the type may cost;
// the generic kernel rounds the output alone.
static double tolerance(Kernel k, const Shape& s) {
  if (k == GENERIC) return s.floatOut ? 1e-5 : epsilon(s.t);
  return epsilon(s.t);
}

void testCase(Rng& r, Kernel k, const Shape& s, int splits, bool unread) {
  Problem p = makeProblem(r, s, false);
  const Expected want = expected(p);
  if (unread) {
    for (Matrix* m : {&p.pieces[0].k, &p.pieces[0].v}) m->memory = poisoned(m->type, m->rows, m->cols, m->stride - m->cols).memory;
  }
  attend(p, k, splits);
  const std::string what = describe(k, s, splits);
  near(what + ", output", read(p.out), want.out, tolerance(k, s));
  nearLog(what, read(p.lse), want.lse, 1e-5);
}

void testLarge(Rng& r, Kernel k, const Shape& s) {
  const Problem p = makeProblem(r, s, true);
  Problem reference = p;
  reference.floatOut = true;
  reference.out = poisoned(F32, p.rows, p.out.cols, 0);
  reference.lse = poisoned(F32, p.heads(), p.rows, 0);
  attend(reference, GENERIC);
  attend(p, k);
  const std::string what = describe(k, s, 0);
  near(what + ", output", read(p.out), read(reference.out), epsilon(s.t));
  nearLog(what, read(p.lse), read(reference.lse), 1e-5);
  if (p.window > 0) return;
  Problem part = p;
  part.floatOut = true;
  part.out = poisoned(F32, p.rows, p.out.cols, 2);
  part.lse = poisoned(F32, p.heads(), p.rows, 0);
  for (size_t i = 0; i < p.pieces.size(); i++) {
    part.pieces = {p.pieces[i]};
    part.causal = p.causal && i + 1 == p.pieces.size();
    part.merge = i > 0;
    attend(part, k, 0, true); // reads what the one before merged
  }
  near(what + ", merged, output", read(part.out), read(reference.out), epsilon(s.t));
  nearLog(what + ", merged", read(part.lse), read(reference.lse), 1e-5);
}

std::vector<int> cut(Rng& r, int keys, int pieces) {
  std::vector<int> at = {0, keys};
  for (int i = 1; i < pieces; i++) at.push_back(uniform(r, 0, keys));
  std::sort(at.begin(), at.end());
  std::vector<int> lengths;
  for (int i = 0; i < pieces; i++) lengths.push_back(at[i + 1] - at[i]);
  return lengths;
}

static void testMerge(Rng& r, Type t) {
  const int rows = uniform(r, 1, 30), heads = uniform(r, 1, 6), headDim = 8 * uniform(r, 1, 32), width = heads * headDim;
  for (int flags : {0, 1, 4, 5}) {
    const Matrix out = randomMatrix(r, flags & 4 ? F32 : t, rows, width, 4), out2 = randomMatrix(r, flags & 1 ? F32 : t, rows, width, 8);
    int n = 0;
    auto level = [&] { return n++ % 5 == 2 ? -INFINITY : 3 * normal(r); };
    const Matrix lse = put(F32, heads, rows, 1, level), lse2 = put(F32, heads, rows, 2, level);
    launch(std::string("merge_") + name(t), {static_cast<unsigned>(rows), static_cast<unsigned>(heads)}, 64, 0, out.at(), out.stride, lse.at(),
           lse.stride, out2.at(), out2.stride, lse2.at(), lse2.stride, rows, heads, headDim, flags);
    std::vector<double> want = out2.v, wantLSE = lse2.v;
    for (int row = 0; row < rows; row++) {
      for (int h = 0; h < heads; h++) {
        double* o = want.data() + row * width + h * headDim;
        if (std::isinf(wantLSE[h * rows + row]) && std::isinf(lse.v[h * rows + row])) std::fill(o, o + headDim, 0.0);
        fold(wantLSE[h * rows + row], o, lse.v[h * rows + row], out.v.data() + row * width + h * headDim, headDim);
      }
    }
    near(std::string("merge ") + name(t) + ", output", read(out), want, flags & 4 ? 1e-6 : epsilon(t));
    nearLog(std::string("merge ") + name(t), read(lse), wantLSE, 1e-6);
  }
}

// testBounds tests windows and caps.
static void testBounds(Rng& r, Type t, int headDim, bool small) {
  const bool fast = headDim >= 64;
  for (int variant = 0; variant < 8; variant++) {
    const bool capped = variant & 1, causal = variant & 2, merge = variant & 4;
    if (!capped && !causal) continue; // a window is under a causal mask alone
    if (small && t == F16 && variant != 3) continue;
    const int most = small ? 150 : 700;
    auto shape = [&](int rows, int keys) {
      Shape s{t, headDim, rows, uniform(r, 1, 3), uniform(r, 1, 7), cut(r, keys, uniform(r, 1, 4)), causal, merge, uniform(r, 0, 1) == 1};
      if (capped) s.cap = uniform(r, 0, 1) ? 0.7 : 50;
      // With a causal mask and a cap: a window too, or not.
      if (causal && (!capped || uniform(r, 0, 3))) s.window = uniform(r, 1, uniform(r, 0, 1) ? 40 : keys + 10);
      return s;
    };
    testCase(r, GENERIC, shape(uniform(r, 1, 20), uniform(r, 1, most)), 0);
    if (!fast) continue;
    for (int rows : {1, uniform(r, 2, 40), uniform(r, 60, small ? 70 : 200)}) testCase(r, PREFILL, shape(rows, rows + uniform(r, 0, most)), 0);
    testCase(r, PREFILL, shape(33, uniform(r, 1, 32)), 0); // some queries see nothing
    for (int rows : {1, uniform(r, 2, 8), 16}) {
      for (int splits : {1, uniform(r, 2, 9)}) testCase(r, DECODE, shape(rows, uniform(r, 1, 2 * most)), splits);
    }
    testCase(r, DECODE, shape(3, uniform(r, 1, 5)), 7); // splits without keys, and queries that see nothing
    if (!causal) continue;
    // The first piece is in tiles of its own, before all windows, and is not read.
    for (Kernel k : {PREFILL, DECODE}) {
      Shape s = shape(uniform(r, 1, 16), 1);
      s.tokens = {uniform(r, 1, most), s.rows + uniform(r, 60, most)};
      s.window = uniform(r, 1, s.tokens[1] - s.rows + 1);
      testCase(r, k, s, uniform(r, 1, 5), true);
    }
  }
  if (!fast || small) return;
  for (double cap : {0.0, 50.0}) {
    testLarge(r, PREFILL, {t, headDim, 1000, 2, 4, {8192, 3001, 0, 1000}, true, false, false, 1500, cap});
    testLarge(r, DECODE, {t, headDim, 5, 2, 4, {40000, 777, 5}, true, false, true, 4096, cap});
  }
  testLarge(r, PREFILL, {t, headDim, 1000, 2, 4, {8192, 3001, 0, 1000}, true, false, false, 0, 50});
}

void testLong(Rng& r, Type t, int headDim, bool small) {
  for (int rows : {1, uniform(r, 2, 8), 16}) {
    for (int splits : {1, uniform(r, 2, 9)}) {
      for (int keys : {uniform(r, 1, 5), uniform(r, 100, small ? 700 : 9000)}) {
        const int kvHeads = uniform(r, 1, 3), group = uniform(r, 1, 4);
        testCase(r, LONG, {t, headDim, rows, kvHeads, group, cut(r, keys, uniform(r, 1, 4)), uniform(r, 0, 1) == 1, uniform(r, 0, 1) == 1, uniform(r, 0, 1) == 1},
                 splits);
      }
    }
  }
  if (!small) testLarge(r, LONG, {t, headDim, 5, 2, 4, {140000, 777, 5}, true, false, true});
}

void testAttention(Rng& r, bool small) {
  for (Type t : activationTypes) {
    testMerge(r, t);
    for (int headDim : {16, 40, 64, 96, 128, 256}) {
      const bool fast = headDim >= 64;
      testBounds(r, t, headDim, small);
      for (int variant = 0; variant < 8; variant++) {
        const bool causal = variant & 1, merge = variant & 2, floatOut = variant & 4;
        auto shape = [&](int rows, int keys) {
          return Shape{t, headDim, rows, uniform(r, 1, 3), uniform(r, 1, 7), cut(r, keys, uniform(r, 1, 4)), causal, merge, floatOut};
        };
        if (small && (variant == 2 || variant == 5 || (t == F16 && variant))) continue;
        const int most = small ? 150 : 700;
        testCase(r, GENERIC, shape(uniform(r, 1, 20), uniform(r, 1, most)), 0);
        if (!fast) continue;
        for (int rows : {1, uniform(r, 2, 40), uniform(r, 60, small ? 70 : 200)}) testCase(r, PREFILL, shape(rows, rows + uniform(r, 0, most)), 0);
        testCase(r, PREFILL, shape(33, uniform(r, 1, 32)), 0); // some queries see nothing
        for (int rows : {1, uniform(r, 2, 8), 16}) {
          for (int splits : {1, uniform(r, 2, 9)}) testCase(r, DECODE, shape(rows, uniform(r, 1, 2 * most)), splits);
        }
        testCase(r, DECODE, shape(3, uniform(r, 1, 5)), 7); // splits without keys, and queries that see nothing
      }
      if (haveLong(t, headDim)) testLong(r, t, headDim, small);
      if (!fast || small) continue;
      testLarge(r, PREFILL, {t, headDim, 1000, 2, 4, {8192, 3001, 0, 1000}, true, false, false});
      testLarge(r, DECODE, {t, headDim, 5, 2, 4, {40000, 777, 5}, true, false, true});
    }
  }
  testLists(r, small);
}
