// What every kernel shares: activation types, 16-byte vectors, reductions, and
// starting before the kernel ahead in the stream has ended.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

using bf16 = __nv_bfloat16;
using f16 = __half;
using f32 = float;
using i64 = long long;

constexpr int warpSize32 = 32;
constexpr unsigned wholeWarp = 0xffffffffu;

// Dependent launch (PTX ISA, griddepcontrol): a kernel that the host launches so
// may begin once every block of the kernel before it in the stream has called
// admitNext or ended, and that one may have begun in the same way, before
// those ahead of it had ended. The README lists the kernels ("dependent");
// each of them obeys this:
//   - Every thread calls admitNext, early, and awaitEarlier, on every path and
//     before it returns. The end of a kernel then means the end of all before it.
//   - Before awaitEarlier it reads nothing but its arguments and weights (and
//     tables as constant as they), and writes no global memory: what is ahead may
//     still be writing what it will read and reading what it will write, such as
//     the residual it adds to, a workspace, or the gate that a GLU overwrites.
//     It may have the L2 cache, through which all writes go, fetch what it will read.
//   - What earlier kernels wrote is read by ordinary loads, never by ld.global.nc
//     (__ldg, or const and __restrict__ together), which may see older values.
//   - Weights are written by copies and by kernels that are launched plainly and
//     do not call admitNext, and the host launches the first kernel after such a
//     writer plainly too. A plain launch begins when all before it has ended and
//     can be seen, so every later kernel, however early it begins, sees the weight.
// A kernel launched plainly, one that calls neither, and copies and events, wait
// for all before them as ever. Before compute capability 9.0, and in the PTX of
// compute_80, both calls are nothing, and the host launches plainly.
__device__ __forceinline__ void admitNext() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
// awaitEarlier returns when all earlier kernels have ended and what they wrote can be seen.
__device__ __forceinline__ void awaitEarlier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ float toFloat(float x) { return x; }
__device__ __forceinline__ float toFloat(bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float toFloat(f16 x) { return __half2float(x); }

template <typename T> __device__ __forceinline__ T fromFloat(float x);
template <> __device__ __forceinline__ float fromFloat<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 fromFloat<bf16>(float x) { return __float2bfloat16_rn(x); }
template <> __device__ __forceinline__ f16 fromFloat<f16>(float x) { return __float2half_rn(x); }

// pack2 rounds two numbers into one register, lo in the low half.
template <typename T> __device__ __forceinline__ uint32_t pack2(float lo, float hi);
template <> __device__ __forceinline__ uint32_t pack2<bf16>(float lo, float hi) {
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
template <> __device__ __forceinline__ uint32_t pack2<f16>(float lo, float hi) {
  uint32_t r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}

template <typename T> __device__ __forceinline__ float2 unpack2(uint32_t v);
template <> __device__ __forceinline__ float2 unpack2<bf16>(uint32_t v) {
  return make_float2(__uint_as_float(v << 16), __uint_as_float(v & 0xffff0000u));
}
template <> __device__ __forceinline__ float2 unpack2<f16>(uint32_t v) {
  return __half22float2(*reinterpret_cast<const __half2*>(&v));
}

// A run of 8 activations, moved as one 16-byte word.
template <typename T> struct Eight {
  float v[8];

  __device__ __forceinline__ static Eight load(const T* p) { return unpack(*reinterpret_cast<const uint4*>(p)); }

  __device__ __forceinline__ static Eight unpack(const uint4& w) {
    const uint32_t part[4] = {w.x, w.y, w.z, w.w};
    Eight e;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 f = unpack2<T>(part[i]);
      e.v[2 * i] = f.x;
      e.v[2 * i + 1] = f.y;
    }
    return e;
  }

  __device__ __forceinline__ void store(T* p) const {
    *reinterpret_cast<uint4*>(p) =
        make_uint4(pack2<T>(v[0], v[1]), pack2<T>(v[2], v[3]), pack2<T>(v[4], v[5]), pack2<T>(v[6], v[7]));
  }
};

// vectors16 says whether 2-byte elements at p, in rows of n with this stride,
// can be moved 8 at a time.
__device__ __forceinline__ bool vectors16(const void* p, i64 stride, i64 n) {
  return (reinterpret_cast<uintptr_t>(p) & 15) == 0 && (stride & 7) == 0 && (n & 7) == 0;
}

__device__ __forceinline__ float warpSum(float x) {
#pragma unroll
  for (int d = 16; d > 0; d >>= 1) x += __shfl_xor_sync(wholeWarp, x, d);
  return x;
}

// blockSum adds up x over a block of Threads threads; every thread gets the sum.
template <int Threads> __device__ __forceinline__ float blockSum(float x) {
  __shared__ float parts[Threads / warpSize32];
  x = warpSum(x);
  if (threadIdx.x % warpSize32 == 0) parts[threadIdx.x / warpSize32] = x;
  __syncthreads();
  x = 0;
#pragma unroll
  for (int i = 0; i < Threads / warpSize32; i++) x += parts[i];
  return x;
}
