// Finds where attention for compute capability 9.0a goes wrong. Every problem has one head, keys that are all visible,
// and a f32 output, so that a row of the output is a row of the block's tile; what is in it tells which step was wrong:
// the log-sum-exp depends on the scores alone, the mean of values on the second product alone, and values that mark
// their key let the output show the weights.

#include <algorithm>

#include "attention.h"

// ranges writes sorted numbers as "0-63 128 130-140", and at most so many.
static std::string ranges(const std::vector<int>& numbers, size_t most) {
  std::string text;
  size_t count = 0;
  for (size_t i = 0; i < numbers.size();) {
    size_t j = i;
    while (j + 1 < numbers.size() && numbers[j + 1] == numbers[j] + 1) j++;
    if (count++ == most) return text + " ...";
    text += (text.empty() ? "" : " ") + std::to_string(numbers[i]) + (j > i ? "-" + std::to_string(numbers[j]) : "");
    i = j + 1;
  }
  return text;
}

// locate records which rows and columns of a result are off by more than a share of its largest.
static void locate(const std::string& what, const std::vector<double>& got, const std::vector<double>& want, int cols, double share) {
  double largest = 1e-3;
  for (double w : want) largest = std::max(largest, std::fabs(w));
  std::vector<int> badRows, badCols;
  std::vector<bool> badCol(cols);
  int64_t off = 0, notNumbers = 0, first = -1;
  for (size_t i = 0; i < want.size(); i++) {
    if (std::fabs(got[i] - want[i]) <= share * largest) continue;
    const int row = int(i) / cols;
    if (badRows.empty() || badRows.back() != row) badRows.push_back(row);
    badCol[i % cols] = true;
    if (first < 0) first = i;
    notNumbers += !std::isfinite(got[i]);
    off++;
  }
  for (int c = 0; c < cols; c++) {
    if (badCol[c]) badCols.push_back(c);
  }
  if (off == 0) return record(what, true, "");
  char detail[160];
  snprintf(detail, sizeof detail, "%lld of %zu (%lld not finite), first %g, want %g; rows ", static_cast<long long>(off), want.size(),
           static_cast<long long>(notNumbers), got[first], want[first]);
  record(what, false, detail + ranges(badRows, 5) + (cols > 1 ? "; columns " + ranges(badCols, 5) : ""));
}

// Values that show something in the output.
enum Values { RANDOM, KEY, TILE }; // KEY marks column key%headDim, TILE column key/128

static Problem problem(Rng& r, int headDim, int rows, const std::vector<int>& tokens, bool equalKeys, Values values) {
  Problem p = makeProblem(r, {BF16, headDim, rows, 1, 1, tokens, false, false, true}, false);
  int before = 0;
  for (Problem::Piece& piece : p.pieces) {
    const int64_t n = int64_t(piece.tokens) * headDim;
    if (equalKeys) piece.k = put(BF16, 1, n, 0, [] { return 0.0; });
    if (values != RANDOM) {
      int64_t at = 0;
      piece.v = put(BF16, 1, n, 0, [&] {
        const int key = before + int(at / headDim), col = at % headDim;
        at++;
        return (values == KEY ? key % headDim : key / 128) == col ? 1.0 : 0.0;
      });
    }
    before += piece.tokens;
  }
  return p;
}

static void examine(const std::string& what, Problem p, bool output) {
  const Expected want = expected(p);
  std::vector<double> out;
  for (int run = 0; run < 3; run++) {
    p.out = poisoned(F32, p.rows, p.headDim, 4);
    attend(p, HOPPER);
    if (run == 0) {
      out = read(p.out);
      locate(what + ", log-sum-exp", read(p.lse), want.lse, 1, 2e-5);
      if (output) locate(what + ", output", out, want.out, p.headDim, 1.0 / 64);
      continue;
    }
    const std::vector<double> again = read(p.out);
    std::vector<double> difference(out.size());
    bool differs = false;
    for (size_t i = 0; i < out.size(); i++) {
      difference[i] = again[i] == out[i] ? 0 : 1;
      differs = differs || difference[i] != 0;
    }
    if (!differs) continue;
    locate(what + ", run " + std::to_string(run) + " against the first (1: differs)", difference, std::vector<double>(out.size()), p.headDim, 0.5);
    break;
  }
}

void debugHopper(Rng& r) {
  if (!haveHopper()) {
    printf("hopper: these images are not of sm_90a, not tested\n");
    return;
  }
  for (int headDim : {128, 64}) {
    const std::string hd = "hd" + std::to_string(headDim);
    const int passedBefore = passed, failedBefore = failed;
    failuresPrinted = failed + 20;
    examine(hd + " 1 tile, scores", problem(r, headDim, 192, {128}, false, RANDOM), false);
    examine(hd + " 1 tile, weights (column: key)", problem(r, headDim, 192, {128}, false, KEY), true);
    examine(hd + " 1 tile, mean of values", problem(r, headDim, 192, {128}, true, RANDOM), true);
    examine(hd + " 1 tile, mean (column: key)", problem(r, headDim, 192, {128}, true, KEY), true);
    examine(hd + " 1 tile, 1 row", problem(r, headDim, 1, {128}, false, RANDOM), true);
    examine(hd + " 33 keys (column: key)", problem(r, headDim, 192, {33}, false, KEY), true);
    for (int tiles : {2, 3, 4, 9}) {
      const std::string n = hd + " " + std::to_string(tiles) + " tiles, ";
      examine(n + "mean (column: tile)", problem(r, headDim, 192, {128 * tiles}, true, TILE), true);
      examine(n + "(column: tile)", problem(r, headDim, 192, {128 * tiles}, false, TILE), true);
      examine(n + "random", problem(r, headDim, 192, {128 * tiles}, false, RANDOM), true);
    }
    examine(hd + " pieces 70 0 300 1", problem(r, headDim, 192, {70, 0, 300, 1}, false, RANDOM), true);
    examine(hd + " many blocks, 9 tiles", problem(r, headDim, 20000, {128 * 9}, false, RANDOM), true);
    printf("%s: %d right, %d wrong\n", hd.c_str(), passed - passedBefore, failed - failedBefore);
  }
}
