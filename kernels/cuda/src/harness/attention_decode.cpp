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
    attendList(list, splits);
    for (size_t i = 0; i < problems.size(); i++) {
      const std::string what = "of a list of " + std::to_string(problems.size()) + ", " + describe(DECODE, shapes[i], splits[i]);
      near(what + ", output", read(problems[i].out), want[i].out, epsilon(shapes[i].t));
      nearLog(what, read(problems[i].lse), want[i].lse, 1e-5);
    }
    record("counters after a list", countersClear(), "are not 0");
  }
}

// testRepeats runs the same list several times: whichever block comes last, each row is summed in one order.
static void testRepeats(Rng& r, Type t, int headDim, int runs) {
  std::vector<Problem> problems;
  List list;
  for (int i = uniform(r, 2, 9); i > 0; i--) {
    problems.push_back(makeProblem(r, {t, headDim, uniform(r, 1, 8), uniform(r, 1, 8), 4, {uniform(r, 1, 20000), 5}, true, false, true}, true));
  }
  for (const Problem& p : problems) list.push_back(&p);
  std::vector<std::vector<double>> first;
  int off = 0;
  for (int run = 0; run < runs; run++) {
    for (Problem& p : problems) p.out = poisoned(F32, p.rows, p.out.cols, 4);
    attendList(list);
    for (size_t i = 0; i < problems.size(); i++) {
      const std::vector<double> out = read(problems[i].out);
      if (run == 0) {
        first.push_back(out);
      } else {
        for (size_t j = 0; j < out.size(); j++) off += !(out[j] == first[i][j]);
      }
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

// decode times a problem; splits are per KV head and block of rows, and chosen if 0.
static void decode(Rng& r, const Shape& s, double limit, int splits = 0, bool apart = false) {
  // Two problems in turn, so that the second does not find its keys in the cache.
  Problem p[2] = {makeProblem(r, s, true), makeProblem(r, s, true)};
  p[0].apart = p[1].apart = apart;
  int turn = 0;
  const double ms = milliseconds([&] { attend(p[turn++ & 1], DECODE, splits); }, 20);
  char what[200];
  snprintf(what, sizeof what, "decode %s hd%d %dx%d heads, %d rows, %d keys, %d splits%s%s", name(s.t), s.headDim, s.kvHeads, s.group, s.rows,
           p[0].keys(), splits ? splits : goodSplits({&p[0]})[0], apart ? " apart" : "", bounds(s).c_str());
  rate(what, ms, bytesRead(p[0]), limit);
}

// decodeList times as many problems of a shape, in one call and one by one.
static void decodeList(Rng& r, const Shape& s, int count, double limit) {
  std::vector<Problem> problems[2];
  List list[2];
  double bytes = 0;
  for (int turn : {0, 1}) {
    for (int i = 0; i < count; i++) problems[turn].push_back(makeProblem(r, s, true));
    for (const Problem& p : problems[turn]) list[turn].push_back(&p);
  }
  for (const Problem& p : problems[0]) bytes += bytesRead(p);
  for (bool together : {true, false}) {
    int turn = 0;
    const double ms = milliseconds([&] {
      const List& here = list[turn++ & 1];
      if (together) return attendList(here);
      for (const Problem* p : here) attend(*p, DECODE);
    }, 20);
    char what[200];
    snprintf(what, sizeof what, "decode %s hd%d %dx%d heads, %d rows, %d keys, %d problems, %s", name(s.t), s.headDim, s.kvHeads, s.group, s.rows,
             problems[0][0].keys(), count, together ? "in one call" : "one by one");
    rate(what, ms, bytes, limit);
  }
}

void benchmarkDecode(Rng& r) {
  const double limit = readLimit();
  printf("reading alone %.0f GB/s, the limit of decode\n", limit);
  for (int keys : {256, 32768, 131072}) {
    for (int rows : {1, 4, 8, 16}) decode(r, {BF16, 128, rows, 8, 4, {keys}, true, false, false}, limit);
  }
  decode(r, {BF16, 128, 1, 1, 4, {131072}, true, false, false}, limit);
  for (int headDim : {64, 96, 256}) decode(r, {BF16, headDim, 1, 8, 4, {65536}, true, false, false}, limit);
  decode(r, {BF16, 256, 1, 8, 2, {65536}, true, false, false, 0, 50}, limit);
  for (int headDim : {128, 256}) decode(r, {BF16, headDim, 1, 8, 4, {131072}, true, false, false, 4096, 0}, limit);
  for (int count : {16, 48}) decodeList(r, {BF16, 128, 1, 8, 4, {512}, true, false, false}, count, limit);
  // Ways to divide the keys.
  for (bool apart : {false, true}) {
    for (int splits : {16, 33, 49, 66, 99}) {
      for (int rows : {1, 8}) decode(r, {BF16, 128, rows, 8, 4, {32768}, true, false, false}, limit, splits, apart);
    }
    for (int splits : {16, 33, 66}) decode(r, {BF16, 128, 1, 8, 4, {131072}, true, false, false}, limit, splits, apart);
    for (int splits : {66, 132, 198, 264, 528}) decode(r, {BF16, 128, 1, 1, 4, {131072}, true, false, false}, limit, splits, apart);
  }
}
