// What reading alone reaches: the limit of kernels that write next to nothing.

#include <stdint.h>

constexpr int threads = 512, loads = 8;

// read_all reads 16-byte words, threads * loads a block.
extern "C" __global__ void __launch_bounds__(threads) read_all(const uint4* from, uint32_t* out) {
  from += static_cast<long long>(blockIdx.x) * threads * loads + threadIdx.x;
  uint4 v[loads];
#pragma unroll
  for (int i = 0; i < loads; i++) {
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v[i].x), "=r"(v[i].y), "=r"(v[i].z), "=r"(v[i].w)
                 : "l"(from + i * threads));
  }
  uint32_t sum = 0;
#pragma unroll
  for (int i = 0; i < loads; i++) sum += v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
  if (sum == 0x9e3779b9u) *out = sum; // so that the words are needed
}
