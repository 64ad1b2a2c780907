package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"headinfer/kernels"
	"headinfer/model/tokenizer"
)

// randomPrefix is how a path asks for random weights.
const randomPrefix = "random:"

// deviation is that of random weights: what most models of this family are
// trained from.
const deviation = 0.02

// shapes are those of published models, as their config.json has them. Only
// the shapes are theirs: the layers are the decoder's own, which are Llama's,
// so that Qwen2 has no biases here, and Gemma 2 neither its soft caps, its
// sliding windows nor its additional norms. tiny is for tests.
var shapes = map[string]Config{
	"llama-3-8b": {
		Layers: 32, Hidden: 4096, Heads: 32, KVHeads: 8, HeadDim: 128, FFN: 14336, Vocab: 128256, Rope: Rope{Base: 500000}, NormEps: 1e-5,
	},
	"llama-3-70b": {
		Layers: 80, Hidden: 8192, Heads: 64, KVHeads: 8, HeadDim: 128, FFN: 28672, Vocab: 128256, Rope: Rope{Base: 500000}, NormEps: 1e-5,
	},
	"llama-2-7b": {
		Layers: 32, Hidden: 4096, Heads: 32, KVHeads: 32, HeadDim: 128, FFN: 11008, Vocab: 32000, Rope: Rope{Base: 10000}, NormEps: 1e-5,
	},
	"mistral-7b": { // version 0.2, which has no sliding window
		Layers: 32, Hidden: 4096, Heads: 32, KVHeads: 8, HeadDim: 128, FFN: 14336, Vocab: 32000, Rope: Rope{Base: 1e6}, NormEps: 1e-5,
	},
	"qwen2-7b": {
		Layers: 28, Hidden: 3584, Heads: 28, KVHeads: 4, HeadDim: 128, FFN: 18944, Vocab: 152064, Rope: Rope{Base: 1e6}, NormEps: 1e-6,
	},
	"gemma-2-9b": {
		Layers: 42, Hidden: 3584, Heads: 16, KVHeads: 8, HeadDim: 256, FFN: 14336, Vocab: 256000, Rope: Rope{Base: 10000}, NormEps: 1e-6, Tied: true,
	},
	"tiny": {
		Layers: 4, Hidden: 128, Heads: 8, KVHeads: 4, HeadDim: 64, FFN: 384, Vocab: 512, Rope: Rope{Base: 10000}, NormEps: 1e-5,
	},
}

// openRandom makes a checkpoint of a shape without weights: path is
// random:NAME, or random: and the path of a config.json or of a directory with
// one, and after either may come ?seed=N.
func openRandom(path string) (*Checkpoint, error) {
	what, seed, err := parseRandom(path)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	config, name := shapes[what], what
	if _, known := shapes[what]; !known {
		if config, name, err = shapeOf(what); err != nil {
			return nil, err
		}
	}
	tok, err := tokenizer.Bytes()
	if err != nil {
		return nil, err
	}
	config.Architecture, config.Name, config.Rope.Dim = "llama", name+" (random weights)", config.HeadDim
	// It has been trained for no length, so any is as good as another.
	config.Context = math.MaxInt32
	return &Checkpoint{Path: path, Config: config, Tokenizer: tok, Random: true, source: noise{seed}}, nil
}

// parseRandom takes random:WHAT?seed=N apart.
func parseRandom(path string) (what string, seed uint64, err error) {
	what, option, given := strings.Cut(strings.TrimPrefix(path, randomPrefix), "?")
	if !given {
		return what, 1, nil
	}
	value, ok := strings.CutPrefix(option, "seed=")
	if !ok {
		return "", 0, fmt.Errorf("%q is no option; expected seed=N, as in %stiny?seed=7", option, randomPrefix)
	}
	if seed, err = strconv.ParseUint(value, 10, 64); err != nil {
		return "", 0, fmt.Errorf("the seed is %q; expected a whole number from 0 to %d", value, uint64(math.MaxUint64))
	}
	return what, seed, nil
}

// shapeOf reads a shape from a config.json, or a directory with one. Of the
// rest of the file nothing is asked, as nothing of it is in random weights.
func shapeOf(path string) (c Config, name string, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Config{}, "", fmt.Errorf("%w: no shape is called %q; known are %s; or give the path of a config.json, or of a directory with one",
			ErrNotFound, path, strings.Join(slices.Sorted(maps.Keys(shapes)), ", "))
	case err != nil:
		return Config{}, "", fmt.Errorf("model %s%s: %w", randomPrefix, path, err)
	case info.IsDir():
		path = filepath.Join(path, "config.json")
	}
	file, err := readHF(path, os.ReadFile)
	if err != nil {
		return Config{}, "", err
	}
	c, err = file.shape()
	name = strings.TrimSuffix(filepath.Base(path), ".json")
	if name == "config" {
		name = c.Name
	}
	return c, name, err
}

// noise is a source that has the device make its tensors: matrices in bf16 of
// normal numbers, norms of ones.
type noise struct{ seed uint64 }

func (noise) check(tensorSpec) error { return nil }
func (noise) close() error           { return nil }

func (noise) bytes(spec tensorSpec) int64 {
	if spec.vector() {
		return 4 * int64(spec.cols)
	}
	return 2 * int64(spec.rows) * int64(spec.cols)
}

func (n noise) held(spec tensorSpec) (kind string, bytes int64) {
	if spec.vector() {
		return kernels.F32.String(), n.bytes(spec)
	}
	return kernels.BF16.String(), n.bytes(spec)
}

func (n noise) load(dev kernels.Device, s kernels.Stream, _ []tensorSpec) loader {
	return drawing{n, dev, s}
}

// drawing has a device make tensors.
type drawing struct {
	noise
	dev kernels.Device
	s   kernels.Stream
}

func (d drawing) put(spec tensorSpec) (kernels.Tensor, error) {
	if spec.vector() {
		t, err := d.dev.NewWeight(spec.name, kernels.F32, 1, spec.cols)
		if err == nil {
			d.dev.Random(d.s, t, 0, 1, 0)
		}
		return t, err
	}
	t, err := d.dev.NewWeight(spec.name, kernels.BF16, spec.rows, spec.cols)
	if err == nil {
		d.dev.Random(d.s, t, d.seedOf(spec.name), 0, deviation)
	}
	return t, err
}

func (drawing) end() {}

// seedOf gives each tensor a seed of its own.
func (n noise) seedOf(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, n.seed)) // a hash takes all
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}
