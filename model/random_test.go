package model

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
)

// parameters counts the elements of a model's tensors.
func parameters(c Config) (n int64) {
	for _, spec := range c.tensors() {
		n += int64(max(1, spec.rows)) * int64(spec.cols)
	}
	return n
}

// TestShapesArePublished compares the number of parameters with what is known
// of the models, less Qwen2's biases and two of the four norms of Gemma 2's layers.
func TestShapesArePublished(t *testing.T) {
	published := map[string]int64{
		"llama-3-8b": 8_030_261_248, "llama-3.2-1b": 1_235_814_400, "llama-3-70b": 70_553_706_496, "llama-2-7b": 6_738_415_616, "mistral-7b": 7_241_732_096,
		"qwen2-7b":   7_615_616_512 - 28*(3584+2*512),
		"gemma-2-9b": 9_241_705_984 - 42*2*3584,
	}
	for name := range shapes {
		c, err := Open("random:" + name)
		if err != nil {
			t.Error(err)
			continue
		}
		defer closing(t, c)
		n := parameters(c.Config)
		if want, ok := published[name]; ok && n != want {
			t.Errorf("%s has %d parameters, want %d", name, n, want)
		} else if !ok && (n < 1_000_000 || n > 2_000_000) {
			t.Errorf("%s has %d parameters, and is for tests", name, n)
		}
		if !c.Random || c.Config.Name != name+" (random weights)" || c.ChatTemplate != "" {
			t.Errorf("random:%s says random %t, name %q, chat template %q", name, c.Random, c.Config.Name, c.ChatTemplate)
		}
	}
}

// made returns the tensors of a model of random weights, each as float32.
func made(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	out := map[string][]float32{}
	for name, b := range loaded(t, path, kernels.BF16) {
		if strings.Contains(name, "norm") {
			for ; len(b) > 0; b = b[4:] {
				out[name] = append(out[name], math.Float32frombits(binary.LittleEndian.Uint32(b)))
			}
			continue
		}
		for ; len(b) > 0; b = b[2:] {
			out[name] = append(out[name], math.Float32frombits(uint32(binary.LittleEndian.Uint16(b))<<16))
		}
	}
	return out
}

func TestRandomWeights(t *testing.T) {
	first, again, other := made(t, "random:tiny"), made(t, "random:tiny?seed=1"), made(t, "random:tiny?seed=2")
	seen := map[[3]float32]string{}
	for name, x := range first {
		if !slices.Equal(x, again[name]) {
			t.Errorf("%s: the same seed gave other numbers", name)
		}
		if strings.Contains(name, "norm") {
			if slices.ContainsFunc(x, func(v float32) bool { return v != 1 }) {
				t.Errorf("%s is not all ones", name)
			}
			continue
		}
		if slices.Equal(x, other[name]) {
			t.Errorf("%s: another seed gave the same numbers", name)
		}
		start := [3]float32(x)
		if twin, ok := seen[start]; ok {
			t.Errorf("%s and %s begin with the same numbers", name, twin)
		}
		seen[start] = name
		var sum, squares float64
		for _, v := range x {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		n := float64(len(x))
		mean, dev := sum/n, math.Sqrt(squares/n)
		if math.Abs(mean) > 5*deviation/math.Sqrt(n) || math.Abs(dev/deviation-1) > 5/math.Sqrt(2*n)+1e-3 {
			t.Errorf("%s has mean %g and deviation %g", name, mean, dev)
		}
	}
}

// TestRandomWeightsThatDoNotFit are refused as a whole, and nothing is taken.
func TestRandomWeightsThatDoNotFit(t *testing.T) {
	c, err := Open("random:llama-3-8b")
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, c)
	dev := cpu.Open(2<<30, 1)
	defer func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, err = loadWeights(c, dev, dev.NewStream("test"))
	norms := int64(4096 * (2*32 + 1))
	var short *kernels.BudgetError
	if !errors.As(err, &short) || short.Asked != 2*8_030_261_248+2*norms || short.What != "the model random:llama-3-8b" {
		t.Errorf("16 GB of weights in 2 GiB gave %v", err)
	}
	if u := dev.Ledger().Usage(); u.Peak != 0 {
		t.Errorf("%d bytes were taken all the same", u.Peak)
	}
}

