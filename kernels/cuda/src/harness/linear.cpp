// Tests of the linear layers for few rows.

#include <algorithm>

#include "linear.h"

static unsigned up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

void gemv(Type t, Encoding e, Rows y, Rows x, int rows, int in, const std::vector<Operand>& weights, int flags, bool early) {
  std::vector<uint64_t> words = {y.at, word(y.stride), x.at, word(x.stride), word(rows), word(in), word(flags)};
  unsigned blocks = 0;
  for (size_t i = 0; i < 3; i++) {
    const Operand w = i < weights.size() ? weights[i] : Operand{0, 0, 0};
    words.insert(words.end(), {w.at, word(w.stride), word(w.out)});
    blocks += up(w.out, 16);
  }
  launchWords(std::string("gemv_") + name(t) + "_" + name(e), {blocks}, quantised(e) ? 256 : 128, 65536, words, early);
}

std::shared_ptr<Memory> repeatedWeight(Rng& r, Encoding e, int in, int out) {
  const Weights tile = randomWeights(r, e, 16, in, 0);
  const size_t step = tile.memory->bytes;
  auto all = std::make_shared<Memory>(step * (out / 16));
  CHECK(cuMemcpyDtoD(all->at, tile.memory->at, step));
  for (size_t have = step; have < all->bytes; have *= 2) CHECK(cuMemcpyDtoD(all->at + have, all->at, std::min(have, all->bytes - have)));
  return all;
}

struct LinearCase {
  Type t;
  Encoding e;
  int rows, in;
  std::vector<int> outs; // of each weight
  int gap;
  bool accumulate, floatResult;
};

static void testCase(Rng& r, const LinearCase& c) {
  std::vector<Weights> weights;
  std::vector<Operand> operands;
  std::string outs;
  int out = 0;
  for (int n : c.outs) {
    weights.push_back(randomWeights(r, c.e, n, c.in, quantised(c.e) ? blockElements(c.e) : c.gap));
    operands.push_back({weights.back().memory->at, weights.back().stride, n});
    outs += (out ? " and " : "") + std::to_string(n);
    out += n;
  }
  const Matrix x = randomMatrix(r, c.t, c.rows, c.in, c.gap);
  const Type result = c.floatResult ? F32 : c.t;
  const Matrix y = c.accumulate ? randomMatrix(r, result, c.rows, out, 3, 5) : poisoned(result, c.rows, out, 3);
  gemv(c.t, c.e, {y.at(), y.stride}, {x.at(), x.stride}, c.rows, c.in, operands, (c.accumulate ? gemvAdd : 0) | (c.floatResult ? gemvFloat : 0),
       uniform(r, 0, 1));
  std::vector<double> want(c.rows * out);
  int first = 0;
  for (const Weights& w : weights) {
    parallel(w.rows, [&](int64_t o) {
      for (int i = 0; i < c.rows; i++) {
        const int64_t at = i * out + first + o;
        double sum = c.accumulate ? y.v[at] : 0;
        for (int k = 0; k < c.in; k++) sum += x.v[i * c.in + k] * w.v[o * c.in + k];
        want[at] = sum;
      }
    });
    first += w.rows;
  }
  char what[200];
  snprintf(what, sizeof what, "gemv %s of %s, %d rows, %d to %s, gap %d%s%s", name(c.t), name(c.e), c.rows, c.in, outs.c_str(), c.gap,
           c.accumulate ? ", adding" : "", c.floatResult ? ", to f32" : "");
  // Products of 16-bit numbers, and of the parts that others are split into, are exact in f32; the order of the
  // sum and how tensor cores cut it off differ.
  near(what, read(y), want, c.floatResult ? 1e-5 : epsilon(c.t));
}

// testRings goes several times around the rings in shared memory that weights are read through, with two blocks each.
void testRings(Rng& r) {
  constexpr int rowBytes = 3 * 4096; // a block's ring has 4096 of each row
  for (Type t : activationTypes) {
    for (Encoding e : encodings) {
      const int block = std::max(8, blockElements(e)), in = (int(rowBytes / bytesPerElement(e)) / block + uniform(r, 0, 9)) * block;
      for (int rows : {1, uniform(r, 2, 8), uniform(r, 9, 16)}) testCase(r, {t, e, rows, in, {uniform(r, 17, 32)}, 8, false, true});
    }
  }
}

void testLinear(Rng& r, bool small) {
  for (Type t : activationTypes) {
    for (Encoding e : encodings) {
      for (int rows : {1, 2, 5, 8, 9, 16}) {
        // Whole blocks, so many that some warps have none and some several units.
        const int block = std::max(32, blockElements(e)), most = !small ? 6400 / block : block > 32 ? 20 : 12;
        const int in = block * uniform(r, 1, most);
        std::vector<int> outs;
        for (int i = uniform(r, 1, 3); i > 0; i--) outs.push_back(uniform(r, 1, small ? 40 : 150));
        const bool accumulate = uniform(r, 0, 1), floatResult = uniform(r, 0, 1);
        testCase(r, {t, e, rows, in, outs, 8 * uniform(r, 0, 2), accumulate, floatResult});
        // Odd strides, and for plain weights odd widths.
        testCase(r, {t, e, rows, quantised(e) ? in : uniform(r, 1, 300), outs, 1, !accumulate, !floatResult});
      }
    }
  }
}
