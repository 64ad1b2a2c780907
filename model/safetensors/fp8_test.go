package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"headinfer/kernels"
)

// TestFP8Golden compares with PyTorch (tools/golden/fp8): every byte of both
// formats, scales of every kind and dtype, and shapes that cut blocks.
func TestFP8Golden(t *testing.T) {
	s := mustOpen(t, filepath.Join("testdata", "fp8.safetensors"))
	r := newRand(t)
	for _, name := range []string{"whole", "one", "row", "vector", "blocks", "tall"} {
		w, _ := s.Tensor(name + ".weight")
		want, ok := s.Tensor(name + ".expected")
		if w.Decode == nil || !ok || w.DType != kernels.BF16 || !slices.Equal(w.Shape, want.Shape) {
			t.Fatalf("%s is %v, expected %v", name, w, want)
		}
		rows, step := w.Shape[0], 2*w.Shape[1]
		got := make([]byte, len(want.Data))
		// In parts, as a loader does.
		var all sync.WaitGroup
		for from := 0; from < rows; {
			to := min(rows, from+1+r.IntN(rows))
			at := from
			all.Go(func() { w.Decode(got[at*step:to*step:to*step], at, to) })
			from = to
		}
		all.Wait()
		for i := range len(got) / 2 {
			a, b := binary.LittleEndian.Uint16(got[2*i:]), binary.LittleEndian.Uint16(want.Data[2*i:])
			if a != b && !(nan(a) && nan(b)) {
				t.Fatalf("%s: element %d (byte %#x) is %#04x, want %#04x", name, i, w.Data[i], a, b)
			}
		}
	}
}

func nan(bits uint16) bool { return bits&0x7fff > 0x7f80 }

func TestFP8Refused(t *testing.T) {
	const w = `"w":{"dtype":"F8_E4M3","shape":[3,300],"data_offsets":[0,900]}`
	scale := func(name, dtype, shape string, bytes int) []byte {
		return raw(fmt.Sprintf(`{%s,%q:{"dtype":%q,"shape":%s,"data_offsets":[900,%d]}}`, w, name, dtype, shape, 900+bytes), 900+bytes)
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"no scales", scale("w.scale", "F32", "[1]", 4), `(tensor "w"): fp8 without scales: there is neither "w_scale_inv" nor "w_scale"`},
		{"other blocks", scale("w_scale_inv", "F32", "[1,5]", 20), "the scales w_scale_inv f32 [1, 5] do not go with [3, 300]"},
		{"transposed", scale("w_scale", "F32", "[1,3,1]", 12), "do not go with"},
		{"none", scale("w_scale", "F32", "[0]", 0), "do not go with"},
		{"scales in fp8", raw(`{`+w+`,"w_scale":{"dtype":"F8_E5M2","shape":[1,1],"data_offsets":[900,901]},"w_scale_scale":{"dtype":"F32","shape":[],"data_offsets":[901,905]}}`, 905), "are in fp8 themselves"},
		{"no matrix", raw(`{"w":{"dtype":"F8_E5M2","shape":[2,2,2],"data_offsets":[0,8]}}`, 8), "fp8 in shape [2, 2, 2]"},
	} {
		_, err := Parse("x", c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
			continue
		}
		checkError(t, err, "x", len(c.data))
	}
	if _, err := Parse("x", raw(`{"w":{"dtype":"F8_E5M2","shape":[2,2],"data_offsets":[0,8]}}`, 8)); err == nil || !strings.Contains(err.Error(), "takes 4 bytes, and data_offsets [0 8] hold 8") {
		t.Errorf("a wrong size: %v", err)
	}
}

// TestFP8Shards has the scales in another file than the matrix.
func TestFP8Shards(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "a.safetensors", raw(`{"w":{"dtype":"F8_E4M3","shape":[1,3],"data_offsets":[0,3]}}`, 3))
	data := raw(`{"w_scale":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4)
	binary.LittleEndian.PutUint32(data[len(data)-4:], math.Float32bits(3))
	save(t, dir, "b.safetensors", data)
	save(t, dir, indexName, []byte(`{"weight_map":{"w":"a.safetensors","w_scale":"b.safetensors"}}`))
	w, _ := mustOpen(t, dir).Tensor("w")
	if w.Decode == nil || w.String() != "w bf16 [1, 3]" {
		t.Errorf("the matrix is %v", w)
	}
	if _, err := Open(filepath.Join(dir, "a.safetensors")); err == nil || !strings.Contains(err.Error(), "fp8 without scales") {
		t.Errorf("a shard by itself: %v", err)
	}
}

// BenchmarkFP8 decodes a layer's matrix, in bytes of fp8 a second.
func BenchmarkFP8(b *testing.B) {
	const rows, cols = 4096, 14336
	m := fp8{numbers: fp8Formats["F8_E4M3"], cols: cols, data: make([]byte, rows*cols), scales: scales{rows: fp8Block, cols: fp8Block, across: cols / fp8Block}}
	m.scales.DType, m.scales.Data = kernels.F32, make([]byte, 4*rows/fp8Block*cols/fp8Block)
	dst := make([]byte, 2*rows*cols)
	b.SetBytes(rows * cols)
	for b.Loop() {
		m.decode(dst, 0, rows)
	}
}
