// Tests of decode attention on lists of problems, and what it takes of the rate at which memory is read.

#include <algorithm>

#include "attention.h"

// randomShape is of a list's problem; only lists that are bounded have windows and caps.
static Shape randomShape(Rng& r, Type t, int headDim, bool bounded, int most) {
  Shape s{t, headDim, uniform(r, 1, uniform(r, 0, 1) ? 4 : 16), uniform(r, 1, 3), uniform(r, 1, 7), {}, uniform(r, 0, 1) == 1,
          uniform(r, 0, 2) == 0, uniform(r, 0, 1) == 1};
  // The host computes each of these scores.
  const int keys = uniform(r, 1, std::min(most, 150000 / (s.rows * s.kvHeads * s.group)));
  s.tokens = cut(r, keys, uniform(r, 1, 4));
  if (bounded && s.causal && uniform(r, 0, 2)) s.window = uniform(r, 1, uniform(r, 0, 1) ? 40 : keys + 10);
  if (bounded && uniform(r, 0, 1)) s.cap = uniform(r, 0, 1) ? 0.7 : 50;
  return s;
}

// testList compares a list's results with the host's, with splits that are chosen for it and with random ones.
static void testList(Rng& r, const std::vector<Shape>& shapes) {
  std::vector<Problem> problems;
  std::vector<Expected> want;
  List list;
  for (const Shape& s : shapes) problems.push_back(makeProblem(r, s, false));
  for (const Problem& p : problems) {
    want.push_back(expected(p));
    list.push_back(&p);
  }
  std::vector<Matrix> outs, lses; // what is merged into, of which a second run needs a copy
  for (Problem& p : problems) {
    auto again = [&](const Matrix& m) {
      if (!p.merge) return poisoned(m.type, m.rows, m.cols, m.stride - m.cols);
      size_t at = 0;
      return put(m.type, m.rows, m.cols, m.stride - m.cols, [&] { return m.v[at++]; });
    };
    outs.push_back(again(p.out));
    lses.push_back(again(p.lse));
  }
  for (bool good : {true, false}) {
    std::vector<int> splits = goodSplits(list);
    if (!good) {
      for (size_t i = 0; i < problems.size(); i++) {
        splits[i] = uniform(r, 1, uniform(r, 0, 3) ? 5 : 40);
        problems[i].out = outs[i];
        problems[i].lse = lses[i];
      }
    }
    attendList(list, splits, !good);
    for (size_t i = 0; i < problems.size(); i++) {
      const std::string what = "of a list of " + std::to_string(problems.size()) + ", " + describe(DECODE, shapes[i], splits[i]);
      near(what + ", output", read(problems[i].out), want[i].out, epsilon(shapes[i].t));
      nearLog(what, read(problems[i].lse), want[i].lse, 1e-5);
    }
  }
}

// testRepeats runs the same list several times, without waiting in between: however the kernels overlap, each row is
// summed in one order.
static void testRepeats(Rng& r, Type t, int headDim, int runs) {
  std::vector<std::vector<Problem>> problems(1);
  for (int i = uniform(r, 2, 9); i > 0; i--) {
    problems[0].push_back(makeProblem(r, {t, headDim, uniform(r, 1, 8), uniform(r, 1, 8), 4, {uniform(r, 1, 20000), 5}, true, false, true}, true));
  }
  while (problems.size() < size_t(runs)) {
    problems.push_back(problems[0]);
    for (Problem& p : problems.back()) p.out = poisoned(F32, p.rows, p.out.cols, 4);
  }
  for (const auto& run : problems) {
    List list;
    for (const Problem& p : run) list.push_back(&p);
    attendList(list, {}, true);
  }
  int off = 0;
  for (size_t i = 0; i < problems[0].size(); i++) {
    const std::vector<double> first = read(problems[0][i].out);
    for (const auto& run : problems) {
      const std::vector<double> out = read(run[i].out);
      for (size_t j = 0; j < out.size(); j++) off += !(out[j] == first[j]);
    }
  }
  record("a list " + std::to_string(runs) + " times", off == 0, std::to_string(off) + " elements differ from those of the first");
}

void testLists(Rng& r, bool small) {
  for (Type t : activationTypes) {
    for (int headDim : {64, 96, 128, 256}) {
      for (bool bounded : {false, true}) {
        const int longest = small ? 400 : 5000;
        for (int count : {1, uniform(r, 2, 4), uniform(r, 5, small ? 6 : 12)}) {
          std::vector<Shape> shapes;
          for (int i = 0; i < count; i++) shapes.push_back(randomShape(r, t, headDim, bounded, longest));
          testList(r, shapes);
        }
        if (small && t == F16) break;
      }
      testRepeats(r, t, headDim, small ? 3 : 10);
    }
    std::vector<Shape> full;
    for (int i = 0; i < 64; i++) full.push_back(randomShape(r, t, 64, false, small ? 100 : 700));
    testList(r, full);
  }
}

void testDecode(Rng& r) {
  testLists(r, false);
  for (Type t : activationTypes) {
    for (int headDim : {64, 96, 128, 256}) {
      for (int rows : {1, uniform(r, 2, 8), 16}) {
        for (bool causal : {false, true}) {
          const Shape s{t, headDim, rows, uniform(r, 1, 3), uniform(r, 1, 7), cut(r, uniform(r, 1, 1400), uniform(r, 1, 4)), causal, rows == 1, !causal};
          for (int splits : {1, uniform(r, 2, 9)}) testCase(r, DECODE, s, splits);
        }
      }
      if (haveLong(t, headDim)) testLong(r, t, headDim, false);
      testLarge(r, DECODE, {t, headDim, 5, 2, 4, {40000, 777, 5}, true, false, true});
      testLarge(r, DECODE, {t, headDim, 5, 2, 4, {40000, 777, 5}, true, false, true, 4096, 50});
    }
  }
}

