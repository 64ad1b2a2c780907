package stages

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headinfer/kernels"
	"headinfer/model"
	"headinfer/model/gguf"
	"headinfer/model/safetensors"
	"headinfer/model/tensor"
)

// ggufCase is a tiny model to be read from a GGUF file.
type ggufCase struct {
	model        string // its directory
	architecture string // what the file calls it
	// change is made in config.json first: the model is then another one than
	// transformers computed, and only our reading of the directory tells what its
	// logits are.
	change map[string]any
	// without are keys that the file leaves out, as some do.
	without []string
}

// headScale makes a Gemma scale its scores by its heads' channels, 16. The file
// has no key for query_pre_attn_scalar: readers take the channels for it, but in
// the models of 27 billion parameters, which they know by their layers.
var headScale = map[string]any{"query_pre_attn_scalar": 16}

// TestGGUFArchitectures lays tiny models out as llama.cpp's converter does, and
// compares their logits with those that the same weights give as a directory.
func TestGGUFArchitectures(t *testing.T) {
	for name, c := range map[string]ggufCase{
		"llama2":       {model: "llama2", architecture: "llama"},
		"llama31":      {model: "llama31", architecture: "llama"},
		"llama-linear": {model: "llama-linear", architecture: "llama"},
		"llama-yarn":   {model: "llama-yarn", architecture: "llama"},
		"llama-yarn, attention factor": {model: "llama-yarn", architecture: "llama", change: map[string]any{"rope_scaling": map[string]any{
			"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64, "attention_factor": 1.3,
		}}},
		"llama-linear, unnamed": {model: "llama-linear", architecture: "llama", without: []string{"llama.rope.scaling.type"}},
		"mistral":               {model: "mistral-full", architecture: "llama"},
		"qwen2":                 {model: "qwen2", architecture: "qwen2"},
		"qwen3":                 {model: "qwen3", architecture: "qwen3"},
		"gemma2":                {model: "gemma2", architecture: "gemma2", change: headScale},
		"gemma2, one of the first files": {model: "gemma2", architecture: "gemma2", change: map[string]any{
			"query_pre_attn_scalar": 16, "attn_logit_softcapping": 50, "final_logit_softcapping": 30, "sliding_window": 4096,
		}, without: []string{"gemma2.attn_logit_softcapping", "gemma2.final_logit_softcapping", "gemma2.attention.sliding_window"}},
		"gemma3":        {model: "gemma3", architecture: "gemma3", change: headScale},
		"gemma3-linear": {model: "gemma3-linear", architecture: "gemma3", change: headScale},
		"gemma3, a window as long as its context": {model: "gemma3", architecture: "gemma3", change: map[string]any{
			"query_pre_attn_scalar": 16, "sliding_window": 256,
		}},
		"phi3":           {model: "phi3", architecture: "phi3"},
		"phi3-partial":   {model: "phi3-partial", architecture: "phi3"},
		"phi3, a window": {model: "phi3", architecture: "phi3", change: map[string]any{"sliding_window": 32}},
		"smollm3":        {model: "smollm3", architecture: "smollm3"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := architecture(t, c.model)
			config := changeConfig(t, filepath.Join(dir, "config.json"), c.change)
			file := filepath.Join(t.TempDir(), c.model+".gguf")
			convert(t, dir, file, &converter{architecture: c.architecture, config: config, without: c.without})
			directory, converted := openMethod(t, "standard", dir), openMethod(t, "standard", file)
			var want golden
			readJSON(t, filepath.Join(architectureDir, c.model, "expected.json"), &want)
			if c.change == nil {
				compareArchitecture(t, converted, want, "standard", 1e-4)
			}
			worst := 0.0
			for _, prompt := range want.Cases {
				worst = max(worst, relative(lastLogits(t, converted, prompt.IDs), wide(lastLogits(t, directory, prompt.IDs))))
			}
			t.Logf("logits are off by up to %.2g of the largest", worst)
			if !(worst < 1e-5) {
				t.Errorf("logits are off by up to %.2g of the largest, more than 1e-5", worst)
			}
		})
	}
}

// TestGGUFRefusesBiases opens a file with a bias that the model would leave out.
func TestGGUFRefusesBiases(t *testing.T) {
	dir := architecture(t, "llama2")
	var config map[string]any
	readJSON(t, filepath.Join(dir, "config.json"), &config)
	for _, name := range []string{"blk.1.attn_q.bias", "blk.0.attn_output.bias", "output.bias"} {
		c := &converter{architecture: "llama", config: config}
		c.vector(name, make([]float64, 64))
		file := filepath.Join(t.TempDir(), "biased.gguf")
		convert(t, dir, file, c)
		if m, err := model.Open(file); err == nil {
			t.Errorf("a file with %s was opened: %v", name, m.Close())
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("a file with %s: %v", name, err)
		}
	}
}

