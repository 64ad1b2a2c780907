package model

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"headinfer/internal/shorten"
	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
	"headinfer/model/tensor"
)

// architecture says how a family of models differs from Llama's: which of the
// decoder's blocks its files ask for, and how these hold its weights.
type architecture struct {
	// directory sets what a config.json asks for beyond its dimensions; nil: no
	// config.json calls itself so.
	directory func(h *hfConfig, c *Config) error
	// gguf does the same for a GGUF file.
	gguf func(g *ggufMeta, c *Config)
	// whole, if set, names for a weight the one that it is a part of in the files,
	// and which rows of that; "" if it is one of its own.
	whole func(c Config, name string) (whole string, rows rows)
	// among, if set, finds the decoder's weights among those of a model that it is a
	// part of.
	among func(files finder) finder
	// offset is what norms of a directory leave out: 1 where they hold the
	// difference from that.
	offset float32
}

type rows struct{ from, to, of int }

// architectures are those that the decoder computes, by config.json's
// model_type and GGUF's general.architecture.
var architectures = map[string]architecture{
	"llama":       {directory: llamaDirectory, gguf: llamaGGUF},
	"mistral":     {directory: mistralDirectory},
	"qwen2":       {directory: qwen2Directory, gguf: qwen2GGUF},
	"qwen3":       {directory: qwen3Directory, gguf: qwen3GGUF},
	"gemma2":      {directory: gemma2Directory, gguf: gemma2GGUF, offset: 1},
	"gemma3":      {directory: gemma3Directory, gguf: gemma3GGUF, among: findLanguageModel, offset: 1},
	"gemma3_text": {directory: gemma3Directory, offset: 1},
	"phi3":        {directory: phi3Directory, gguf: phi3GGUF, whole: phi3Whole},
	"smollm3":     {directory: smolLM3Directory, gguf: smolLM3GGUF},
}

// findArchitecture returns an architecture by its name in one of the two
// formats, or says which there are.
func findArchitecture(file, field, name string, known func(architecture) bool) (architecture, error) {
	if a := architectures[name]; known(a) {
		return a, nil
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(architectures)), func(n string) bool { return !known(architectures[n]) })
	return architecture{}, fmt.Errorf("%s: %s %q is not supported; supported: %s", file, field, shorten.Text(name), strings.Join(names, ", "))
}

// finder finds a tensor by Hugging Face's name for it.
type finder func(name string) (tensor.Tensor, bool)

// find returns what finds the model's weights among the files' tensors.
func (a architecture) find(c Config, files finder) finder {
	if a.among != nil {
		files = a.among(files)
	}
	find := files
	if a.whole != nil {
		find = func(name string) (tensor.Tensor, bool) {
			whole, rows := a.whole(c, name)
			if whole == "" {
				return files(name)
			}
			t, ok := files(whole)
			return part(t, rows), ok
		}
	}
	if a.offset != 0 {
		return withOffset(find, a.offset)
	}
	return find
}

// part views rows of a matrix, or the matrix if it has not as many as it must
// have: its shape then says what is wrong.
func part(t tensor.Tensor, r rows) tensor.Tensor {
	if len(t.Shape) != 2 || t.Shape[0] != r.of {
		return t
	}
	if decode := t.Decode; decode != nil {
		t.Decode = func(dst []byte, from, to int) { decode(dst, r.from+from, r.from+to) }
	} else {
		bytes := int(rowBytes(t))
		t.Data = t.Data[r.from*bytes : r.to*bytes]
	}
	t.Shape = []int{r.to - r.from, t.Shape[1]}
	return t
}

// withOffset returns what finds the same tensors, with offset added to norms.
func withOffset(find finder, offset float32) finder {
	var mu sync.Mutex
	made := map[string]tensor.Tensor{}
	return func(name string) (tensor.Tensor, bool) {
		t, ok := find(name)
		if !ok || !strings.HasSuffix(name, "norm.weight") || len(t.Shape) != 1 {
			return t, ok
		}
		mu.Lock()
		defer mu.Unlock()
		if _, ok := made[name]; !ok {
			made[name] = addTo(t, offset)
		}
		return made[name], true
	}
}

// addTo returns a vector in f32 with offset added to each element.
func addTo(t tensor.Tensor, offset float32) tensor.Tensor {
	values, err := vectorOf(t)
	if err != nil {
		return t // the reader of weights meets the same error
	}
	data := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v+offset))
	}
	t.DType, t.Data = kernels.F32, data
	return t
}

// vectorOf decodes a vector.
func vectorOf(t tensor.Tensor) ([]float32, error) {
	if len(t.Shape) != 1 {
		return nil, fmt.Errorf("is %s, and not a vector", tensor.FormatShape(t.Shape))
	}
	values := make([]float32, t.Shape[0])
	return values, simd.Dequantize(values, t.Data, t.DType)
}