// readLimit is the rate of reading alone, in GB/s.
static double readLimit() {
  const size_t block = 512 * 8 * 16, blocks = (size_t(4) << 30) / block;
  const Memory from(blocks * block), to(4);
  const double ms = milliseconds([&] { launchWords("read_all", {unsigned(blocks)}, 512, 0, {from.at, to.at}); }, 10);
  return blocks * block / ms * 1e-6;
}

static double bytesRead(const Problem& p) { return 4.0 * (p.keys() - p.from(0)) * p.headDim * p.kvHeads; }

using Way = std::pair<Kernel, int>; // and between how many blocks it divides the keys of a KV head and a block of rows

// decode times a problem, launched after the one before it has ended and as it is in a decode step, while that ends: as it
// is attended to, and in other ways.
static void decode(Rng& r, Shape s, double limit, const std::vector<Way>& others = {}) {
  s.gaps = false;
  // So many that none finds its keys in the cache.
  std::vector<Problem> problems;
  for (int i = s.tokens[0] < 32768 || s.tokens[0] > 65536 ? 8 : 32; i > 0; i--) problems.push_back(makeProblem(r, s, true));
  std::vector<Way> ways = {faster(problems[0])};
  ways.insert(ways.end(), others.begin(), others.end());
  for (const auto& [kernel, splits] : ways) {
    if (kernel == LONG && !haveLong(s.t, s.headDim)) continue;
    for (bool early : {false, true}) {
      const double ms = milliseconds([&, kernel = kernel, splits = splits] {
        for (const Problem& p : problems) attend(p, kernel, splits, early);
      }, 20) / problems.size();
      char what[200];
      snprintf(what, sizeof what, "decode%s %s hd%d %dx%d heads, %d rows, %d keys, %d splits%s%s", kernel == LONG ? " long" : "", name(s.t), s.headDim,
               s.kvHeads, s.group, s.rows, problems[0].keys(), splits, bounds(s).c_str(), early ? ", dependent" : "");
      rate(what, ms, bytesRead(problems[0]), limit);
    }
  }
}

// decodeList times as many problems of a shape: in one call, which divides their keys well or not at all, and one by one.
static void decodeList(Rng& r, Shape s, int count, double limit) {
  s.gaps = false;
  std::vector<Problem> problems[2];
  List list[2];
  double bytes = 0;
  for (int turn : {0, 1}) {
    for (int i = 0; i < count; i++) problems[turn].push_back(makeProblem(r, s, true));
    for (const Problem& p : problems[turn]) list[turn].push_back(&p);
  }
  for (const Problem& p : problems[0]) bytes += bytesRead(p);
  const std::vector<int> good = goodSplits(list[0]), whole(count, 1);
  auto line = [&](const char* way, int splits, const std::function<void(const List&)>& f) {
    int turn = 0;
    const double ms = milliseconds([&] { f(list[turn++ & 1]); }, 20);
    char what[200];
    snprintf(what, sizeof what, "decode %s hd%d %dx%d heads, %d rows, %d keys, %d problems, %d splits, %s", name(s.t), s.headDim, s.kvHeads, s.group,
             s.rows, problems[0][0].keys(), count, splits, way);
    rate(what, ms, bytes, limit);
  };
  line("plain", good[0], [&](const List& l) { attendList(l); });
  line("dependent", good[0], [&](const List& l) { attendList(l, {}, true); });
  line("dependent", 1, [&](const List& l) { attendList(l, whole, true); });
  line("dependent, one by one", goodSplits({list[0][0]})[0], [&](const List& l) {
    for (const Problem* p : l) attend(*p, DECODE, 0, true);
  });
}

void benchmarkDecode(Rng& r) {
  const double limit = readLimit();
  printf("reading alone %.0f GB/s, the limit of decode\n", limit);
  auto shape = [](int headDim, int rows, int kvHeads, int group, int keys) {
    return Shape{BF16, headDim, rows, kvHeads, group, {keys}, true, false, false};
  };
  for (int rows : {1, 16}) decode(r, shape(128, rows, 8, 4, 256), limit);
  decode(r, shape(128, 1, 8, 4, 4096), limit, {{DECODE, 8}, {DECODE, 32}});
  decode(r, shape(128, 1, 8, 4, 8192), limit, {{LONG, 16}});
  for (int rows : {1, 4, 8, 16}) decode(r, shape(128, rows, 8, 4, 32768), limit, {{DECODE, 32}, {LONG, 16}});
  for (int rows : {1, 4, 8, 16}) decode(r, shape(128, rows, 8, 4, 131072), limit, {{DECODE, 32}, {LONG, 16}});
  for (int rows : {1, 8}) decode(r, shape(128, rows, 1, 4, 131072), limit, {{DECODE, 128}, {LONG, 132}});
  for (int headDim : {64, 96, 256}) decode(r, shape(headDim, 1, 8, 4, 65536), limit);
  Shape bounded = shape(256, 1, 8, 2, 65536);
  bounded.cap = 50;
  decode(r, bounded, limit);
  for (int headDim : {128, 256}) {
    bounded = shape(headDim, 1, 8, 4, 131072);
    bounded.window = 4096;
    decode(r, bounded, limit);
  }
  for (int count : {16, 48}) decodeList(r, shape(128, 1, 8, 4, 512), count, limit);
}
