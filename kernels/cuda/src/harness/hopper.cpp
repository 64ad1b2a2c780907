// Tests and times prefill attention for compute capability 9.0a, beside the kernel that runs everywhere.

#include <algorithm>

#include "attention.h"

// testRepeats runs the same problem several times: each row is summed in one order, so any difference is a race.
static void testRepeats(Rng& r, const Shape& s) {
  constexpr int runs = 8;
  Problem p = makeProblem(r, s, true);
  attend(p, HOPPER);
  const std::vector<double> first = read(p.out);
  int runsOff = 0;
  int64_t most = 0;
  for (int i = 1; i < runs; i++) {
    p.out = poisoned(p.out.type, p.rows, p.out.cols, 4);
    attend(p, HOPPER);
    const std::vector<double> again = read(p.out);
    int64_t off = 0;
    for (size_t j = 0; j < first.size(); j++) off += !(again[j] == first[j]);
    runsOff += off > 0;
    most = std::max(most, off);
  }
  char what[100], detail[100];
  snprintf(what, sizeof what, "hopper head_dim %d, the same problem %d times", s.headDim, runs);
  snprintf(detail, sizeof detail, "%d differ from the first, in up to %lld of %zu elements", runsOff, static_cast<long long>(most), first.size());
  printf("%s: %s\n", what, detail);
  record(what, runsOff == 0, detail);
}

void testHopper(Rng& r, bool small) {
  if (!haveHopper()) {
    printf("hopper: these images are not of sm_90a, not tested\n");
    return;
  }
  for (int headDim : {64, 128}) {
    for (int variant = 0; variant < 8; variant++) {
      const bool causal = variant & 1, merge = variant & 2, floatOut = variant & 4;
      if (small && variant % 3) continue;
      auto test = [&](int rows, int group, std::vector<int> tokens) {
        testCase(r, HOPPER, {BF16, headDim, rows, uniform(r, 1, 3), group, std::move(tokens), causal, merge, floatOut}, 0);
      };
      const int most = small ? 300 : 900;
      for (int group : {1, 2, 4, 7, 8}) {
        const int rows = uniform(r, 1, small ? 40 : 300);
        test(rows, group, cut(r, rows + uniform(r, 0, most), uniform(r, 1, 4)));
        if (small) break;
      }
      test(1, 1, {uniform(r, 1, 300)});
      test(uniform(r, 2, 60), 4, {0, uniform(r, 1, 20), 0, uniform(r, 1, 300)});  // empty, and shorter than a tile
      test(uniform(r, 2, 60), 3, {128, uniform(r, 129, 255), 256, 1});  // whole tiles
      test(33, 4, {uniform(r, 1, 32)});  // some queries see nothing
      test(5, 4, {0, 0});  // none sees anything
    }
    testRepeats(r, {BF16, headDim, small ? 100 : 3000, 2, 4, {small ? 200 : 5000, 333, 0, small ? 10 : 2000}, true, false, true});
    if (!small) testLarge(r, HOPPER, {BF16, headDim, 1000, 2, 4, {8192, 3001, 0, 1000}, true, false, false});
  }
}

void benchmarkHopper(Rng& r) {
  const Shape shapes[] = {
      {BF16, 128, 16384, 8, 4, {16384}, true, false, false},
      {BF16, 128, 32768, 8, 4, {32768}, true, false, false},
      {BF16, 128, 16384, 32, 1, {16384}, true, false, false},
      {BF16, 128, 8192, 1, 4, {24576, 8192}, true, false, true},
      {BF16, 128, 8192, 1, 4, {122880, 8192}, true, false, true},
      {BF16, 128, 8192, 8, 4, {32768}, false, true, true},
      {BF16, 64, 16384, 8, 2, {16384}, true, false, false},
      {BF16, 64, 16384, 8, 4, {16384}, true, false, false},
      {BF16, 64, 8192, 8, 4, {32768}, false, true, true},
  };
  for (const Shape& s : shapes) {
    timePrefillInTurns(r, haveHopper() ? std::vector<Kernel>{PREFILL, HOPPER} : std::vector<Kernel>{PREFILL}, s);
  }
}