// lastLogits returns the logits that follow a prompt.
func lastLogits(t *testing.T, e *Engine, ids []int32) []float32 {
	t.Helper()
	text := admit(t, e)
	defer text.Release()
	logits, err := text.Prefill(t.Context(), ids, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return logits
}

// changeConfig makes changes in a config.json, and returns all that it says.
func changeConfig(t *testing.T, path string, change map[string]any) map[string]any {
	t.Helper()
	var config map[string]any
	readJSON(t, path, &config)
	maps.Copy(config, change)
	data, err := json.Marshal(config)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	readJSON(t, path, &config) // numbers are of one type again
	return config
}

// convert writes a model's GGUF file: matrices as they are, but for the order of
// their rows, and vectors in f32.
func convert(t *testing.T, dir, file string, c *converter) {
	t.Helper()
	set, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	}()
	c.metadata()
	for _, weight := range set.Tensors() {
		if err := c.weight(weight); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := gguf.Write(f, append(c.meta, vocabulary(t, dir)...), c.tensors); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// vocabulary gives the models' tokens as byte-level BPE writes them.
func vocabulary(t *testing.T, dir string) []gguf.KV {
	t.Helper()
	var file struct {
		Model struct {
			Vocab  map[string]int `json:"vocab"`
			Merges [][]string     `json:"merges"`
		} `json:"model"`
	}
	readJSON(t, filepath.Join(dir, "tokenizer.json"), &file)
	tokens := make([]string, len(file.Model.Vocab))
	for text, id := range file.Model.Vocab {
		tokens[id] = strings.ReplaceAll(text, " ", "Ġ")
	}
	var merges []string
	for _, m := range file.Model.Merges {
		merges = append(merges, strings.Join(m, " "))
	}
	types := slices.Repeat([]int32{1}, len(tokens)) // ordinary ones
	types[0] = 3                                    // but for <unk>, of control
	return []gguf.KV{
		{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.pre", Value: "gpt-2"},
		{Key: "tokenizer.ggml.tokens", Value: tokens}, {Key: "tokenizer.ggml.token_type", Value: types},
		{Key: "tokenizer.ggml.merges", Value: merges}, {Key: "tokenizer.ggml.add_bos_token", Value: false},
		{Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)}, {Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)},
	}
}

// converter makes what a GGUF file holds of a directory's model.
type converter struct {
	architecture string
	config       map[string]any
	without      []string // keys
	meta         []gguf.KV
	tensors      []tensor.Tensor
}

// number returns a number of config.json; 0: it has none.
func (c *converter) number(key string) float64 {
	v, _ := c.config[key].(float64)
	return v
}

func (c *converter) headDim() int {
	if n := c.number("head_dim"); n > 0 {
		return int(n)
	}
	return int(c.number("hidden_size") / c.number("num_attention_heads"))
}

func (c *converter) whole(key string, v float64) {
	c.meta = append(c.meta, gguf.KV{Key: c.architecture + "." + key, Value: uint32(v)})
}

func (c *converter) real(key string, v float64) {
	c.meta = append(c.meta, gguf.KV{Key: c.architecture + "." + key, Value: float32(v)})
}

// metadata writes the keys that the converter writes for the architecture: Gemma 2
// and Phi-3 have lists of their own.
func (c *converter) metadata() {
	c.meta = []gguf.KV{{Key: "general.architecture", Value: c.architecture}}
	for from, to := range map[string]string{
		"max_position_embeddings": "context_length", "hidden_size": "embedding_length", "num_hidden_layers": "block_count",
		"intermediate_size": "feed_forward_length", "num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv",
	} {
		c.whole(to, c.number(from))
	}
	c.real("attention.layer_norm_rms_epsilon", c.number("rms_norm_eps"))
	if c.number("head_dim") > 0 {
		c.whole("attention.key_length", c.number("head_dim"))
		c.whole("attention.value_length", c.number("head_dim"))
	}
	if c.architecture != "gemma2" {
		c.real("rope.freq_base", c.number("rope_theta"))
	}
	switch c.architecture {
	case "llama", "smollm3":
		c.whole("vocab_size", c.number("vocab_size"))
		c.whole("rope.dimension_count", float64(c.headDim()))
	case "gemma2":
		c.real("attn_logit_softcapping", c.number("attn_logit_softcapping"))
		c.real("final_logit_softcapping", c.number("final_logit_softcapping"))
		c.whole("attention.sliding_window", c.number("sliding_window"))
	case "gemma3":
		c.whole("attention.sliding_window", c.number("sliding_window"))
		c.real("rope.freq_base_swa", c.number("rope_local_base_freq"))
	case "phi3":
		share := 1.0
		if s := c.number("partial_rotary_factor"); s > 0 {
			share = s
		}
		c.whole("rope.dimension_count", float64(int(share*c.number("hidden_size"))/int(c.number("num_attention_heads"))))
		c.whole("attention.sliding_window", c.number("sliding_window")) // 0 where there is none
	}
	if scaling, ok := c.config["rope_scaling"].(map[string]any); ok {
		c.scaling(scaling)
	}
	c.meta = slices.DeleteFunc(c.meta, func(kv gguf.KV) bool { return slices.Contains(c.without, kv.Key) })
}

// scaling writes how the rotary embedding is stretched: in keys, or, llama3's and
// longrope's, in tensors of what each frequency is divided by.
func (c *converter) scaling(scaling map[string]any) {
	number := func(key string) float64 { v, _ := scaling[key].(float64); return v }
	kind, ok := scaling["rope_type"].(string)
	if !ok {
		kind, _ = scaling["type"].(string)
	}
	switch kind {
	case "linear", "yarn":
		c.meta = append(c.meta, gguf.KV{Key: c.architecture + ".rope.scaling.type", Value: kind})
		c.real("rope.scaling.factor", number("factor"))
		if kind == "linear" {
			return
		}
		c.whole("rope.scaling.original_context_length", number("original_max_position_embeddings"))
		for from, to := range map[string]string{
			"attention_factor": "yarn_attn_factor", "beta_fast": "yarn_beta_fast", "beta_slow": "yarn_beta_slow",
		} {
			if number(from) != 0 {
				c.real("rope.scaling."+to, number(from))
			}
		}
	case "llama3":
		factors := make([]float64, c.headDim()/2)
		for i := range factors {
			turns := number("original_max_position_embeddings") * math.Pow(c.number("rope_theta"), -2*float64(i)/float64(c.headDim())) / (2 * math.Pi)
			keep := min(max((turns-number("low_freq_factor"))/(number("high_freq_factor")-number("low_freq_factor")), 0), 1)
			factors[i] = 1 / (keep + (1-keep)/number("factor"))
		}
		c.vector("rope_freqs.weight", factors)
	case "longrope":
		trained := c.number("original_max_position_embeddings")
		c.whole("rope.scaling.original_context_length", trained)
		c.real("rope.scaling.attn_factor", math.Sqrt(1+math.Log(c.number("max_position_embeddings")/trained)/math.Log(trained)))
		for key, name := range map[string]string{"long_factor": "rope_factors_long.weight", "short_factor": "rope_factors_short.weight"} {
			var factors []float64
			for _, f := range scaling[key].([]any) {
				factors = append(factors, f.(float64))
			}
			c.vector(name, factors)
		}
	}
}

// vector adds a tensor in f32.
func (c *converter) vector(name string, values []float64) {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
	}
	c.tensors = append(c.tensors, tensor.Tensor{Name: name, DType: kernels.F32, Shape: []int{len(values)}, Data: data})
}

