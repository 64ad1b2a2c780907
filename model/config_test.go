package model

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigRefusals goes through what a config.json can say that would
// otherwise be computed wrongly, or not at all.
func TestConfigRefusals(t *testing.T) {
	for _, c := range []struct{ from, old, new, want string }{
		{"smollm3", `"num_hidden_layers": 4`, `"num_hidden_layers": -1`, "layer_types names 4 layers, and the model has -1"},
		{"mistral", `"num_hidden_layers": 3`, `"num_hidden_layers": -1`, "-1; expected 1 to"},
		{"gemma2", `"num_hidden_layers": 4`, `"num_hidden_layers": 1000000000000000`, "expected 1 to"},
		{"mistral", `"sliding_window": 32`, `"sliding_window": -3`, "a sliding window of -3 tokens is not supported"},
		{"gemma3", `"sliding_window": 32`, `"layer_types": ["full_attention"], "sliding_window": 32`, "layer_types names 1 layers, and the model has 6"},
		{"gemma3", `"sliding_window": 32`, `"use_bidirectional_attention": true, "sliding_window": 32`, "use_bidirectional_attention: true is not supported"},
		{"smollm3", `"no_rope_layers": [`, `"no_rope_layers": [1, `, "no_rope_layers names 5 layers"},
		{"llama2", `"rms_norm_eps"`, `"rope_parameters": {"full_attention": {"rope_type": "llama3"}}, "rms_norm_eps"`, "by kind of layer are not supported"},
		{"qwen2-window", `"max_window_layers": 2,`, ``, "neither max_window_layers nor layer_types"},
	} {
		data, err := os.ReadFile("../testdata/architectures/" + c.from + "/config.json")
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(data), c.old, c.new, 1)
		if text == string(data) {
			t.Fatalf("%s: no %s in it", c.from, c.old)
		}
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		config, err := readConfig(path, os.ReadFile)
		if err == nil {
			err = config.validate(path)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: %v, want %q", c.from, c.new, err, c.want)
		}
	}
}
