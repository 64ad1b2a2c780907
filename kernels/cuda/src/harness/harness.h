// The harness: kernels launched by name through the driver API, as the Go side
// does, on matrices whose values the host knows in double precision.
#pragma once

#include <cuda.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

enum Type { BF16, F16, F32 };
constexpr Type activationTypes[] = {BF16, F16};

const char* name(Type t);
int bytesOf(Type t);
double rounded(double x, Type t); // to the nearest value of the type
double decoded(const uint8_t* p, Type t);
void encode(uint8_t* p, double x, Type t);

// epsilon is the largest relative error of rounding to a type.
double epsilon(Type t);

// check ends the program when a driver call fails.
void check(CUresult r, const char* what);
#define CHECK(call) check(call, #call)

// Memory is a device allocation, exactly as large as asked for.
struct Memory {
  CUdeviceptr at = 0;
  size_t bytes = 0;
  explicit Memory(size_t n);
  ~Memory();
  Memory(const Memory&) = delete;
};

// Matrix is a row-major matrix on the device; its gaps and what nothing has
// written hold bytes of 0xff, which is NaN in every type.
struct Matrix {
  Type type = F32;
  int64_t rows = 0, cols = 0, stride = 0;
  std::shared_ptr<Memory> memory;
  std::vector<double> v; // the values put there, [rows, cols]

  uint64_t at() const { return memory->at; }
  uint64_t offset(int64_t elements) const { return memory->at + elements * bytesOf(type); }
};

using Rng = std::mt19937_64;
int uniform(Rng& r, int lo, int hi); // both included
double normal(Rng& r);

Matrix poisoned(Type t, int64_t rows, int64_t cols, int64_t gap);
Matrix put(Type t, int64_t rows, int64_t cols, int64_t gap, const std::function<double()>& value);
Matrix randomMatrix(Rng& r, Type t, int64_t rows, int64_t cols, int64_t gap, double deviation = 1);
std::shared_ptr<Memory> upload(const void* data, size_t bytes);

// read copies a matrix back, and fails if a gap was written.
std::vector<double> read(const Matrix& m);

uint64_t word(double x);
inline uint64_t word(uint64_t x) { return x; }
inline uint64_t word(int64_t x) { return static_cast<uint64_t>(x); }
inline uint64_t word(int x) { return static_cast<uint64_t>(static_cast<int64_t>(x)); }

// haveKernel says whether a loaded image holds a kernel.
bool haveKernel(const std::string& kernel);

struct Grid { unsigned x = 1, y = 1, z = 1; };

// launch finds a kernel in the loaded images and starts it.
// Early, it may begin before the kernel ahead has ended (common.cuh), if it was compiled for a device that can.
void launchWords(const std::string& kernel, Grid g, unsigned block, unsigned shared, std::vector<uint64_t> words, bool early = false);
// launchesEarly says whether a kernel was.
bool launchesEarly(const std::string& kernel);
template <typename... A> void launch(const std::string& kernel, Grid g, unsigned block, unsigned shared, A... args) {
  launchWords(kernel, g, block, shared, {word(args)...});
}
void synchronize();

// openDevice loads the images of a folder whose names begin with `of`, and prints the device.
void openDevice(const std::string& images, const std::string& of);
int multiprocessors();
int sharedBytes(); // the most that a block can have

// Results. Of failures the first failuresPrinted are printed. finish prints the totals and returns the exit status.
extern int passed, failed, failuresPrinted;
int finish();
void record(const std::string& what, bool ok, const std::string& detail);
// near passes if ‖got − want‖ ≤ share · ‖want‖ and no element is off by more
// than 8 times that share of the largest, which counts as no less than least;
// infinities must be equal.
void near(const std::string& what, const std::vector<double>& got, const std::vector<double>& want, double share, double least = 1e-3);
// nearLog is near for log-sum-exps: what weights are off by is their absolute error, however close to 0 they lie.
void nearLog(const std::string& what, const std::vector<double>& got, const std::vector<double>& want, double share);
void same(const std::string& what, const std::vector<double>& got, const std::vector<double>& want);

// parallel calls f for 0 … n-1 from several threads.
void parallel(int64_t n, const std::function<void(int64_t)>& f);

// median is the middle value, or the mean of the two in the middle.
double median(std::vector<double> values);

// milliseconds returns the median time of one call, after warming up.
double milliseconds(const std::function<void()>& f, int repeats);

void testOperators(Rng& r, bool small);
void testRotate(Rng& r, bool small);
void testLinear(Rng& r, bool small);
void testRings(Rng& r);
// testLayers compares decode steps whose kernels begin early with the same launched one after another.
void testLayers(Rng& r, bool small);
void testAttention(Rng& r, bool small);
void testDecode(Rng& r);
void testHopper(Rng& r, bool small);
void testCodes(Rng& r, bool small);
void testMass(Rng& r, bool small);
void benchmark(Rng& r);
void benchmarkHopper(Rng& r);
void benchmarkDecode(Rng& r);
// memoryLimit is the rate of a copy within the device, in GB/s read and written.
double memoryLimit();
// benchmarkWeights prints a table of what multiplying by a weight of each encoding, and decoding it, reaches.
void benchmarkWeights(Rng& r, double limit);
// benchmarkLayers prints what a layer of a decode step takes, and its linear layers alone, back to back.
void benchmarkLayers(Rng& r, double limit);
void benchmarkCodes(double limit);
void benchmarkMass(Rng& r);
// rate prints a time, the bytes in it a second, and their share of a limit in GB/s.
void rate(const char* what, double ms, double bytes, double limit);
// debugHopper prints which rows, columns and keys of small problems are wrong.
void debugHopper(Rng& r);
