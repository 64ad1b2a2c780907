// Layers of a decode step: the kernels between two attentions, one after another.

#include <algorithm>

#include "attention.h"
#include "linear.h"

static unsigned up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

namespace {

struct LayerShape {
  int rows, hidden, ffn, heads, kvHeads, headDim, layers;
  Encoding encoding;
  int q() const { return heads * headDim; }
  int kv() const { return kvHeads * headDim; }
};

// Which kernels of a layer run.
enum Part { QKV = 1, OUTPUT = 2, GATE_UP = 4, DOWN = 8, OTHERS = 16, ALL = 31 };

// Layers are a decoder's, with random weights.
struct Layers {
  LayerShape s;
  struct Weight {
    std::shared_ptr<Memory> memory;
    int in, out;
  };
  struct Layer {
    Weight q, k, v, o, gate, up, down;
    Matrix inputNorm, ffnNorm;
  };
  std::vector<Layer> layers;
  Matrix start, hidden, normed, qkv, gateUp, newK, newV, cosines, sines;
  CUevent event;

  Layers(Rng& r, const LayerShape& shape) : s(shape) {
    auto weight = [&](int out, int in) {
      if (quantised(s.encoding)) return Weight{repeatedWeight(r, s.encoding, in, out), in, out};
      const Matrix m = poisoned(BF16, out, in, 0);
      launch("random_bf16", {up(in, 256), unsigned(std::min(out, 65535))}, 128, 0, m.at(), m.stride, out, in, int64_t(r()), 0.0, 1 / std::sqrt(in));
      return Weight{m.memory, in, out};
    };
    for (int i = 0; i < s.layers; i++) {
      layers.push_back({weight(s.q(), s.hidden), weight(s.kv(), s.hidden), weight(s.kv(), s.hidden), weight(s.hidden, s.q()), weight(s.ffn, s.hidden),
                        weight(s.ffn, s.hidden), weight(s.hidden, s.ffn), randomMatrix(r, F32, 1, s.hidden, 0), randomMatrix(r, F32, 1, s.hidden, 0)});
    }
    start = randomMatrix(r, BF16, s.rows, s.hidden, 0);
    hidden = poisoned(BF16, s.rows, s.hidden, 0);
    normed = poisoned(BF16, s.rows, s.hidden, 0);
    qkv = poisoned(BF16, s.rows, s.q() + 2 * s.kv(), 0);
    gateUp = poisoned(BF16, s.rows, 2 * s.ffn, 0);
    newK = poisoned(BF16, s.kvHeads, int64_t(s.rows) * s.headDim, 0);
    newV = poisoned(BF16, s.kvHeads, int64_t(s.rows) * s.headDim, 0);
    // Any pair of a sine and a cosine turns.
    std::vector<double> angles;
    for (int i = 0; i < s.rows * s.headDim / 2; i++) angles.push_back(uniform(r, 0, 6283) / 1000.0);
    size_t at = 0;
    cosines = put(F32, s.rows, s.headDim / 2, 0, [&] { return std::cos(angles[at++]); });
    at = 0;
    sines = put(F32, s.rows, s.headDim / 2, 0, [&] { return std::sin(angles[at++]); });
    CHECK(cuEventCreate(&event, CU_EVENT_DEFAULT));
    begin();
    synchronize();
  }
  ~Layers() { CHECK(cuEventDestroy(event)); }
  Layers(const Layers&) = delete;

  // begin puts the first hidden states in place.
  void begin() { CHECK(cuMemcpyDtoDAsync(hidden.at(), start.at(), start.memory->bytes, nullptr)); }

  void norm(const Matrix& weight, bool early) const {
    launchWords("rmsnorm_bf16", {unsigned(s.rows)}, 256, 0,
                {normed.at(), word(normed.stride), hidden.at(), word(hidden.stride), weight.at(), word(s.rows), word(s.hidden), word(1e-5), word(0)}, early);
  }

  void mark(int events) const {
    for (int i = 0; i < events; i++) CHECK(cuEventRecord(event, nullptr));
  }

