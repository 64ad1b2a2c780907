// Layers of a decode step: the kernels between two attentions, one after another.

#include <algorithm>

#include "attention.h"
#include "linear.h"

static unsigned up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

namespace {

struct LayerShape {
  int rows, hidden, ffn, heads, kvHeads, headDim, layers;
  int q() const { return heads * headDim; }
  int kv() const { return kvHeads * headDim; }
};

// Which kernels of a layer run.
enum Part { QKV = 1, OUTPUT = 2, GATE_UP = 4, DOWN = 8, OTHERS = 16, ALL = 31 };

// Layers are a decoder's, with random weights.
struct Layers {
  LayerShape s;
  struct Layer {
    Matrix q, k, v, o, gate, up, down, inputNorm, ffnNorm;
  };
  std::vector<Layer> layers;
  Matrix start, hidden, normed, qkv, gateUp, newK, newV, cosines, sines;
  CUevent event;

  Layers(Rng& r, const LayerShape& shape) : s(shape) {
    auto weight = [&](int out, int in) {
      const Matrix m = poisoned(BF16, out, in, 0);
      launch("random_bf16", {up(in, 256), unsigned(std::min(out, 65535))}, 128, 0, m.at(), m.stride, out, in, int64_t(r()), 0.0, 1 / std::sqrt(in));
      return m;
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
    auto of = [](const Matrix& m) { return Operand{m.at(), m.stride, int(m.rows)}; };
    for (const Layer& l : layers) {
      if (marks) mark(2);
      if (parts & OTHERS) norm(l.inputNorm, early);
      if (parts & QKV) gemv(BF16, W_BF16, {qkv.at(), qkv.stride}, in, s.rows, s.hidden, {of(l.q), of(l.k), of(l.v)}, 0, early);
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
      if (parts & OUTPUT) gemv(BF16, W_BF16, x, {qkv.at(), qkv.stride}, s.rows, s.q(), {of(l.o)}, gemvAdd, early);
      if (parts & OTHERS) norm(l.ffnNorm, early);
      if (parts & GATE_UP) gemv(BF16, W_BF16, gated, in, s.rows, s.hidden, {of(l.gate), of(l.up)}, 0, early);
      if (parts & OTHERS) {
        launchWords("glu_bf16", {unsigned(s.rows), up(s.ffn, 1024)}, 128, 0,
                    {gateUp.at(), word(gateUp.stride), gateUp.at(), word(gateUp.stride), word(s.rows), word(s.ffn), word(0)}, early);
      }
      if (parts & DOWN) gemv(BF16, W_BF16, x, gated, s.rows, s.ffn, {of(l.down)}, gemvAdd, early);
    }
  }
};

}  // namespace

void testLayers(Rng& r, bool small) {
  const int passes = small ? 2 : 20;
  for (int rows : {1, 3, 16}) {
    // Some grids are of one wave of blocks and some of several; widths are not whole stages of a ring.
    const int hidden = 8 * uniform(r, 60, small ? 80 : 300), ffn = 8 * uniform(r, 60, small ? 80 : 1500);
    Layers l(r, {rows, hidden, ffn, 8, 2, 64, small ? 2 : 6});
    std::vector<double> want;
    for (bool early : {false, true}) {
      l.begin();
      for (int i = 0; i < passes; i++) l.run(early, ALL, nullptr);
      const std::vector<double> got = read(l.hidden);
      if (!early) {
        want = got;
        record("layers, finite", std::all_of(want.begin(), want.end(), [](double x) { return std::isfinite(x); }), "a hidden state is not a number");
      } else {
        char what[120];
        snprintf(what, sizeof what, "%d passes through layers, %d rows, hidden %d, ffn %d, begun early", passes, rows, hidden, ffn);
        same(what, got, want);
      }
    }
  }
}

void benchmarkLayers(Rng& r, double limit) {
  printf("dependent launch: %s\n", launchesEarly("gemv_bf16_bf16") ? "yes" : "no, these images are too old for it");
  auto line = [&](const Layers& l, const char* what, bool early, int parts, const Problem* attention, double elements, bool marks = false) {
    const double ms = milliseconds([&] { l.run(early, parts, attention, marks); }, 20) / l.s.layers;
    char text[200];
    snprintf(text, sizeof text, "layer of Llama-3-8B, %d rows, %s, %s", l.s.rows, what, early ? "dependent" : "plain");
    rate(text, ms, 2 * elements, limit);
  };
  for (int rows : {1, 8, 16}) {
    const Layers l(r, {rows, 4096, 14336, 32, 8, 128, rows == 1 ? 32 : 8});
    const double qkv = 4096.0 * 6144, o = 4096.0 * 4096, gateUp = 4096.0 * 28672, down = 4096.0 * 14336, all = qkv + o + gateUp + down;
    for (bool early : {false, true}) line(l, "no attention", early, ALL, nullptr, all);
    if (rows > 1) continue;
    const Problem p = makeProblem(r, {BF16, 128, 1, 8, 4, {8192}, true, false, false}, true);
    for (bool early : {false, true}) line(l, "8192 keys", early, ALL, &p, all + 2.0 * 8192 * 8 * 128);
    // Kernels that want the first cache divided in different ways may not share a multiprocessor.
    const char* const decoding[] = {"gemv_bf16_bf16", "rmsnorm_bf16", "rotate_split_bf16", "glu_bf16", "attention_decode_bf16_hd128", "attention_combine_bf16"};
    for (const char* kernel : decoding) preferShared(kernel, 100);
    line(l, "no attention, all shared memory", true, ALL, nullptr, all);
    line(l, "8192 keys, all shared memory", true, ALL, &p, all + 2.0 * 8192 * 8 * 128);
    for (const char* kernel : decoding) preferShared(kernel, -1);
    for (bool early : {false, true}) line(l, "8192 keys and 9 events", early, ALL, &p, all + 2.0 * 8192 * 8 * 128, true);
    for (bool early : {false, true}) {
      line(l, "all linear layers", early, ALL - OTHERS, nullptr, all);
      line(l, "4096 to 4096+1024+1024", early, QKV, nullptr, qkv);
      line(l, "4096 to 4096", early, OUTPUT, nullptr, o);
      line(l, "4096 to 14336+14336", early, GATE_UP, nullptr, gateUp);
      line(l, "14336 to 4096", early, DOWN, nullptr, down);
    }
  }
}
