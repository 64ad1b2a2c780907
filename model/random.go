package model

import (
	"errors"
	"fmt"
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

// randomType is the encoding of random weights when none is asked for.
const randomType = kernels.BF16

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
	"llama-3.2-1b": { // without the scaling of its rotation, which takes no time
		Layers: 16, Hidden: 2048, Heads: 32, KVHeads: 8, HeadDim: 64, FFN: 8192, Vocab: 128256, Rope: Rope{Base: 500000}, NormEps: 1e-5, Tied: true,
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
// one, and after either may come ?seed=N&dtype=TYPE, or one of the two.
func openRandom(path string) (*Checkpoint, error) {
	what, from, err := parseRandom(path)
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
	how := "random weights"
	if from.dtype != randomType {
		how += " in " + from.dtype.String()
	}
	config.Architecture, config.Name, config.Rope.Dim = "llama", fmt.Sprintf("%s (%s)", name, how), config.HeadDim
	// It has been trained for no length, so any is as good as another.
	config.Context = math.MaxInt32
	return &Checkpoint{Path: path, Config: config, Tokenizer: tok, Random: true, source: from}, nil
}

// parseRandom takes random:WHAT?seed=N&dtype=TYPE apart.
func parseRandom(path string) (what string, n noise, err error) {
	n = noise{path: path, seed: 1, dtype: randomType}
	what, options, given := strings.Cut(strings.TrimPrefix(path, randomPrefix), "?")
	if !given {
		return what, n, nil
	}
	seen := map[string]bool{}
	for option := range strings.SplitSeq(options, "&") {
		name, value, _ := strings.Cut(option, "=")
		if seen[name] {
			return "", n, fmt.Errorf("%s= is there twice; expected it once", name)
		}
		seen[name] = true
		switch name {
		case "seed":
			if n.seed, err = strconv.ParseUint(value, 10, 64); err != nil {
				return "", n, fmt.Errorf("the seed is %q; expected a whole number from 0 to %d", value, uint64(math.MaxUint64))
			}
		case "dtype":
			if n.dtype, err = parseType(value); err != nil {
				return "", n, err
			}
		default:
			return "", n, fmt.Errorf("%q is no option; expected seed=N or dtype=TYPE, as in %stiny?seed=7&dtype=q8_0", option, randomPrefix)
		}
	}
	return what, n, nil
}

// RandomIn returns the path of the same random weights in an encoding. It fails if
// path is not one of random weights, if it names an encoding already, or if there
// is none of that name.
func RandomIn(path, dtype string) (string, error) {
	if !strings.HasPrefix(path, randomPrefix) {
		return "", fmt.Errorf("the model is %s, which has weights of its own; expected %sNAME", path, randomPrefix)
	}
	mark := "?"
	if strings.Contains(path, mark) {
		mark = "&"
	}
	path += mark + "dtype=" + dtype
	if _, _, err := parseRandom(path); err != nil {
		return "", fmt.Errorf("model %s: %w", path, err)
	}
	return path, nil
}

// parseType reads the encoding of random weights.
func parseType(name string) (kernels.DType, error) {
	var known []string
	for _, d := range kernels.DTypes() {
		if d.String() == name {
			return d, nil
		}
		known = append(known, d.String())
	}
	return kernels.Invalid, fmt.Errorf("dtype is %q; expected one of %s", name, strings.Join(known, ", "))
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
	file, err := readHF(path, readSmall)
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
