package model

import (
	"cmp"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"headinfer/model/gguf"
)

// Shapes lists the names of the shapes that random: knows.
func Shapes() []string { return slices.Sorted(maps.Keys(shapes)) }

// ReadConfig reads the configuration of a model's folder or GGUF file, and no
// more of it. A model that the decoder does not compute is an error that says why.
func ReadConfig(path string) (c Config, err error) {
	if strings.HasSuffix(strings.ToLower(path), ".gguf") {
		var f *gguf.File
		if f, err = gguf.Open(path); err != nil {
			return c, err
		}
		c, _, err = ggufConfig(f)
		err = errors.Join(err, f.Close())
	} else {
		path = filepath.Join(path, "config.json")
		c, err = readConfig(path, readSmall)
	}
	if err == nil {
		err = c.validate(path)
	}
	return c, err
}

// Parameters returns how many numbers the model's weights are. An embedding that
// is the output matrix too counts once.
func (c Config) Parameters() int64 {
	var n int64
	for _, spec := range c.tensors() {
		n += spec.elements()
	}
	return n
}

func (s tensorSpec) elements() int64 { return int64(max(s.rows, 1)) * int64(s.cols) }

// WeightBytes returns what the weights take on a device.
func (c *Checkpoint) WeightBytes() int64 {
	var bytes int64
	for _, spec := range c.Config.tensors() {
		bytes += c.source.bytes(spec)
	}
	return bytes
}

// Encoding is what a checkpoint has in one encoding.
type Encoding struct {
	Name       string `json:"encoding"`
	Parameters int64  `json:"parameters"`
	Bytes      int64  `json:"bytes"` // where they come from, without scales of fp8
}

// Encodings returns how a checkpoint's weights are encoded, most bytes first.
func (c *Checkpoint) Encodings() []Encoding {
	by := map[string]*Encoding{}
	for _, spec := range c.Config.tensors() {
		name, bytes := c.source.held(spec)
		if by[name] == nil {
			by[name] = &Encoding{Name: name}
		}
		by[name].Parameters += spec.elements()
		by[name].Bytes += bytes
	}
	var all []Encoding
	for _, name := range slices.Sorted(maps.Keys(by)) {
		all = append(all, *by[name])
	}
	slices.SortStableFunc(all, func(a, b Encoding) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return all
}
