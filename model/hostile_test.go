package model

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headinfer/model/internal/hostile"
)

// opened opens a model, and closes it if it could.
func opened(path string) func() error { return hostile.Opened(Open, path) }

// copied is a sound model's directory, of as many bytes.
func copied(t *testing.T) (dir string, size int64) {
	dir = t.TempDir()
	for _, name := range []string{"config.json", "tokenizer.json", "model.safetensors"} {
		data, err := os.ReadFile(filepath.Join("../testdata/tiny-llama", name))
		if err != nil {
			t.Fatal(err)
		}
		size += hostile.Write(t, filepath.Join(dir, name), data)
	}
	return dir, size
}

// TestOpenWhatIsNoFile puts odd things in the place of each file of a model.
func TestOpenWhatIsNoFile(t *testing.T) {
	for _, name := range []string{"config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "chat_template.jinja", "model.safetensors", "generation_config.json"} {
		for _, odd := range hostile.Odds {
			t.Run(name+" is "+odd.Name, func(t *testing.T) {
				dir, size := copied(t)
				path := filepath.Join(dir, name)
				if name == "tokenizer.model" { // which is read where there is no other
					path = filepath.Join(dir, "tokenizer.json")
				}
				if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				size += odd.Put(t, filepath.Join(dir, name))
				err := hostile.Bounded(t, size, opened(dir))
				switch text := slices.Contains([]string{"nothing in it", "one byte", "zeros"}, odd.Name); {
				case name == "generation_config.json", name == "chat_template.jinja" && text:
					if err != nil { // the first is not read, the second not yet
						t.Errorf("opening it: %v", err)
					}
				case err == nil || !strings.Contains(err.Error(), filepath.Join(dir, name)):
					t.Errorf("the error %v does not name %s", err, name)
				}
			})
		}
	}
	for _, odd := range hostile.Odds {
		t.Run("a GGUF file is "+odd.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "odd.gguf")
			hostile.Refused(t, odd.Put(t, path), opened(path), path)
		})
		t.Run("a shape is "+odd.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "odd.json")
			hostile.Refused(t, odd.Put(t, path), opened("random:"+path), path)
		})
	}
}

