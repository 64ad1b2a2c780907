//go:build cuda && cgo && linux

package driver

import (
	"bytes"
	"errors"
	"slices"
	"syscall"
	"testing"
)

// mapped takes pages outside Go's heap and registers them.
func mapped(t *testing.T, c *Context, bytes int) []byte {
	t.Helper()
	m := must(syscall.Mmap(-1, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE))(t)
	try(t, c.HostRegister(m))
	t.Cleanup(func() {
		try(t, c.HostUnregister(m))
		try(t, syscall.Munmap(m))
	})
	return m
}

func TestCopies(t *testing.T) {
	c := open(t)
	s := stream(t, c)
	r := random(t)
	const most = 1 << 20
	a, b := device(t, c, most), device(t, c, most)
	for _, kind := range []struct {
		name string
		take func(int) []byte
	}{
		{"pinned", func(n int) []byte { return pinned(t, c, n) }},
		{"registered", func(n int) []byte { return mapped(t, c, n) }},
		{"pageable", func(n int) []byte { return make([]byte, n) }},
	} {
		from, to := kind.take(most), kind.take(most)
		for _, n := range []int64{0, 1, 3, 4097, 65535, 1<<20 - 1, r.Int64N(most)} {
			fill(r, from)
			fill(r, to)
			want := slices.Concat(from[:n], to[n:])
			try(t, s.CopyIn(a, start(from), n))
			try(t, s.CopyWithin(b, a, n))
			try(t, s.CopyOut(start(to), b, n))
			try(t, s.Synchronize())
			if !bytes.Equal(to, want) {
				t.Errorf("%s: %d bytes did not come back as they went", kind.name, n)
			}
		}
	}
}

func TestCopyRows(t *testing.T) {
	c := open(t)
	s := stream(t, c)
	r := random(t)
	for range 20 {
		width, rows := 1+r.Int64N(600), 1+r.Int64N(50)
		pitch := [4]int64{}
		for i := range pitch {
			pitch[i] = width + r.Int64N(100)
		}
		from := make([]byte, rows*pitch[0])
		to := pinned(t, c, int(rows*pitch[3]))
		a, b := device(t, c, rows*pitch[1]), device(t, c, rows*pitch[2])
		fill(r, from)
		fill(r, to)
		want := slices.Clone(to)
		for i := range rows {
			copy(want[i*pitch[3]:][:width], from[i*pitch[0]:][:width])
		}
		try(t, s.CopyInRows(a, start(from), Rows{Count: rows, Bytes: width, DstPitch: pitch[1], SrcPitch: pitch[0]}))
		try(t, s.CopyWithinRows(b, a, Rows{Count: rows, Bytes: width, DstPitch: pitch[2], SrcPitch: pitch[1]}))
		try(t, s.CopyOutRows(start(to), b, Rows{Count: rows, Bytes: width, DstPitch: pitch[3], SrcPitch: pitch[2]}))
		try(t, s.Synchronize())
		if !bytes.Equal(to, want) {
			t.Errorf("%d rows of %d bytes with pitches %v did not come back as they went, or something between them changed", rows, width, pitch)
		}
	}
	p := device(t, c, 100)
	if err := s.CopyWithinRows(p, p+50, Rows{Count: 2, Bytes: 10, DstPitch: 5, SrcPitch: 10}); !errors.Is(err, InvalidValue) {
		t.Errorf("a pitch shorter than its row gave %v", err)
	}
	try(t, s.CopyWithinRows(p, p, Rows{}))
}

func TestRegisterTwice(t *testing.T) {
	c := open(t)
	m := mapped(t, c, 1<<16)
	if err := c.HostRegister(m); !errors.Is(err, HostRegisteredAlready) {
		t.Errorf("pinning again gave %v", err)
	}
	if err := c.HostRegister(nil); err == nil {
		t.Error("pinning nothing gave no error")
	}
	if err := c.HostUnregister(make([]byte, 4096)); err == nil {
		t.Error("unpinning what was not pinned gave no error")
	}
}

// Prints how fast large pinned copies are, one way and both at once.
func BenchmarkCopy(b *testing.B) {
	c := open(b)
	const n = 256 << 20
	in, out := stream(b, c), stream(b, c)
	host, back := pinned(b, c, n), pinned(b, c, n)
	p, q := device(b, c, n), device(b, c, n)
	for _, ways := range []string{"in", "out", "both"} {
		b.Run(ways, func(b *testing.B) {
			for b.Loop() {
				if ways != "out" {
					try(b, in.CopyIn(p, start(host), n))
				}
				if ways != "in" {
					try(b, out.CopyOut(start(back), q, n))
				}
				try(b, c.Synchronize())
			}
			b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds()/1e9, "GB/s-each-way")
		})
	}
}
