package model

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestOpenReadsBothFormsAlike(t *testing.T) {
	dir, err := Open("../testdata/tiny-llama")
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, dir)
	file, err := Open("../testdata/tiny-llama.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, file)
	a, b := dir.Config, file.Config
	if a.Interleaved || !b.Interleaved {
		t.Error("rotary pairs are halves apart in a directory, and neighbours in GGUF")
	}
	a.NormEps, b.NormEps = float64(float32(a.NormEps)), float64(float32(b.NormEps)) // GGUF holds 32 bits
	a.Name, b.Name, a.Interleaved, b.Interleaved = "", "", false, false
	if !reflect.DeepEqual(a, b) {
		t.Errorf("the directory says %+v, the GGUF file %+v", a, b)
	}
}

func closing(t *testing.T, c *Checkpoint) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestOpenRefuses changes one thing of a good checkpoint at a time.
func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		want           []string
	}{
		{"another architecture", `"model_type": "llama"`, `"model_type": "mamba"`, []string{"mamba", "supported: gemma2, gemma3, gemma3_text, llama, "}},
		{"rotary scaling", `"rope_scaling": null`, `"rope_scaling": {"type": "yarn"}`, []string{"rope_scaling"}},
		{"biases", `"attention_bias": false`, `"attention_bias": true`, []string{"attention_bias"}},
		{"heads that do not divide", `"num_key_value_heads": 4`, `"num_key_value_heads": 3`, []string{"8 query heads", "3 KV heads"}},
		{"no layers", `"num_hidden_layers": 2`, `"num_hidden_layers": 0`, []string{"layers is 0"}},
		{"more layers than weights", `"num_hidden_layers": 2`, `"num_hidden_layers": 3`, []string{"model.layers.2", "missing"}},
		{"absurd sizes", `"hidden_size": 64`, `"hidden_size": 9000000000000000000`, []string{"hidden size"}},
		{"another width", `"intermediate_size": 96`, `"intermediate_size": 97`, []string{"gate_proj", "[96, 64]", "[97, 64]"}},
		{"not JSON", `{`, `{{`, []string{"config.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS("../testdata/tiny-llama")); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "config.json")
			config, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := bytes.Replace(config, []byte(c.from), []byte(c.to), 1)
			if bytes.Equal(changed, config) {
				t.Fatalf("%s has no %s", path, c.from)
			}
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			checkpoint, err := Open(dir)
			if err == nil {
				closing(t, checkpoint)
				t.Fatal("it was opened")
			}
			for _, part := range append(c.want, dir) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
		})
	}
	if _, err := Open("../testdata/nothing"); !errors.Is(err, ErrNotFound) {
		t.Errorf("opening nothing gave %v", err)
	}
	if _, err := Open("open_test.go"); err == nil || !strings.Contains(err.Error(), ".gguf") {
		t.Errorf("opening a Go file gave %v", err)
	}
}
