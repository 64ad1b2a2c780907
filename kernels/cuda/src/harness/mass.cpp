// Tests and timings of what keys have received of attention.

#include <algorithm>

#include "attention.h"

static unsigned up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

// addMass launches the kernel: p.out is what it adds to, f32 [kvHeads, keys].
static void addMass(const Problem& p) {
  unsigned tiles = 0;
  for (const auto& piece : p.pieces) tiles += up(piece.tokens, 64);
  if (tiles == 0) return;
  std::vector<uint64_t> words = attentionWords(p);
  words.push_back(word(p.headDim));
  const int D = p.headDim <= 64 ? 64 : p.headDim <= 128 ? 128 : 256;
  launchWords(std::string("attention_mass_") + name(p.t) + "_hd" + std::to_string(D), {tiles, unsigned(p.kvHeads)}, 128, 0, words);
}

// received computes on the host what is added, [kvHeads, keys].
static std::vector<double> received(const Problem& p) {
  const int keys = p.keys();
  std::vector<double> mass(int64_t(p.kvHeads) * keys);
  parallel(p.kvHeads, [&](int64_t kvHead) {
    int at = 0;
    for (const auto& piece : p.pieces) {
      for (int j = 0; j < piece.tokens; j++, at++) {
        const double* k = piece.k.v.data() + (kvHead * piece.tokens + j) * p.headDim;
        for (int row = p.causal ? std::max(0, at + p.rows - keys) : 0; row < p.rows; row++) {
          for (int head = kvHead * p.group; head < (kvHead + 1) * p.group; head++) {
            const double* q = p.q.v.data() + (int64_t(row) * p.heads() + head) * p.headDim;
            double sum = 0;
            for (int d = 0; d < p.headDim; d++) sum += q[d] * k[d];
            mass[kvHead * keys + at] += std::exp(p.scale * sum - p.lse.v[head * p.rows + row]);
          }
        }
      }
    }
  });
  return mass;
}

static void testMassCase(Rng& r, const Shape& s) {
  Problem p = makeProblem(r, s, false);
  const Expected attention = expected(p);
  size_t at = 0;
  // As if there were other keys beside these.
  p.lse = put(F32, p.heads(), p.rows, 1, [&] { return attention.lse[at++] + uniform(r, 0, 1000) / 1000.0; });
  const Matrix before = randomMatrix(r, F32, p.kvHeads, p.keys(), 3);
  at = 0;
  const Matrix again = put(F32, p.kvHeads, p.keys(), 3, [&] { return before.v[at++]; });
  std::vector<double> want = received(p);
  for (size_t i = 0; i < want.size(); i++) want[i] += before.v[i];
  p.out = before;
  addMass(p);
  std::string pieces;
  for (int n : s.tokens) pieces += (pieces.empty() ? "" : "+") + std::to_string(n);
  char what[200];
  snprintf(what, sizeof what, "attention_mass %s head_dim %d, %d rows of %dx%d heads, %s keys%s", name(s.t), s.headDim, s.rows, s.kvHeads, s.group,
           pieces.c_str(), s.causal ? ", causal" : "");
  const std::vector<double> got = read(p.out);
  near(what, got, want, 1e-5);
  p.out = again;
  addMass(p);
  same(what + std::string(", again"), read(p.out), got);
}

void testMass(Rng& r, bool small) {
  for (Type t : activationTypes) {
    for (int headDim : {8, 40, 64, 80, 96, 128, 200, 256}) {
      for (bool causal : {false, true}) {
        for (int rows : {1, uniform(r, 2, 40), uniform(r, 60, small ? 70 : 300)}) {
          const int keys = rows + uniform(r, 0, small ? 150 : 500);
          testMassCase(r, {t, headDim, rows, uniform(r, 1, 3), uniform(r, 1, 7), cut(r, keys, uniform(r, 1, 4)), causal, false, true});
        }
        testMassCase(r, {t, headDim, 33, 2, 3, cut(r, uniform(r, 1, 32), 2), causal, false, true}); // causal, some queries see nothing
      }
    }
  }
}

void benchmarkMass(Rng& r) {
  for (const Shape& s : {Shape{BF16, 64, 1024, 8, 1, {2048}, true, false, true}, Shape{BF16, 128, 4096, 8, 4, {8192}, true, false, true}}) {
    Problem p = makeProblem(r, s, true);
    attend(p, PREFILL); // the log-sum-exps
    p.out = put(F32, p.kvHeads, p.keys(), 0, [] { return 0; });
    const double ms = milliseconds([&] { addMass(p); }, 20), n = p.keys();
    const double pairs = s.rows * (n - s.rows) + 0.5 * s.rows * (s.rows + 1.0);
    const double teraflops = 2 * pairs * p.heads() * s.headDim / ms * 1e-9;
    char what[160];
    snprintf(what, sizeof what, "attention_mass %s hd%d %dx%d heads, %d rows, %d keys, causal", name(s.t), s.headDim, s.kvHeads, s.group,
             s.rows, p.keys());
    printf("%-72s %9.4f ms %8.0f TFLOP/s\n", what, ms, teraflops);
  }
}
