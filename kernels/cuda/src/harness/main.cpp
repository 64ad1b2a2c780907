// harness test|small|rings|weights|layers|decode|hopper|hopper debug|bench [seed]: tests the kernels
// against computations in double precision on the host, or times them. weights
// does both for what reads weights, layers for whole layers of a decode step,
// decode for attention with few rows, and hopper for prefill attention on compute
// capability 9.0a; "hopper debug" says where its results are wrong. All but bench
// end with a line "N passed, N failed" and a non-zero status if anything failed;
// small is short enough for compute-sanitizer. rings is for its racecheck: it sends gemv
// several times around the ring in shared memory, which small does not fill, and loads
// no other kernels, as it is slow with many.

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "harness.h"

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  const std::vector<std::string> modes = {"test", "small", "rings", "weights", "layers", "decode", "hopper", "bench"};
  if (std::find(modes.begin(), modes.end(), mode) == modes.end()) {
    fprintf(stderr, "usage: %s test|small|rings|weights|layers|decode|hopper|hopper debug|bench [seed]\n", argv[0]);
    return 2;
  }
  const bool debug = mode == "hopper" && argc > 2 && !strcmp(argv[2], "debug");
  const char* last = argc > 2 + debug ? argv[2 + debug] : nullptr;
  const uint64_t seed = last ? strtoull(last, nullptr, 10) : std::random_device{}();
  printf("seed %llu\n", static_cast<unsigned long long>(seed));
  const std::string program = argv[0];
  const size_t slash = program.rfind('/');
  openDevice(slash == std::string::npos ? "." : program.substr(0, slash), mode == "rings" ? "gemv" : "");
  Rng r(seed);
  if (mode == "rings") {
    testRings(r);
    return finish();
  }
  if (mode == "bench") {
    benchmark(r);
    return 0;
  }
  if (mode == "hopper") failuresPrinted = 12; // so that the figures that follow stay in sight
  if (debug) {
    debugHopper(r);
    return finish();
  }
  if (mode == "decode") {
    testDecode(r);
    benchmarkDecode(r);
    return finish();
  }
  if (mode == "weights") {
    testOperators(r, false);
    testRotate(r, false);
    testLinear(r, false);
    benchmarkWeights(r, memoryLimit());
    return finish();
  }
  if (mode == "layers") {
    testLayers(r, false);
    benchmarkLayers(r, memoryLimit());
    return finish();
  }
  if (mode != "hopper") {
    testOperators(r, mode == "small");
    testRotate(r, mode == "small");
    testLinear(r, mode == "small");
    testLayers(r, mode == "small");
    testAttention(r, mode == "small");
    testCodes(r, mode == "small");
    testMass(r, mode == "small");
  }
  testHopper(r, mode == "small");
  if (mode == "hopper") benchmarkHopper(r);
  return finish();
}
