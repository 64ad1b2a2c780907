package model

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
	"headinfer/transfer"
)

// blockShape is a configuration all of whose rows are whole super-blocks, and odd
// numbers of rows otherwise.
const blockShape = `{"model_type": "llama", "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 2,
	"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 8191, "max_position_embeddings": 64,
	"rms_norm_eps": 1e-6, "rope_theta": 10000}`

// ofType returns the path of a model of blockShape in an encoding.
func ofType(t *testing.T, d kernels.DType, seed uint64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "blocks.json")
	if err := os.WriteFile(path, []byte(blockShape), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("random:%s?dtype=%s&seed=%d", path, d, seed)
}

// TestRandomTypes checks that every encoding is there as asked, the same each time,
// different for each tensor and seed, and of numbers as they should be.
func TestRandomTypes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, d := range kernels.DTypes() {
		t.Run(d.String(), func(t *testing.T) {
			first, again := loaded(t, ofType(t, d, seed), d), loaded(t, ofType(t, d, seed), d)
			other := loaded(t, ofType(t, d, seed+1), d)
			seen := map[[64]byte]string{}
			for name, b := range first {
				if !bytes.Equal(b, again[name]) {
					t.Errorf("%s: the same seed gave other weights", name)
				}
				if len(b) == 4*256 {
					continue // a norm
				}
				if bytes.Equal(b, other[name]) {
					t.Errorf("%s: another seed gave the same weights", name)
				}
				if twin, ok := seen[[64]byte(b)]; ok {
					t.Errorf("%s and %s begin with the same bytes", name, twin)
				}
				seen[[64]byte(b)] = name
				x := make([]float32, len(b)/d.BlockBytes()*d.Block())
				if err := simd.Dequantize(x, b, d); err != nil {
					t.Fatal(err)
				}
				var sum, squares float64
				for _, v := range x {
					sum += float64(v)
					squares += float64(v) * float64(v)
				}
				n := float64(len(x))
				mean := sum / n
				dev := math.Sqrt(squares/n - mean*mean)
				// Half a step of eight values is a fifth of the deviation.
				if math.Abs(mean) > 0.25*deviation || math.Abs(dev/deviation-1) > 0.02 {
					t.Errorf("%s has mean %g and deviation %g", name, mean, dev)
				}
			}
		})
	}
}

// TestRandomPieces holds a matrix of blocks to its repetition: a whole number of
// rows, then the same again.
func TestRandomPieces(t *testing.T) {
	const d, cols, rows = kernels.Q6K, 4096, 3001
	dev := testDevice(t)
	load := noise{seed: rand.Uint64(), dtype: d}.load(dev, dev.NewStream("test"), nil)
	w, err := load.put(tensorSpec{"matrix", rows, cols})
	if err != nil {
		t.Fatal(err)
	}
	load.end()
	row := cols / 256 * 210
	period := pieceBytes / row * row
	b := unsafe.Slice((*byte)(w.Data), w.Bytes())
	if len(b) != rows*row || len(b) < 2*period || !bytes.Equal(b[period:], b[:len(b)-period]) {
		t.Errorf("%d bytes of blocks do not repeat after %d", len(b), period)
	}
	if bytes.Equal(b[:row], b[row:2*row]) {
		t.Error("two rows of a piece are equal")
	}
}

// TestRandomTypesForward runs a pass over models of every encoding.
func TestRandomTypesForward(t *testing.T) {
	for _, d := range kernels.DTypes() {
		t.Run(d.String(), func(t *testing.T) {
			first, again := someLogits(t, ofType(t, d, 3)), someLogits(t, ofType(t, d, 3))
			if !slices.Equal(first, again) {
				t.Error("the same model gave other logits")
			}
			least, most := slices.Min(first), slices.Max(first)
			if math.IsNaN(float64(least)) || math.IsInf(float64(least), 0) || math.IsInf(float64(most), 0) || least == most {
				t.Errorf("logits run from %g to %g", least, most)
			}
		})
	}
}

// someLogits returns what follows a few tokens.
func someLogits(t *testing.T, path string) []float32 {
	t.Helper()
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, c)
	dev := testDevice(t)
	d, err := NewDecoder(c, dev, &firstPass{dev: dev}, transfer.NewTimeline(dev, false))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Grow(8, 1); err != nil {
		t.Fatal(err)
	}
	shape := transfer.Shape{Layers: c.Config.Layers, KVHeads: c.Config.KVHeads, HeadDim: c.Config.HeadDim, DType: kernels.F32}
	sequence := transfer.NewDeviceSequence(shape, dev)
	defer sequence.Release()
	if err := sequence.Reserve(8); err != nil {
		t.Fatal(err)
	}
	logits, err := d.Forward(t.Context(), []Segment{{Sequence: sequence, Tokens: []int32{3, 1, 4, 1, 5, 92, 6}}}, true)
	if err != nil {
		t.Fatal(err)
	}
	return logits[0]
}

// firstPass attends to a pass's own keys and values.
type firstPass struct {
	dev kernels.Device
	*Pass
}

func (f *firstPass) Begin(_ context.Context, p *Pass) error { f.Pass = p; return nil }
func (f *firstPass) End(context.Context) error              { return nil }

func (f *firstPass) Attend(_ context.Context, layer int) error {
	f.dev.Attention(f.Compute, []kernels.AttentionArgs{{
		Q: f.Query, Out: f.Output, LSE: f.LSE, KV: []kernels.KV{f.NewKV(layer)},
		Group: f.Group, HeadDim: f.HeadDim, Scale: f.Scale, Causal: true,
	}})
	return nil
}
