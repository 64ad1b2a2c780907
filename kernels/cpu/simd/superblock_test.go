package simd

import (
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"testing"

	"headinfer/kernels"
)

// super64 decodes element i of a super-block, or of a block of IQ4_NL, by itself
// and in float64.
func super64(b []byte, d kernels.DType, i int) float64 {
	half := func(at int) float64 { return float64(halfAt(b, at)) }
	// bits has n bits of the byte at, from bit low on.
	bits := func(at, low, n int) int { return int(b[at]) >> low & (1<<n - 1) }
	large, run, place, group := i/128, i%128/32, i%32, i/16
	six := func(at, g int) (scale, least float64) {
		if g < 4 {
			return float64(bits(at+g, 0, 6)), float64(bits(at+4+g, 0, 6))
		}
		g -= 4
		return float64(bits(at+8+g, 0, 4) + 16*bits(at+g, 6, 2)), float64(bits(at+8+g, 4, 4) + 16*bits(at+4+g, 6, 2))
	}
	switch d {
	case kernels.Q2K:
		q := float64(bits(16+32*large+place, 2*run, 2))
		return half(80)*float64(bits(group, 0, 4))*q - half(82)*float64(bits(group, 4, 4))
	case kernels.Q3K:
		q := bits(32+32*large+place, 2*run, 2) + 4*bits(place, i/32, 1) - 4
		scale := bits(96+group%8, group/8*4, 4) + 16*bits(104+group%4, group/4*2, 2) - 32
		return half(108) * float64(scale) * float64(q)
	case kernels.Q4K:
		scale, least := six(4, i/32)
		return half(0)*scale*float64(bits(16+i/64*32+place, i/32%2*4, 4)) - half(2)*least
	case kernels.Q5K:
		scale, least := six(4, i/32)
		q := bits(48+i/64*32+place, i/32%2*4, 4) + 16*bits(16+place, i/32, 1)
		return half(0)*scale*float64(q) - half(2)*least
	case kernels.Q6K:
		q := bits(64*large+i%64, run/2*4, 4) + 16*bits(128+32*large+place, 2*run, 2) - 32
		return half(208) * float64(int8(b[192+group])) * float64(q)
	case kernels.IQ4NL:
		return half(0) * float64(nonLinear[bits(2+i%16, i/16*4, 4)])
	}
	return math.NaN()
}

// TestLevelsAgree decodes blocks of random bits, infinite and NaN scales included:
// every level gives the same bits, but for what a NaN carries.
func TestLevelsAgree(t *testing.T) {
	r := fresh(t)
	for _, d := range kernels.DTypes() {
		if d < kernels.Q2K {
			continue
		}
		const blocks = 2000
		n := blocks * d.Block()
		src := make([]byte, blocks*d.BlockBytes())
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		want, got := make([]float32, n), make([]float32, n)
		dequantizeGo(want, src, d)
		for i := range want {
			b := src[i/d.Block()*d.BlockBytes():][:d.BlockBytes()]
			if w := super64(b, d, i%d.Block()); !same(want[i], float32(w)) && w == w {
				t.Fatalf("%s element %d of % x: %g, want %g", d, i%d.Block(), b, want[i], w)
			}
		}
		eachLevel(t, func(t *testing.T) {
			if err := Dequantize(got, src, d); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if !same(got[i], want[i]) {
					t.Fatalf("%s element %d is %g, in plain Go %g; block % x", d, i%d.Block(), got[i], want[i],
						src[i/d.Block()*d.BlockBytes():][:d.BlockBytes()])
				}
			}
		})
	}
}

// TestGoldenQuants decodes what tools/golden/quants has written: every bit is what
// the gguf package and ggml make of it, but for what a NaN carries.
func TestGoldenQuants(t *testing.T) {
	all, err := readQuants(cmp.Or(os.Getenv("HEADINFER_QUANTS"), "testdata/quants.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	eachLevel(t, func(t *testing.T) {
		for _, d := range kernels.DTypes() {
			if d < kernels.Q2K {
				continue
			}
			golden := all[d.String()]
			n := len(golden.Floats) / 4
			if want, err := d.RowBytes(n); err != nil || n == 0 || len(golden.Blocks) != want {
				t.Fatalf("%s: %d bytes of blocks for %d numbers (%v)", d, len(golden.Blocks), n, err)
			}
			got := make([]float32, n)
			if err := Dequantize(got, golden.Blocks, d); err != nil {
				t.Fatal(err)
			}
			for i, v := range got {
				if want := math.Float32frombits(binary.LittleEndian.Uint32(golden.Floats[4*i:])); !same(v, want) {
					t.Fatalf("%s block %d element %d is %g, want %g", d, i/d.Block(), i%d.Block(), v, want)
				}
			}
		}
	})
}

type quants struct{ Blocks, Floats []byte }

func readQuants(path string) (all map[string]quants, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return all, json.NewDecoder(z).Decode(&all)
}

// same reports whether two floats have the same bits, or both are NaN.
func same(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}
