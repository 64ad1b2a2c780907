// Tensor cores and asynchronous copies of compute capability 8.0, and the
// swizzled layout of a tile of heads in shared memory.
//
// Fragments of mma.m16n8k16, for lane l with g = l/4 and p = l%4 (PTX ISA,
// "Matrix fragments for mma.m16n8k16"): A holds rows g and g+8, columns 2p,
// 2p+1, 2p+8, 2p+9; B holds the same rows of k in column g; C holds columns
// 2p, 2p+1 of row g in c[0..1] and of row g+8 in c[2..3].
#pragma once

#include "common.cuh"

template <typename T> __device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <> __device__ __forceinline__ void mma<bf16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <> __device__ __forceinline__ void mma<f16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// ldmatrix4 loads four 8×8 matrices; lane l gives the address of row l%8 of matrix l/8.
__device__ __forceinline__ void ldmatrix4(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}
__device__ __forceinline__ void ldmatrix4Transposed(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

// copy16 starts a copy of 16 bytes to shared memory; without valid it writes zeros and reads nothing.
__device__ __forceinline__ void copy16(uint32_t shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(valid ? 16 : 0) : "memory");
}
// copy16Once is copy16 of what is read once: it is the first to leave the L2 cache.
__device__ __forceinline__ void copy16Once(uint32_t shared, const void* global, bool valid) {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;" ::"r"(shared), "l"(global), "r"(valid ? 16 : 0), "l"(policy)
               : "memory");
}
// copy4 is copy16 for 4 bytes.
__device__ __forceinline__ void copy4(uint32_t shared, const void* global, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared), "l"(global), "r"(valid ? 4 : 0) : "memory");
}
// copyPart is copy16 for the first `bytes` of 16, up to all of them; the others are written as zeros.
__device__ __forceinline__ void copyPart(uint32_t shared, const void* global, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
}
__device__ __forceinline__ void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Left> __device__ __forceinline__ void waitCopies() { asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory"); }

__device__ __forceinline__ float exp2Fast(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
__device__ __forceinline__ float reciprocalFast(float x) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

// swizzle says what to xor to the index of a row's 16-byte chunk, so that the
// same chunk of 8 neighbouring rows lies in 8 different groups of banks. Rows
// of whole 128 bytes take 3 bits of the row; rows of 192 bytes start in either
// half of the banks already, and two bits, which keep within a multiple of 4
// chunks, do the rest.
template <int HeadDim> __device__ __forceinline__ constexpr int swizzle(int row) {
  return HeadDim % 64 == 0 ? row & 7 : row >> 1 & 3;
}

// chunkOffset is the byte of chunk c of a row in a tile of rows of HeadDim 2-byte elements.
template <int HeadDim> __device__ __forceinline__ constexpr uint32_t chunkOffset(int row, int c) {
  return row * (HeadDim * 2) + ((c ^ swizzle<HeadDim>(row)) << 4);
}
