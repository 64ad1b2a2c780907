// Times the kernels on shapes of Llama-3-8B and prints rates, and shares of the limits given below.

#include <algorithm>
#include <chrono>
#include <thread>

#include "attention.h"

// What one H100 80GB reaches: a bf16 matrix product of cuBLAS, and a copy within the device.
constexpr double matrixTeraflops = 798;

static unsigned up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

double memoryLimit() {
  const size_t bytes = size_t(4) << 30;
  Memory a(bytes), b(bytes);
  const double ms = milliseconds([&] { CHECK(cuMemcpyDtoDAsync(b.at, a.at, bytes, nullptr)); }, 10);
  return 2 * bytes / ms * 1e-6;
}

void rate(const char* what, double ms, double bytes, double limit) {
  const double rate = bytes / ms * 1e-6;
  printf("%-72s %9.4f ms %8.0f GB/s %5.1f%%\n", what, ms, rate, 100 * rate / limit);
}

std::string bounds(const Shape& s) {
  char window[30] = "", cap[30] = "";
  if (s.window > 0) snprintf(window, sizeof window, ", window %d", s.window);
  if (s.cap > 0) snprintf(cap, sizeof cap, ", cap %g", s.cap);
  return std::string(window) + cap;
}

static void printPrefill(Kernel k, const Shape& s, const Problem& p, double ms, const std::string& more) {
  double pairs = 0;
  for (int row = 0; row < s.rows; row++) pairs += p.to(row) - p.from(row);
  const double teraflops = 4 * pairs * p.heads() * s.headDim / ms * 1e-9;
  char what[200];
  snprintf(what, sizeof what, "%s %s hd%d %dx%d heads, %d rows, %d keys%s%s%s%s", k == HOPPER ? "hopper" : "prefill", name(s.t), s.headDim,
           s.kvHeads, s.group, s.rows, p.keys(), s.causal ? ", causal" : "", s.merge ? ", merging" : "", s.floatOut ? ", f32" : "",
           bounds(s).c_str());
  printf("%-72s %9.4f ms %8.0f TFLOP/s %5.1f%%%s\n", what, ms, teraflops, 100 * teraflops / matrixTeraflops, more.c_str());
}

// Without gaps, as caches are.
static Problem largeProblem(Rng& r, Shape s) {
  s.gaps = false;
  return makeProblem(r, s, true);
}

static void timePrefill(Rng& r, Kernel k, const Shape& s) {
  const Problem p = largeProblem(r, s);
  printPrefill(k, s, p, milliseconds([&] { attend(p, k); }, 10), "");
}

void timePrefillInTurns(Rng& r, const std::vector<Kernel>& kernels, const Shape& s) {
  constexpr int rounds = 10;
  const Problem p = largeProblem(r, s);
  std::vector<std::vector<double>> times(kernels.size());
  for (int turn = 0; turn < rounds; turn++) {
    for (size_t i = 0; i < kernels.size(); i++) {
      const size_t which = (i + turn) % kernels.size();
      std::this_thread::sleep_for(std::chrono::milliseconds(300)); // until the clock has recovered
      times[which].push_back(milliseconds([&] { attend(p, kernels[which]); }, 10));
    }
  }
  for (size_t i = 0; i < kernels.size(); i++) {
    const double ms = median(times[i]), best = *std::min_element(times[i].begin(), times[i].end());
    char more[60];
    snprintf(more, sizeof more, "  median of %d rounds; best %.4f ms", rounds, best);
    printPrefill(kernels[i], s, p, ms, more);
  }
}

