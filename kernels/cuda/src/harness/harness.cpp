#include "harness.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <dirent.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <thread>

int passed = 0, failed = 0, failuresPrinted = 1000;

namespace {
struct Loaded {
  CUfunction function;
  bool early; // compiled for a device that knows of dependent launch
};
std::map<std::string, Loaded> kernels;
CUdevice device;
}  // namespace

const char* name(Type t) { return t == BF16 ? "bf16" : t == F16 ? "f16" : "f32"; }
int bytesOf(Type t) { return t == F32 ? 4 : 2; }
double epsilon(Type t) { return t == BF16 ? 1.0 / 256 : t == F16 ? 1.0 / 2048 : 1.0 / (1 << 24); }

void encode(uint8_t* p, double x, Type t) {
  const float f = static_cast<float>(x);
  if (t == F32) {
    memcpy(p, &f, 4);
  } else if (t == BF16) {
    const __nv_bfloat16 b = __float2bfloat16(f);
    memcpy(p, &b, 2);
  } else {
    const __half h = __float2half(f);
    memcpy(p, &h, 2);
  }
}

double decoded(const uint8_t* p, Type t) {
  if (t == F32) {
    float f;
    memcpy(&f, p, 4);
    return f;
  }
  if (t == BF16) {
    __nv_bfloat16 b;
    memcpy(&b, p, 2);
    return __bfloat162float(b);
  }
  __half h;
  memcpy(&h, p, 2);
  return __half2float(h);
}

double rounded(double x, Type t) {
  uint8_t b[4];
  encode(b, x, t);
  return decoded(b, t);
}

void check(CUresult r, const char* what) {
  if (r == CUDA_SUCCESS) return;
  const char* text = "unknown";
  cuGetErrorString(r, &text);
  printf("%s: %s\n%d passed, %d failed\n", what, text, passed, failed + 1);
  fflush(stdout);
  exit(1);
}

Memory::Memory(size_t n) : bytes(n) {
  CHECK(cuMemAlloc(&at, std::max<size_t>(n, 16)));
  CHECK(cuMemsetD8(at, 0xff, std::max<size_t>(n, 16)));
}
Memory::~Memory() { CHECK(cuMemFree(at)); }

int uniform(Rng& r, int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(r); }
double normal(Rng& r) { return std::normal_distribution<double>()(r); }

Matrix poisoned(Type t, int64_t rows, int64_t cols, int64_t gap) {
  Matrix m;
  m.type = t;
  m.rows = rows;
  m.cols = cols;
  m.stride = cols + gap;
  m.memory = std::make_shared<Memory>(rows * m.stride * bytesOf(t));
  return m;
}

Matrix put(Type t, int64_t rows, int64_t cols, int64_t gap, const std::function<double()>& value) {
  Matrix m = poisoned(t, rows, cols, gap);
  std::vector<uint8_t> host(m.memory->bytes, 0xff);
  m.v.resize(rows * cols);
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = 0; c < cols; c++) {
      uint8_t* p = host.data() + (r * m.stride + c) * bytesOf(t);
      encode(p, value(), t);
      m.v[r * cols + c] = decoded(p, t);
    }
  }
  if (!host.empty()) CHECK(cuMemcpyHtoD(m.at(), host.data(), host.size()));
  return m;
}

Matrix randomMatrix(Rng& r, Type t, int64_t rows, int64_t cols, int64_t gap, double deviation) {
  return put(t, rows, cols, gap, [&] { return deviation * normal(r); });
}

std::shared_ptr<Memory> upload(const void* data, size_t bytes) {
  auto m = std::make_shared<Memory>(bytes);
  if (bytes) CHECK(cuMemcpyHtoD(m->at, data, bytes));
  return m;
}

std::vector<double> read(const Matrix& m) {
  std::vector<uint8_t> host(m.memory->bytes);
  synchronize();
  if (!host.empty()) CHECK(cuMemcpyDtoH(host.data(), m.at(), host.size()));
  std::vector<double> out(m.rows * m.cols);
  bool clean = true;
  for (int64_t r = 0; r < m.rows; r++) {
    for (int64_t c = 0; c < m.stride; c++) {
      const uint8_t* p = host.data() + (r * m.stride + c) * bytesOf(m.type);
      if (c < m.cols) {
        out[r * m.cols + c] = decoded(p, m.type);
      } else {
        clean = clean && std::all_of(p, p + bytesOf(m.type), [](uint8_t b) { return b == 0xff; });
      }
    }
  }
  if (!clean) record("gap between rows", false, "was written");
  return out;
}

uint64_t word(double x) {
  uint64_t w;
  memcpy(&w, &x, 8);
  return w;
}

bool haveKernel(const std::string& kernel) { return kernels.count(kernel) > 0; }

static const Loaded& find(const std::string& kernel) {
  const auto found = kernels.find(kernel);
  if (found == kernels.end()) {
    printf("no image holds %s\n", kernel.c_str());
    check(CUDA_ERROR_NOT_FOUND, "finding a kernel");
  }
  return found->second;
}

bool launchesEarly(const std::string& kernel) { return find(kernel).early; }