// hostileConfigs change a value of a sound config.json, and say what the error
// says. Where there is no value to change, the text is the whole file.
func hostileConfigs() []hostileConfig {
	million := strings.Repeat(`"",`, 1<<18) + `""`
	long := strings.Repeat("a", 1<<20)
	return []hostileConfig{
		{"", "", "ends too soon"},
		{"", "[]", "it is a list, and must be an object"},
		{"", "null", `model_type "" is not supported`},
		{"", "{} {}", "this is not JSON"},
		{"", "{\"model_type\": \"\xff\"}", "is not valid UTF-8"},
		{"", "\xef\xbb\xbf{}", "byte order mark"},
		{"", strings.Repeat(`{"rope_scaling":`, 100_000), "exceeded max depth"},
		{"", strings.Repeat(`[`, 100_000), "exceeded max depth"},
		{"", `{"hidden_size":1,"model_type":"llama","hidden_size":2}`, "hidden_size is there twice"},
		{"", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
		{`"model_type": "llama"`, `"model_type": "` + long + `"`, `aaa…" is not supported`},
		{`"model_type": "llama"`, `"model_type": ["llama"]`, "model_type is a list, and must be a string"},
		{`"hidden_act": "silu"`, `"hidden_act": "` + long + `"`, `aaa…" (supported: silu)`},
		{`"rope_scaling": null`, `"layer_types": [` + million + `]`, "layer_types names"},
		{`"model_type": "llama"`, `"model_type": "smollm3", "no_rope_layers": [` + strings.ReplaceAll(million, `""`, "1") + `]`, "no_rope_layers names 262145 layers"},
		{`"model_type": "llama"`, `"model_type": "smollm3", "no_rope_layers": [1e9]`, "no_rope_layers is the number 1e9"},
		{`"rope_scaling": null`, `"rope_scaling": {"type": "` + long + `", "factor": 2}`, "aaa…"},
		{`"rope_scaling": null`, `"rope_scaling": {"type": "linear", "factor": 1e309}`, "rope_scaling.factor is the number 1e309"},
		{`"rope_scaling": null`, `"rope_scaling": {"type": "linear", "factor": 0}`, "rope scaling's factor is 0; expected at least 1"},
		{`"rope_scaling": null`, `"rope_scaling": {"type": "dynamic", "factor": -1}`, "rope scaling's factor is -1"},
		{`"rope_scaling": null`, `"rope_scaling": {"type": "yarn", "factor": 2, "original_max_position_embeddings": 0}`, "original_max_position_embeddings is 0"},
		{`"rope_scaling": null`, `"rope_scaling": {"type": "yarn", "factor": 2, "attention_factor": 1e300}`, "attention factor is 1e+300"},
		{`"rope_scaling": null`, `"rope_scaling": {"type": "longrope", "factor": 2, "short_factor": [` + strings.Repeat("1,", 1<<17) + `1]}`, "a set of longrope's factors is 131073 numbers"},
		{`"rope_scaling": null`, `"partial_rotary_factor": 1e300`, "the rotary part of a head"},
		{`"rope_theta": 10000.0`, `"rope_theta": 0`, "the rotary base is 0; expected a number above 1"},
		{`"rope_theta": 10000.0`, `"rope_theta": -1`, "the rotary base is -1"},
		{`"rope_theta": 10000.0`, `"rope_theta": NaN`, "this is not JSON"},
		{`"rms_norm_eps": 1e-05`, `"rms_norm_eps": 0`, "normalisation epsilon 0"},
		{`"rms_norm_eps": 1e-05`, `"rms_norm_eps": 1e-60`, "normalisation epsilon 1e-60"},
		{`"rms_norm_eps": 1e-05`, `"rms_norm_eps": -1`, "normalisation epsilon -1"},
		{`"rms_norm_eps": 1e-05`, `"rms_norm_eps": Infinity`, "this is not JSON"},
		{`"head_dim": 16`, `"head_dim": 1099511627776`, "head_dim is 1099511627776; expected 1 to"},
		{`"head_dim": 16`, `"head_dim": 0`, "head_dim is 0; expected 1 to"},
		{`"head_dim": 16`, `"head_dim": 7`, "head_dim 7 is not a multiple of 8"},
		{`"head_dim": 16`, `"head_dim": "16"`, "head_dim is a string, and must be a whole number"},
		{`"num_attention_heads": 8`, `"num_attention_heads": 0`, "heads is 0; expected 1 to"},
		{`"num_attention_heads": 8`, `"num_attention_heads": -8`, "heads is -8"},
		{`"num_attention_heads": 8`, `"num_attention_heads": 16777216`, "and the configuration makes it"},
		{`"num_key_value_heads": 4`, `"num_key_value_heads": 0`, "KV heads is 0"},
		{`"num_hidden_layers": 2`, `"num_hidden_layers": 1000000000`, "layers is 1000000000; expected 1 to 4096"},
		{`"num_hidden_layers": 2`, `"num_hidden_layers": 4096`, `tensor "model.layers.2.input_layernorm.weight" is missing`},
		{`"num_hidden_layers": 2`, `"num_hidden_layers": 1e9`, "num_hidden_layers is the number 1e9, and must be a whole number"},
		{`"num_hidden_layers": 2`, `"num_hidden_layers": 18446744073709551617`, "num_hidden_layers is the number 18446744073709551617"},
		{`"max_position_embeddings": 2048`, `"max_position_embeddings": -1`, "context is -1"},
		{`"max_position_embeddings": 2048`, `"max_position_embeddings": 4611686018427387904`, "context is 4611686018427387904"},
		{`"vocab_size": 320`, `"vocab_size": 100`, "the tokenizer has 320 tokens and the model 100"},
		{`"vocab_size": 320`, `"vocab_size": 16777216`, "and the configuration makes it [16777216, 64]"},
		{`"vocab_size": 320`, `"vocab_size": 0`, "vocabulary is 0"},
		{`"vocab_size": 320`, `"vocab_size": null`, "vocab_size is missing"},
		{`"model_type": "llama"`, `"model_type": "mistral", "sliding_window": -1`, "a sliding window of -1 tokens"},
		{`"model_type": "llama"`, `"model_type": "mistral", "sliding_window": 0`, "a sliding window of 0 tokens"},
		{`"model_type": "llama", "hidden_act": "silu"`, `"model_type": "gemma2", "attn_logit_softcapping": -1, "hidden_act": "gelu_pytorch_tanh"`, "the cap of attention's scores is -1"},
		{`"model_type": "llama", "hidden_act": "silu"`, `"model_type": "gemma2", "final_logit_softcapping": 1e300, "hidden_act": "gelu_pytorch_tanh"`, "the cap of logits is 1e+300"},
		{`"model_type": "llama", "hidden_act": "silu"`, `"model_type": "gemma2", "query_pre_attn_scalar": 1e-320, "hidden_act": "gelu_pytorch_tanh"`, "the scale of attention's scores"},
	}
}

type hostileConfig struct{ from, to, want string }

// in makes the change in a sound file.
func (c hostileConfig) in(t testing.TB, sound []byte) []byte {
	if c.from == "" {
		return []byte(c.to)
	}
	sound = bytes.Replace(sound, []byte("\"model_type\": \"llama\",\n \"hidden_act\""), []byte(`"model_type": "llama", "hidden_act"`), 1)
	changed := bytes.Replace(sound, []byte(c.from), []byte(c.to), 1)
	if bytes.Equal(changed, sound) {
		t.Fatalf("there is no %s", c.from)
	}
	return changed
}

func TestHostileConfigs(t *testing.T) {
	sound, err := os.ReadFile("../testdata/tiny-llama/config.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range hostileConfigs() {
		t.Run(fmt.Sprintf("%.60s", c.to), func(t *testing.T) {
			dir, size := copied(t)
			size += hostile.Write(t, filepath.Join(dir, "config.json"), c.in(t, sound))
			hostile.Refused(t, size, opened(dir), dir, c.want)
		})
	}
	dir, _ := copied(t)
	hostile.Write(t, filepath.Join(dir, "config.json"), bytes.ReplaceAll(sound, []byte("\n"), []byte("\r\n")))
	if err := opened(dir)(); err != nil {
		t.Errorf("a file with the line ends of Windows: %v", err)
	}
}

// FuzzConfig checks that every config.json is refused, or describes a model that
// can be computed with.
func FuzzConfig(f *testing.F) {
	paths, err := filepath.Glob("../testdata/architectures/*/config.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(paths, "../testdata/tiny-llama/config.json") {
		sound, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sound)
		if path != "../testdata/tiny-llama/config.json" {
			continue
		}
		for _, c := range hostileConfigs() {
			if data := c.in(f, sound); len(data) < 1<<12 {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var c Config
		err := hostile.Bounded(t, int64(len(data)), func() (err error) {
			if c, err = readConfig("fuzz.json", func(string) ([]byte, error) { return data, nil }); err == nil {
				err = c.validate("fuzz.json")
			}
			return err
		})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz.json: ") {
				t.Fatalf("an error without the file: %v", err)
			}
			return
		}
		checkConfig(t, c)
	})
}