static void operators(Rng& r, double limit) {
  const int rows = 8192, hidden = 4096, ffn = 14336;
  const Matrix x = randomMatrix(r, BF16, 64, hidden, 0), w = randomMatrix(r, F32, 1, hidden, 0);
  const Matrix a = poisoned(BF16, rows, 2 * ffn, 0), b = poisoned(BF16, rows, ffn, 0), c = poisoned(BF16, rows, hidden, 0);
  auto fill = [&](const Matrix& m) {
    launch("random_bf16", {up(m.cols, 256), unsigned(m.rows)}, 128, 0, m.at(), m.stride, m.rows, m.cols, int64_t(r()), 0.0, 1.0);
  };
  fill(a);
  fill(b);
  rate("random bf16 [8192, 28672]", milliseconds([&] { fill(a); }, 10), 2.0 * rows * 2 * ffn, limit);
  rate("rmsnorm bf16 [8192, 4096]", milliseconds([&] {
         launch("rmsnorm_bf16", {unsigned(rows)}, 256, 0, c.at(), c.stride, b.at(), b.stride, w.at(), rows, hidden, 1e-5, 0);
       }, 20), 4.0 * rows * hidden, limit);
  fill(c);
  rate("rmsnorm bf16 [8192, 4096], adding", milliseconds([&] {
         launch("rmsnorm_bf16", {unsigned(rows)}, 256, 0, c.at(), c.stride, b.at(), b.stride, w.at(), rows, hidden, 1e-5, 1);
       }, 20), 6.0 * rows * hidden, limit);
  rate("glu bf16 [8192, 14336]", milliseconds([&] {
         launch("glu_bf16", {unsigned(rows), up(ffn, 1024)}, 128, 0, b.at(), b.stride, a.at(), a.stride, rows, ffn, 0);
       }, 20), 6.0 * rows * ffn, limit);
  rate("glu bf16 [8192, 14336], gelu", milliseconds([&] {
         launch("glu_bf16", {unsigned(rows), up(ffn, 1024)}, 128, 0, b.at(), b.stride, a.at(), a.stride, rows, ffn, 1);
       }, 20), 6.0 * rows * ffn, limit);
  const Matrix table = randomMatrix(r, F32, rows, 64, 0), k = poisoned(BF16, 8, rows * 128, 0), v = poisoned(BF16, 8, rows * 128, 0);
  rate("rotate_split bf16 [8192, 32+8+8 heads of 128]", milliseconds([&] {
         launch("rotate_split_bf16", {unsigned(rows)}, 256, 0, a.at(), a.stride, a.offset(4096), a.stride, a.offset(5120), a.stride, table.at(),
                table.stride, table.at(), table.stride, k.at(), v.at(), k.stride, rows, 32, 8, 128, 64, 0);
       }, 20), 2.0 * 2 * rows * 6144, limit);
  rate("rotate_split bf16, the same with norms", milliseconds([&] {
         launch("rotate_split_bf16_weighted", {unsigned(rows)}, 256, 0, a.at(), a.stride, a.offset(4096), a.stride, a.offset(5120), a.stride,
                table.at(), table.stride, table.at(), table.stride, k.at(), v.at(), k.stride, rows, 32, 8, 128, 64, 0, uint64_t(0), uint64_t(0),
                uint64_t(0), w.at(), w.at(), 1e-5);
       }, 20), 2.0 * 2 * rows * 6144, limit);
  rate("rotate_split bf16, the same with biases", milliseconds([&] {
         launch("rotate_split_bf16_weighted", {unsigned(rows)}, 256, 0, a.at(), a.stride, a.offset(4096), a.stride, a.offset(5120), a.stride,
                table.at(), table.stride, table.at(), table.stride, k.at(), v.at(), k.stride, rows, 32, 8, 128, 64, 0, w.at(), w.at(), w.at(),
                uint64_t(0), uint64_t(0), 1e-5);
       }, 20), 2.0 * 2 * rows * 6144, limit);
}

void benchmark(Rng& r) {
  const double limit = memoryLimit();
  printf("copy within the device %.0f GB/s, read and written; matrix limit %.0f TFLOP/s\n", limit, matrixTeraflops);
  timePrefill(r, PREFILL, {F16, 128, 16384, 8, 4, {16384}, true, false, false});
  for (int headDim : {96, 256}) timePrefill(r, PREFILL, {BF16, headDim, 16384, 8, 2, {16384}, true, false, false});
  // Gemma 2's shapes with and without its cap, and windows.
  for (double cap : {0.0, 50.0}) {
    for (int window : {0, 4096}) timePrefill(r, PREFILL, {BF16, 256, 16384, 8, 2, {16384}, true, false, false, window, cap});
    timePrefill(r, PREFILL, {BF16, 128, 16384, 8, 4, {16384}, true, false, false, 0, cap});
  }
  for (int headDim : {64, 96, 128}) timePrefill(r, PREFILL, {BF16, headDim, 4096, 8, 4, {28672, 4096}, true, false, false, 4096, 0});
  benchmarkHopper(r);
  benchmarkDecode(r);
  benchmarkWeights(r, limit);
  benchmarkLayers(r, limit);
  operators(r, limit);
  benchmarkCodes(limit);
  benchmarkMass(r);
}