void launchWords(const std::string& kernel, Grid g, unsigned block, unsigned shared, std::vector<uint64_t> words, bool early) {
  const Loaded& k = find(kernel);
  if (shared > 48 << 10) CHECK(cuFuncSetAttribute(k.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared));
  // Parameters are whole words, so that they lie as the words do, however wide each is; an aligned one may not begin at 0.
  size_t lead = 0, width = 0;
  CHECK(cuFuncGetParamInfo(k.function, 0, &lead, &width));
  words.insert(words.begin(), lead / sizeof(uint64_t), 0);
  size_t bytes = words.size() * sizeof(uint64_t);
  void* packed[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, words.data(), CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END};
  CUlaunchAttribute serialization = {};
  serialization.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  serialization.value.programmaticStreamSerializationAllowed = 1;
  CUlaunchConfig config = {};
  config.gridDimX = g.x, config.gridDimY = g.y, config.gridDimZ = g.z;
  config.blockDimX = block, config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = shared;
  config.attrs = &serialization;
  config.numAttrs = early && k.early ? 1 : 0;
  check(cuLaunchKernelEx(&config, k.function, nullptr, packed), kernel.c_str());
}

void synchronize() { CHECK(cuCtxSynchronize()); }

void openDevice(const std::string& images, const std::string& of) {
  CHECK(cuInit(0));
  CHECK(cuDeviceGet(&device, 0));
  CUcontext context;
  CHECK(cuDevicePrimaryCtxRetain(&context, device));
  CHECK(cuCtxSetCurrent(context));
  char text[256];
  CHECK(cuDeviceGetName(text, sizeof text, device));
  printf("%s, %d multiprocessors\n", text, multiprocessors());
  DIR* dir = opendir(images.c_str());
  while (dirent* e = dir ? readdir(dir) : nullptr) {
    const std::string file = e->d_name;
    if (file.size() < 7 || file.substr(file.size() - 6) != ".image" || file.compare(0, of.size(), of)) continue;
    CUmodule m;
    check(cuModuleLoad(&m, (images + "/" + file).c_str()), file.c_str());
    unsigned count;
    CHECK(cuModuleGetFunctionCount(&count, m));
    std::vector<CUfunction> functions(count);
    CHECK(cuModuleEnumerateFunctions(functions.data(), count, m));
    for (CUfunction f : functions) {
      const char* kernel;
      CHECK(cuFuncGetName(&kernel, f));
      int version;
      CHECK(cuFuncGetAttribute(&version, CU_FUNC_ATTRIBUTE_PTX_VERSION, f));
      kernels[kernel] = {f, version >= 90};
    }
  }
  if (dir) closedir(dir);
}

int sharedBytes() {
  int n;
  CHECK(cuDeviceGetAttribute(&n, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, device));
  return n;
}

int multiprocessors() {
  int n;
  CHECK(cuDeviceGetAttribute(&n, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device));
  return n;
}

void record(const std::string& what, bool ok, const std::string& detail) {
  ok ? passed++ : failed++;
  if (!ok && failed <= failuresPrinted) printf("FAIL %s: %s\n", what.c_str(), detail.c_str());
}

int finish() {
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}

void near(const std::string& what, const std::vector<double>& got, const std::vector<double>& want, double share, double least) {
  char detail[256];
  double off = 0, norm = 0, largest = least;
  for (double w : want) {
    if (!std::isinf(w)) largest = std::max(largest, std::fabs(w));
  }
  for (size_t i = 0; i < want.size(); i++) {
    if (got[i] == want[i]) {
      if (!std::isinf(want[i])) norm += want[i] * want[i];
      continue;
    }
    const double d = got[i] - want[i];
    if (!(std::fabs(d) <= 8 * share * largest)) {
      snprintf(detail, sizeof detail, "element %zu of %zu is %g, want %g (largest %g)", i, want.size(), got[i], want[i], largest);
      return record(what, false, detail);
    }
    off += d * d;
    norm += want[i] * want[i];
  }
  const double error = std::sqrt(off / std::max(norm, least * least));
  snprintf(detail, sizeof detail, "relative error %.3g, at most %.3g", error, share);
  record(what, got.size() == want.size() && error <= share, detail);
}

void nearLog(const std::string& what, const std::vector<double>& got, const std::vector<double>& want, double share) {
  near(what + ", log-sum-exp", got, want, share, 1);
}

void same(const std::string& what, const std::vector<double>& got, const std::vector<double>& want) {
  for (size_t i = 0; i < want.size(); i++) {
    if (got[i] != want[i]) {
      char detail[128];
      snprintf(detail, sizeof detail, "element %zu is %.9g, want %.9g", i, got[i], want[i]);
      return record(what, false, detail);
    }
  }
  record(what, true, "");
}

void parallel(int64_t n, const std::function<void(int64_t)>& f) {
  std::atomic<int64_t> next{0};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); i++) {
    threads.emplace_back([&] {
      for (int64_t j; (j = next++) < n;) f(j);
    });
  }
  for (auto& t : threads) t.join();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double milliseconds(const std::function<void()>& f, int repeats) {
  constexpr int batch = 5;
  // While the device is kept busy the host enqueues a batch, so that its own time is not in the figure.
  Memory busy(size_t(1) << 30);
  CUevent from, to;
  CHECK(cuEventCreate(&from, CU_EVENT_DEFAULT));
  CHECK(cuEventCreate(&to, CU_EVENT_DEFAULT));
  for (int i = 0; i < 3; i++) f();
  std::vector<float> times((repeats + batch - 1) / batch);
  for (float& t : times) {
    CHECK(cuMemsetD8Async(busy.at, 1, busy.bytes, nullptr));
    f(); // while what the fill left in the cache is written back
    CHECK(cuEventRecord(from, nullptr));
    for (int i = 0; i < batch; i++) f();
    CHECK(cuEventRecord(to, nullptr));
    CHECK(cuEventSynchronize(to));
    CHECK(cuEventElapsedTime(&t, from, to));
  }
  CHECK(cuEventDestroy(from));
  CHECK(cuEventDestroy(to));
  return median(std::vector<double>(times.begin(), times.end())) / batch;
}
