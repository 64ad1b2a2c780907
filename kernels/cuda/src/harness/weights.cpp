// Times linear layers for few rows, and the decoding of weights, by encoding.

#include "linear.h"

static unsigned up(int64_t a, int64_t b) { return static_cast<unsigned>((a + b - 1) / b); }

// Large is a weight of which there are enough copies that none is in the cache when it is read again.
struct Large {
  Encoding encoding;
  int in, out;
  size_t bytes;
  std::vector<std::shared_ptr<Memory>> copies;
  int turn = 0;

  Large(Rng& r, Encoding e, int in, int out) : encoding(e), in(in), out(out) {
    copies.push_back(repeatedWeight(r, e, in, out));
    bytes = copies[0]->bytes;
    for (size_t i = 0; i < (size_t(200) << 20) / bytes; i++) {
      copies.push_back(std::make_shared<Memory>(bytes));
      CHECK(cuMemcpyDtoD(copies.back()->at, copies[0]->at, bytes));
    }
  }
  uint64_t next() { return copies[turn++ % copies.size()]->at; }
};

static std::string cell(double bytes, double ms, double limit) {
  char text[40];
  const double rate = bytes / ms * 1e-6;
  snprintf(text, sizeof text, "%6.0f %3.0f%%", rate, 100 * rate / limit);
  return text;
}

static std::string gemv(Rng& r, Large& w, int rows, double limit) {
  const Matrix x = randomMatrix(r, BF16, rows, w.in, 0), y = poisoned(BF16, rows, w.out, 0);
  const double ms = milliseconds(
      [&] { gemv(BF16, w.encoding, {y.at(), y.stride}, {x.at(), x.stride}, rows, w.in, {{w.next(), w.in, w.out}}, 0, false); }, 50);
  return cell(double(w.bytes), ms, limit);
}

static std::string dequantise(Large& w, double limit) {
  const Matrix out = poisoned(BF16, w.out, w.in, 0);
  const std::string kernel = std::string("dequantise_bf16_") + name(w.encoding);
  const double ms =
      milliseconds([&] { launch(kernel, {up(w.in, 1024), unsigned(w.out)}, 128, 0, out.at(), out.stride, w.next(), w.in, w.out, w.in); }, 20);
  return cell(double(w.bytes) + 2.0 * w.in * w.out, ms, limit);
}

void benchmarkWeights(Rng& r, double limit) {
  printf("GB/s, and share of %.0f. gemv bf16: bytes of the weight; dequantise to bf16: read and written\n", limit);
  printf("%-7s  %-35s  %-23s  %s\n", "", "4096 to 14336: 1, 8, 16 rows", "14336 to 4096: 1, 8", "dequantise");
  for (Encoding e : encodings) {
    Large wide(r, e, 4096, 14336), tall(r, e, 14336, 4096);
    printf("%-7s", name(e));
    for (int rows : {1, 8, 16}) printf(" %s", gemv(r, wide, rows, limit).c_str());
    for (int rows : {1, 8}) printf(" %s", gemv(r, tall, rows, limit).c_str());
    printf(" %s\n", dequantise(wide, limit).c_str());
  }
  for (Encoding e : {W_BF16, W_Q4_0, W_Q4_K, W_Q6_K}) {
    Large square(r, e, 4096, 4096), narrow(r, e, 4096, 1024), vocabulary(r, e, 4096, 128256);
    printf("%-7s 1 row, 4096 to 4096 %s, to 1024 %s, to 128256 %s\n", name(e), gemv(r, square, 1, limit).c_str(),
           gemv(r, narrow, 1, limit).c_str(), gemv(r, vocabulary, 1, limit).c_str());
  }
}