func TestRandomShapesFromFiles(t *testing.T) {
	const qwen = `{"model_type": "qwen2", "hidden_act": "gelu", "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3,
		"num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 64,
		"rms_norm_eps": 1e-6, "rope_theta": 1e6, "rope_scaling": {"type": "yarn"}, "attention_bias": true}`
	dir := filepath.Join(t.TempDir(), "some-model")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file, named := write("config.json", qwen), write("wide.json", strings.Replace(qwen, `"qwen2"`, `"gemma2"`, 1))
	want := Config{
		Architecture: "llama", Layers: 3, Hidden: 96, Heads: 6, KVHeads: 2, HeadDim: 16, FFN: 160, Vocab: 300,
		Context: math.MaxInt32, Rope: Rope{Base: 1e6, Dim: 16}, NormEps: 1e-6,
	}
	for path, name := range map[string]string{dir: "some-model", file: "some-model", named: "wide", dir + "?seed=3": "some-model"} {
		c, err := Open("random:" + path)
		if err != nil {
			t.Error(err)
			continue
		}
		defer closing(t, c)
		want.Name, want.Tied = name+" (random weights)", path == named
		if !reflect.DeepEqual(c.Config, want) {
			t.Errorf("random:%s is %+v, want %+v", path, c.Config, want)
		}
	}
	if _, err := Open(file); err == nil {
		t.Error("a config.json was opened as a model with weights")
	}

	for from, want := range map[string]string{
		`"hidden_size": 96, `: "hidden_size", `"intermediate_size": 160, `: "intermediate_size", `"num_hidden_layers": 3,`: "num_hidden_layers",
		`"num_attention_heads": 6, `: "num_attention_heads", `"vocab_size": 300, `: "vocab_size", `"rms_norm_eps": 1e-6, `: "rms_norm_eps",
		`"max_position_embeddings": 64,`: "max_position_embeddings",
	} {
		path := write("lacking.json", strings.Replace(qwen, from, "", 1))
		_, err := Open("random:" + path)
		if err == nil || err.Error() != path+": "+want+" is missing" {
			t.Errorf("without %s: %v", want, err)
		}
	}
	path := write("small.json", strings.Replace(qwen, `"vocab_size": 300`, `"vocab_size": 200`, 1))
	if _, err := Open("random:" + path); err == nil || !strings.Contains(err.Error(), "the tokenizer has 257 tokens and the model 200") {
		t.Errorf("a vocabulary without all bytes gave %v", err)
	}
	path = write("odd.json", strings.Replace(qwen, `"num_key_value_heads": 2`, `"num_key_value_heads": 4`, 1))
	if _, err := Open("random:" + path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("heads that do not divide gave %v", err)
	}
}

func TestRandomRefuses(t *testing.T) {
	for path, want := range map[string]string{
		"random:llama-4":               `no shape is called "llama-4"; known are gemma-2-9b, llama-2-7b, llama-3-70b, llama-3-8b, llama-3.2-1b, mistral-7b, qwen2-7b, tiny; or give the path`,
		"random:":                      `no shape is called ""`,
		"random:tiny?seed=-1":          `the seed is "-1"; expected a whole number from 0 to 18446744073709551615`,
		"random:tiny?seed=":            `the seed is ""`,
		"random:tiny?sead=1":           `"sead=1" is no option; expected seed=N or dtype=TYPE`,
		"random:tiny?seed=1&seed=2":    `seed= is there twice`,
		"random:tiny?dtype=q4_2":       `dtype is "q4_2"; expected one of f32, f16, bf16, q8_0, `,
		"random:tiny?dtype=int4/32":    `dtype is "int4/32"; expected one of`,
		"random:tiny?seed=x&dtype=f32": `the seed is "x"`,
		"random:tiny?dtype=q6_k": `random:tiny?dtype=q6_k: matrix model.embed_tokens.weight cannot be q6_k: ` +
			`a row of 128 elements is not a whole number of q6_k blocks of 256; choose a dtype whose blocks divide that`,
		"random:tiny?":                `"" is no option`,
		"random:../testdata":          "config.json",
		"random:random_test.go":       "invalid character 'p'",
		"random:nowhere?seed=1":       `no shape is called "nowhere"`,
		"random:../testdata/nowhere/": `no shape is called "../testdata/nowhere/"`,
	} {
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gave %v, want %q", path, err, want)
		}
		if unknown := strings.HasPrefix(want, "no shape"); errors.Is(err, ErrNotFound) != unknown {
			t.Errorf("%s: whether %v is about a model that is not there: %t, want %t", path, err, !unknown, unknown)
		}
	}
}
