// harness test|small|bench [seed]: tests the kernels against computations in
// double precision on the host, or times them. test and small end with a line
// "N passed, N failed" and a non-zero status if anything failed; small is short
// enough for compute-sanitizer.

#include <cstdlib>
#include <cstring>

#include "harness.h"

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode != "test" && mode != "small" && mode != "bench") {
    fprintf(stderr, "usage: %s test|small|bench [seed]\n", argv[0]);
    return 2;
  }
  const uint64_t seed = argc > 2 ? strtoull(argv[2], nullptr, 10) : std::random_device{}();
  printf("seed %llu\n", static_cast<unsigned long long>(seed));
  const std::string program = argv[0];
  const size_t slash = program.rfind('/');
  openDevice(slash == std::string::npos ? "." : program.substr(0, slash));
  Rng r(seed);
  if (mode == "bench") {
    benchmark(r);
    return 0;
  }
  testOperators(r, mode == "small");
  testLinear(r, mode == "small");
  testAttention(r, mode == "small");
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