// ggufNames are GGUF's names for a layer's parts.
var ggufNames = map[string]string{
	"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
	"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
	"self_attn.qkv_proj": "attn_qkv", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
	"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up",
}

// gemmaNames are those that are different where there are norms after, too.
var gemmaNames = map[string]string{
	"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
}

// name translates a tensor's name.
func (c *converter) name(from string) (string, error) {
	if to, ok := map[string]string{
		"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight",
	}[from]; ok {
		return to, nil
	}
	layer, part, _ := strings.Cut(strings.TrimPrefix(from, "model.layers."), ".")
	dot := strings.LastIndex(part, ".")
	if dot < 0 {
		return "", fmt.Errorf("tensor %q is of no layer", from)
	}
	to, ok := ggufNames[part[:dot]]
	if gemma, isGemma := gemmaNames[part[:dot]]; isGemma && strings.HasPrefix(c.architecture, "gemma") {
		to, ok = gemma, true
	}
	if !ok {
		return "", fmt.Errorf("tensor %q has no name in GGUF", from)
	}
	return "blk." + layer + "." + to + part[dot:], nil
}

// weight adds one of the directory's tensors, all of which are bf16.
func (c *converter) weight(w tensor.Tensor) error {
	name, err := c.name(w.Name)
	if err != nil {
		return err
	}
	if w.DType != kernels.BF16 {
		return fmt.Errorf("tensor %q is %s; expected bf16", w.Name, w.DType)
	}
	if len(w.Shape) == 1 {
		left := 0.0 // what Gemma's norms leave out
		if strings.HasPrefix(c.architecture, "gemma") && strings.HasSuffix(w.Name, "norm.weight") {
			left = 1
		}
		values := make([]float64, w.Shape[0])
		for i := range values {
			values[i] = left + float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(w.Data[2*i:]))<<16))
		}
		c.vector(name, values)
		return nil
	}
	data, rotated := w.Data, strings.Contains(w.Name, "q_proj") || strings.Contains(w.Name, "k_proj")
	if rotated && (c.architecture == "llama" || c.architecture == "smollm3") {
		data = interleave(data, w.Shape, c.headDim())
	}
	c.tensors = append(c.tensors, tensor.Tensor{Name: name, DType: w.DType, Shape: w.Shape, Data: data})
	return nil
}

// interleave makes neighbours of the rows of each head that are rotated together
// and lie half a head apart.
func interleave(data []byte, shape []int, headDim int) []byte {
	row, half := len(data)/shape[0], headDim/2
	var out []byte
	for to := range shape[0] {
		head, in := to/headDim*headDim, to%headDim
		from := head + in%2*half + in/2
		out = append(out, data[from*row:(from+1)*row]...)
	}
	return out
}
