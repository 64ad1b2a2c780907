//go:build cuda && cgo && linux

package driver

import (
	"encoding/binary"
	"testing"
)

// times_plus(address, factor, addend) lets the next kernel begin, waits, and
// replaces the word x there by x·factor + addend: whatever order kernels really
// run in shows in the result. It spins after it has read, so that one that did
// not wait would read the same x.
const dependentKernel = `
.version 7.8
.target sm_90
.address_size 64

.visible .entry times_plus(.param .u64 address, .param .u64 factor, .param .u64 addend)
{
	.reg .pred %p;
	.reg .u64 %d<8>;
	griddepcontrol.launch_dependents;
	griddepcontrol.wait;
	ld.param.u64 %d0, [address];
	ld.param.u64 %d1, [factor];
	ld.param.u64 %d2, [addend];
	ld.global.u64 %d3, [%d0];
	mov.u64 %d4, %globaltimer;
again:
	mov.u64 %d5, %globaltimer;
	sub.u64 %d6, %d5, %d4;
	setp.lt.u64 %p, %d6, 2000;
	@%p bra again;
	mad.lo.u64 %d7, %d3, %d1, %d2;
	st.global.u64 [%d0], %d7;
	ret;
}
`

// Kernels that begin early, and plain ones between them, run as if in order.
func TestLaunchDependent(t *testing.T) {
	c := open(t)
	if p := c.Properties(); p.Major < 9 {
		t.Skipf("compute capability %d.%d has no dependent launch", p.Major, p.Minor)
	}
	m := must(c.LoadModule("dependent", []byte(dependentKernel)))(t)
	t.Cleanup(func() { try(t, m.Close()) })
	f := must(m.Function("times_plus"))(t)
	if !f.dependent {
		t.Error("a kernel compiled for compute capability 9.0 is not launched early")
	}
	if must(kernels(t, c).Function("store"))(t).dependent {
		t.Error("a kernel compiled for compute capability 8.0 is launched early")
	}
	r := random(t)
	s := stream(t, c)
	p := device(t, c, 8)
	host := pinned(t, c, 8)
	want := r.Uint64()
	binary.LittleEndian.PutUint64(host, want)
	try(t, s.CopyIn(p, start(host), 8))
	for range 2000 {
		launch := s.LaunchDependent
		if r.IntN(10) == 0 {
			launch = s.Launch
		}
		factor, addend := r.Uint64()|1, r.Uint64()
		try(t, launch(f, Dim{}, Dim{}, 0, uint64(p), factor, addend))
		want = want*factor + addend
	}
	try(t, s.CopyOut(start(host), p, 8))
	try(t, s.Synchronize())
	if got := binary.LittleEndian.Uint64(host); got != want {
		t.Errorf("2000 kernels in turn made %d, not %d", got, want)
	}
}