  // run goes through the layers. Without attention, the queries stand for its result. With marks, events are recorded
  // where the engine does.
  void run(bool early, int parts, const Problem* attention, bool marks = false) const {
    const Rows x = {hidden.at(), hidden.stride}, in = {normed.at(), normed.stride}, gated = {gateUp.at(), gateUp.stride};
    auto of = [](const Weight& w) { return Operand{w.memory->at, w.in, w.out}; };
    auto linear = [&](Rows y, Rows from, int inputs, const std::vector<Operand>& weights, int flags) {
      gemv(BF16, s.encoding, y, from, s.rows, inputs, weights, flags, early);
    };
    for (const Layer& l : layers) {
      if (marks) mark(2);
      if (parts & OTHERS) norm(l.inputNorm, early);
      if (parts & QKV) linear({qkv.at(), qkv.stride}, in, s.hidden, {of(l.q), of(l.k), of(l.v)}, 0);
      if (parts & OTHERS) {
        launchWords("rotate_split_bf16", {unsigned(s.rows), up(s.q() + 2 * s.kv(), 1024)}, 256, 0,
                    {qkv.at(), word(qkv.stride), qkv.offset(s.q()), word(qkv.stride), qkv.offset(s.q() + s.kv()), word(qkv.stride), cosines.at(),
                     word(cosines.stride), sines.at(), word(sines.stride), newK.at(), newV.at(), word(newK.stride), word(s.rows), word(s.heads),
                     word(s.kvHeads), word(s.headDim), word(s.headDim / 2), word(0)},
                    early);
      }
      if (marks) mark(3);
      if (attention) attend(*attention, DECODE, 0, early);
      if (marks) mark(4);
      if (parts & OUTPUT) linear(x, {qkv.at(), qkv.stride}, s.q(), {of(l.o)}, gemvAdd);
      if (parts & OTHERS) norm(l.ffnNorm, early);
      if (parts & GATE_UP) linear(gated, in, s.hidden, {of(l.gate), of(l.up)}, 0);
      if (parts & OTHERS) {
        launchWords("glu_bf16", {unsigned(s.rows), up(s.ffn, 1024)}, 128, 0,
                    {gateUp.at(), word(gateUp.stride), gateUp.at(), word(gateUp.stride), word(s.rows), word(s.ffn), word(0)}, early);
      }
      if (parts & DOWN) linear(x, gated, s.ffn, {of(l.down)}, gemvAdd);
    }
  }
};

}  // namespace

static void testLayers(Rng& r, Encoding e, int rows, bool small) {
  const int passes = small ? 2 : 20;
  // Some grids are of one wave of blocks and some of several; widths are not whole stages of a ring.
  const int step = quantised(e) ? 256 : 8, hidden = step * uniform(r, 480 / step, (small ? 640 : 2400) / step);
  const int ffn = step * uniform(r, 480 / step, (small ? 640 : 12000) / step);
  Layers l(r, {rows, hidden, ffn, 8, 2, 64, small ? 2 : 6, e});
  std::vector<double> want;
  for (bool early : {false, true}) {
    l.begin();
    for (int i = 0; i < passes; i++) l.run(early, ALL, nullptr);
    const std::vector<double> got = read(l.hidden);
    char what[160];
    snprintf(what, sizeof what, "%d passes through layers of %s, %d rows, hidden %d, ffn %d", passes, name(e), rows, hidden, ffn);
    if (early) {
      same(std::string(what) + ", begun early", got, want);
    } else {
      want = got;
      const bool finite = std::all_of(want.begin(), want.end(), [](double x) { return std::isfinite(x); });
      record(std::string(what) + ", finite", finite, "a hidden state is not a number");
    }
  }
}

void testLayers(Rng& r, bool small) {
  for (Encoding e : {W_BF16, W_Q8_0, W_Q4_0, W_Q4_K, W_Q6_K}) {
    for (int rows : {1, 3, 16}) testLayers(r, e, rows, small);
  }
}

void benchmarkLayers(Rng& r, double limit) {
  printf("dependent launch: %s\n", launchesEarly("gemv_bf16_bf16") ? "yes" : "no, these images are too old for it");
  const double qkv = 4096.0 * 6144, o = 4096.0 * 4096, gateUp = 4096.0 * 28672, down = 4096.0 * 14336, all = qkv + o + gateUp + down;
  auto line = [&](const Layers& l, const char* what, bool early, int parts, double weights, const Problem* attention = nullptr, bool marks = false) {
    const double ms = milliseconds([&] { l.run(early, parts, attention, marks); }, 20) / l.s.layers;
    const double cache = attention ? 4.0 * 8192 * 8 * 128 : 0;
    char text[200];
    snprintf(text, sizeof text, "layer of Llama-3-8B, %s, %d rows, %s, %s", name(l.s.encoding), l.s.rows, what, early ? "dependent" : "plain");
    rate(text, ms, weights * bytesPerElement(l.s.encoding) + cache, limit);
  };
  for (Encoding e : {W_BF16, W_Q4_0, W_Q4_K}) {
    for (int rows : {1, 8, 16}) {
      const Layers l(r, {rows, 4096, 14336, 32, 8, 128, rows == 1 ? 32 : 8, e});
      for (bool early : {false, true}) line(l, "no attention", early, ALL, all);
      if (rows > 1) continue;
      if (e == W_BF16) {
        const Problem p = makeProblem(r, {BF16, 128, 1, 8, 4, {8192}, true, false, false}, true);
        for (bool early : {false, true}) line(l, "8192 keys", early, ALL, all, &p);
        for (bool early : {false, true}) line(l, "8192 keys and 9 events", early, ALL, all, &p, true);
      }
      for (bool early : {false, true}) {
        line(l, "all linear layers", early, ALL - OTHERS, all);
        line(l, "4096 to 4096+1024+1024", early, QKV, qkv);
        line(l, "4096 to 4096", early, OUTPUT, o);
        line(l, "4096 to 14336+14336", early, GATE_UP, gateUp);
        line(l, "14336 to 4096", early, DOWN, down);
      }
    }
  }
}
