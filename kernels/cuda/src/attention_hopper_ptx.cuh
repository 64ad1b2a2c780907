// The instructions of compute capability 9.0a that attention_hopper.cuh is
// made of: matrix products of a warpgroup (wgmma), barriers in shared memory
// (mbarrier), copies of boxes of a tensor to the blocks of a cluster, and
// registers moved between warpgroups.
//
// Operands in shared memory are built from atoms of 8 rows of 128 bytes (64
// elements), each aligned to 1024 bytes, in which the 16-byte chunk c of row r
// lies at chunk c^r (PTX ISA, "Asynchronous warpgroup level matrix shared
// memory layout", 128-byte swizzle).
//
// An accumulator d of 64 rows and n columns has, in lane l of warp w of the
// warpgroup, row 16w + l/4 in d[4i], d[4i+1] and 8 rows below it in d[4i+2],
// d[4i+3], columns 8i + 2(l%4) and the next. An A operand in registers has the
// layout of mma.m16n8k16 (mma.cuh), so two neighbouring i make one.
#pragma once

#include "mma.cuh"

constexpr int warpgroupThreads = 128;
constexpr uint32_t atomRowBytes = 128, atomBytes = 1024;

// operand describes a matrix in shared memory to wgmma. Where rows run along
// the product's inner dimension (keys for the scores), stride is from 8 rows to
// the next 8 and leading is not used; where they run across it (values for the
// output), stride is from 8 rows to the next 8 and leading from 64 columns to
// the next 64. All in bytes. An address has its block of the cluster in its upper bits, which have no place here.
__device__ __forceinline__ uint64_t operand(uint32_t address, uint32_t leading, uint32_t stride) {
  constexpr uint64_t swizzle128 = uint64_t(1) << 62;
  return swizzle128 | uint64_t(stride >> 4) << 32 | uint64_t(leading >> 4) << 16 | (address & 0x3ffff) >> 4;
}
// advanced is the operand that begins some bytes later.
__device__ __forceinline__ uint64_t advanced(uint64_t operand, uint32_t bytes) { return operand + (bytes >> 4); }

#define FLOATS8(d, i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define FLOATS32(d, i) FLOATS8(d, i), FLOATS8(d, i + 8), FLOATS8(d, i + 16), FLOATS8(d, i + 24)
#define NAMES32                                                                                                     \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29," \
  "%30,%31"
#define NAMES64                                                                                                       \
  NAMES32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57," \
          "%58,%59,%60,%61,%62,%63"

// multiply starts d = a·bᵀ, or d += a·bᵀ with add: 64 rows of a and 128 of b,
// 16 columns of both.
template <bool add> __device__ __forceinline__ void multiply(float (&d)[64], uint64_t a, uint64_t b) {
  asm volatile("{.reg .pred add; setp.ne.b32 add, %66, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" NAMES64 "}, %64, %65, add, 1, 1, 0, 0;}"
               : FLOATS32(d, 0), FLOATS32(d, 32)
               : "l"(a), "l"(b), "n"(int(add)));
}

// multiplyRows starts d += a·b: 64 rows and 16 columns of a in registers, 16 rows of b with twice as many columns as d is long.
__device__ __forceinline__ void multiplyRows(float (&d)[64], const uint32_t* a, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" NAMES64 "}, {%64,%65,%66,%67}, %68, 1, 1, 1, 1;"
               : FLOATS32(d, 0), FLOATS32(d, 32)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void multiplyRows(float (&d)[32], const uint32_t* a, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" NAMES32 "}, {%32,%33,%34,%35}, %36, 1, 1, 1, 1;"
               : FLOATS32(d, 0)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// beginProducts orders what this thread did to the registers of the products that follow.
__device__ __forceinline__ void beginProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// endProducts makes a group of the products since the last one.
__device__ __forceinline__ void endProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// waitProducts waits until all groups but the last ones are done.
template <int Left> __device__ __forceinline__ void waitProducts() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Left) : "memory"); }
// hold keeps the compiler from moving what uses the registers of a product across this place.
template <int n> __device__ __forceinline__ void hold(float (&d)[n]) {
#pragma unroll
  for (int i = 0; i < n; i++) asm volatile("" : "+f"(d[i])::"memory");
}
template <int n> __device__ __forceinline__ void hold(uint32_t (&a)[n]) {
#pragma unroll
  for (int i = 0; i < n; i++) asm volatile("" : "+r"(a[i])::"memory");
}

// publish makes what this thread has written to shared memory, copies that it has waited for included, visible to products:
// its own, and those of threads that it then meets at a barrier.
__device__ __forceinline__ void publish() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

__device__ __forceinline__ void barrierInit(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// barrierArriveAt arrives at the barrier in the same place of a block of the cluster. What the thread wrote is not made visible
// there (a release to the cluster is a memory barrier, and slow); consumers have only read.
__device__ __forceinline__ void barrierArriveAt(uint32_t barrier, int block) {
  asm volatile("{.reg .b32 there;\n"
               "mapa.shared::cluster.u32 there, %0, %1;\n"
               "mbarrier.arrive.shared::cluster.b64 _, [there];}" ::"r"(barrier),
               "r"(block)
               : "memory");
}
// barrierExpect arrives, and has the phase wait for so many bytes of copies too.
__device__ __forceinline__ void barrierExpect(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
// barrierWait waits for the end of the phase with this parity.
__device__ __forceinline__ void barrierWait(uint32_t barrier, uint32_t parity) {
  asm volatile("{.reg .pred done;\n"
               "again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               "@!done bra again;}" ::"r"(barrier),
               "r"(parity)
               : "memory");
}

// meetCluster waits for all threads of the cluster; what they did to shared memory before, also initialising barriers, is then
// seen by all.
__device__ __forceinline__ void meetCluster() {
  asm volatile("fence.mbarrier_init.release.cluster;\n"
               "barrier.cluster.arrive.release.aligned;\n"
               "barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
__device__ __forceinline__ int blockOfCluster() {
  int rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

// TensorMap is what the driver's cuTensorMapEncodeTiled makes: how a tensor lies in memory, and a box of it that is copied at once.
struct alignas(64) TensorMap {
  uint64_t words[16];
};
// copyBox starts the copy of the box that begins at these coordinates to the same place of all blocks in a mask, whose barriers
// in the same place count its bytes. What lies outside the tensor is zeros.
__device__ __forceinline__ void copyBox(uint32_t to, const TensorMap& map, int x, int y, int z, uint32_t barrier, uint16_t blocks) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
               "[%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(to),
               "l"(&map), "r"(x), "r"(y), "r"(z), "r"(barrier), "h"(blocks)
               : "memory");
}

// meet waits for threads at a named barrier; pass counts as one of them and goes on.
__device__ __forceinline__ void meet(int barrier, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory"); }
__device__ __forceinline__ void pass(int barrier, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory"); }

template <int Count> __device__ __forceinline__ void fewerRegisters() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count)); }
template <int Count> __device__ __forceinline__ void moreRegisters() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count)); }
