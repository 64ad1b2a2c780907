package main

import (
	"strings"
	"testing"

	"headinfer/kernels"
)

// TestBenchWeights measures a method with several encodings of random weights, and
// compares what a token reads with the shape.
func TestBenchWeights(t *testing.T) {
	t.Parallel()
	r, _ := runBench(t, 0, "--model", "random:tiny?seed=5", "--device", "cpu", "--decode-tokens", "2",
		"--method", "standard,adaptive", "--context", "40", "--limits=false", "--weights", "bf16,q4_0,q5_1")
	const elements = 4*(128*512+2*128*256+512*128+3*128*384) + 512*128 // of the layers and the output
	const norms = 4 * 128 * (2*4 + 1)
	i := 0
	for _, method := range []string{"standard", "adaptive"} {
		for _, d := range []kernels.DType{kernels.BF16, kernels.Q4_0, kernels.Q5_1} {
			row := r.Rows[i]
			bytes := int64(elements/d.Block()*d.BlockBytes()) + norms
			if row.Pipeline != method+" "+d.String() || row.Weights != d.String() || row.Error != "" {
				t.Fatalf("row %d is %q in %q: %s", i, row.Pipeline, row.Weights, row.Error)
			}
			// The embedding is left out by its share of all bytes, norms included.
			if off := row.Read - bytes; off > norms || off < -norms {
				t.Errorf("%s: a token reads %d bytes of weights, want %d", row.Pipeline, row.Read, bytes)
			}
			i++
		}
	}
	if len(r.Rows) != i {
		t.Errorf("%d rows, want %d", len(r.Rows), i)
	}
	var out strings.Builder
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"read a token", "adaptive q5_1", "model: tiny (random weights)\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	for _, c := range [][3]string{
		{"builtin", "q8_0", "--weights: the model is builtin, which has weights of its own; expected random:NAME"},
		{"random:tiny", "q8_1", `dtype is "q8_1"; expected one of`},
		{"random:tiny?dtype=f16", "q8_0", "dtype= is there twice"},
		{"random:tiny", "all", "matrix model.embed_tokens.weight cannot be q2_k"},
	} {
		_, stderr, code := headinfer(t, t.TempDir(), "bench", "--device", "cpu", "--context", "20", "--decode-tokens", "1", "--limits=false",
			"--model", c[0], "--weights", c[1])
		if code != 2 || !strings.Contains(stderr, c[2]) {
			t.Errorf("--model %s --weights %s: exit code %d, %s", c[0], c[1], code, stderr)
		}
	}
}
