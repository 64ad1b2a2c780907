//go:build cuda && cgo && linux

package driver

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

// open gives a test the first device, or skips it.
func open(t testing.TB) *Context {
	t.Helper()
	n, reason := Available()
	if n == 0 {
		t.Skip("needs a CUDA device: " + reason)
	}
	c, err := Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { try(t, c.Close()) })
	return c
}

// try fails a test for an error.
func try(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must returns a value that came without an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		try(t, err)
		return v
	}
}

// random makes a test's generator and logs its seed.
func random(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// stream makes a stream for a test.
func stream(t testing.TB, c *Context) *Stream {
	t.Helper()
	s := must(c.NewStream(Normal))(t)
	t.Cleanup(func() { try(t, s.Close()) })
	return s
}

// event makes an event for a test.
func event(t testing.TB, c *Context, timing bool) *Event {
	t.Helper()
	e := must(c.NewEvent(timing))(t)
	t.Cleanup(func() { try(t, e.Close()) })
	return e
}

// device takes device memory for a test.
func device(t testing.TB, c *Context, bytes int64) Pointer {
	t.Helper()
	p := must(c.Alloc(bytes))(t)
	t.Cleanup(func() { try(t, c.Free(p)) })
	return p
}

// pinned takes pinned host memory for a test.
func pinned(t testing.TB, c *Context, bytes int) []byte {
	t.Helper()
	p := must(c.HostAlloc(int64(bytes)))(t)
	t.Cleanup(func() { try(t, c.HostFree(p)) })
	return unsafe.Slice((*byte)(p), bytes)
}

// start returns a slice's address.
func start[T any](s []T) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(s)) }

// fill sets bytes at random.
func fill(r *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

// testKernels are small enough to write by hand: vector_add(a, b, y, n) for
// float32, spin(nanoseconds), store(address, value), needs_shared(y), which
// writes to the last word of 64 KiB of shared memory, narrow(int32), and
// store_one(words[1000], address, i), which stores one of them.
const testKernels = `
.version 8.1
.target sm_80
.address_size 64

.visible .entry vector_add(.param .u64 a, .param .u64 b, .param .u64 y, .param .u64 n)
{
	.reg .pred %p;
	.reg .u32 %r<4>;
	.reg .u64 %d<8>;
	.reg .f32 %f<3>;
	mov.u32 %r0, %ctaid.x;
	mov.u32 %r1, %ntid.x;
	mov.u32 %r2, %tid.x;
	mad.lo.u32 %r3, %r0, %r1, %r2;
	cvt.u64.u32 %d0, %r3;
	ld.param.u64 %d1, [n];
	setp.ge.u64 %p, %d0, %d1;
	@%p bra done;
	shl.b64 %d2, %d0, 2;
	ld.param.u64 %d3, [a];
	ld.param.u64 %d4, [b];
	ld.param.u64 %d5, [y];
	add.u64 %d3, %d3, %d2;
	add.u64 %d4, %d4, %d2;
	add.u64 %d5, %d5, %d2;
	ld.global.f32 %f0, [%d3];
	ld.global.f32 %f1, [%d4];
	add.f32 %f2, %f0, %f1;
	st.global.f32 [%d5], %f2;
done:
	ret;
}

.visible .entry spin(.param .u64 nanoseconds)
{
	.reg .pred %p;
	.reg .u64 %d<4>;
	ld.param.u64 %d0, [nanoseconds];
	mov.u64 %d1, %globaltimer;
	add.u64 %d2, %d1, %d0;
again:
	mov.u64 %d3, %globaltimer;
	setp.lt.u64 %p, %d3, %d2;
	@%p bra again;
	ret;
}

.visible .entry store(.param .u64 address, .param .u64 value)
{
	.reg .u64 %d<2>;
	ld.param.u64 %d0, [address];
	ld.param.u64 %d1, [value];
	st.global.u64 [%d0], %d1;
	ret;
}

.extern .shared .align 16 .b8 pool[];
.visible .entry needs_shared(.param .u64 y)
{
	.reg .u32 %r;
	.reg .u64 %d;
	ld.param.u64 %d, [y];
	st.shared.u32 [pool+65532], 1234567;
	ld.shared.u32 %r, [pool+65532];
	st.global.u32 [%d], %r;
	ret;
}

.visible .entry store_one(.param .align 8 .b8 words[8000], .param .u64 address, .param .u64 i)
{
	.reg .u64 %d<4>;
	ld.param.u64 %d0, [address];
	ld.param.u64 %d1, [i];
	shl.b64 %d1, %d1, 3;
	mov.b64 %d2, words;
	add.u64 %d2, %d2, %d1;
	ld.param.u64 %d3, [%d2];
	st.global.u64 [%d0], %d3;
	ret;
}

.visible .entry narrow(.param .u64 a, .param .u32 b)
{
	ret;
}
`

// kernels loads testKernels.
func kernels(t testing.TB, c *Context) *Module {
	t.Helper()
	m := must(c.LoadModule("testKernels", []byte(testKernels)))(t)
	t.Cleanup(func() { try(t, m.Close()) })
	return m
}
