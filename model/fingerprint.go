package model

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"math"
	"runtime/debug"
	"sync"

	"github.com/zeebo/xxh3"

	"headinfer/model/tensor"
)

// What a fingerprint reads of a tensor: all of it up to wholeBytes; of a larger one
// so many samples of so many bytes, evenly from its beginning to its end.
const (
	wholeBytes  = 1 << 20
	samples     = 64
	sampleBytes = 4 << 10
)

// fingerprint is a checkpoint's, once it has been computed.
type fingerprint struct {
	once sync.Once
	text string
	err  error
}

// Fingerprint returns 32 hexadecimal digits that are the same for checkpoints that
// compute the same: for those of the same configuration, vocabulary and tensors,
// wherever their files lie and whatever they are called. Of tensors over 1 MiB 64
// samples are read, 4 KiB each, so that it takes no longer than to open a model: two
// that differ elsewhere only have the same fingerprint.
func (c *Checkpoint) Fingerprint() (string, error) {
	f := &c.fingerprint
	f.once.Do(func() { f.text, f.err = c.computeFingerprint() })
	return f.text, f.err
}

// TextFingerprint returns 16 hexadecimal digits that are the same for checkpoints that
// make the same tokens of a text or a conversation, and end an answer with the same.
func (c *Checkpoint) TextFingerprint() string {
	h := xxh3.New()
	frame(h, binary.LittleEndian.AppendUint64(nil, c.Tokenizer.Digest()))
	frame(h, []byte(c.ChatTemplate))
	return fmt.Sprintf("%016x", h.Sum64())
}

func (c *Checkpoint) computeFingerprint() (text string, err error) {
	// Where a file was cut since it was mapped, reading is a fault.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			text, err = "", fmt.Errorf("%s: its tensors cannot be read: %v", c.Path, r)
		}
	}()
	h := xxh3.New()
	config := c.Config
	config.Name = "" // comes from the path
	shape, err := json.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.Path, err)
	}
	frame(h, shape)
	for id := range c.Tokenizer.Size() {
		frame(h, []byte(c.Tokenizer.Token(int32(id))))
	}
	specs := c.Config.tensors()
	switch s := c.source.(type) {
	case *stored:
		for _, spec := range specs {
			s.fingerprint(h, spec)
		}
	case noise:
		frame(h, binary.LittleEndian.AppendUint64([]byte("random weights "), s.seed))
	default:
		return "", fmt.Errorf("%s: a %T has no fingerprint", c.Path, s)
	}
	sum := h.Sum128().Bytes()
	return fmt.Sprintf("%x", sum[:]), nil
}

// frame hashes data so that what follows cannot pass for a part of it.
func frame(h hash.Hash, data []byte) {
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(data)))) // a hash takes all
	_, _ = h.Write(data)
}

// fingerprint hashes what the decoder gets as a tensor.
func (f *stored) fingerprint(h hash.Hash, spec tensorSpec) {
	t, _ := f.lookup(spec.name)
	frame(h, []byte(spec.name+" "+t.DType.String()+" "+tensor.FormatShape(t.Shape)))
	sample(h, t.Data)
	if t.Decode == nil {
		return
	}
	// What is decoded depends on more than its own data.
	row := make([]byte, rowBytes(t))
	for _, at := range spread(spec.rows, 1, samples) {
		t.Decode(row, at, at+1)
		sample(h, row)
	}
}

// sample hashes all of some data or parts of it.
func sample(h hash.Hash, data []byte) {
	if len(data) <= wholeBytes {
		frame(h, data)
		return
	}
	frame(h, nil)
	for _, at := range spread(len(data), sampleBytes, samples) {
		frame(h, data[at:at+sampleBytes])
	}
}

// spread returns where up to n parts of some size begin that lie evenly in a whole,
// the first at its beginning and the last at its end.
func spread(whole, part, n int) []int {
	n = min(n, whole/part)
	at := make([]int, n)
	for i := range at {
		at[i] = int(int64(whole-part) * int64(i) / int64(max(n-1, 1)))
	}
	return at
}

// LengthKey returns what keys and values depend on beside the tokens before them, of
// a text that is to have some tokens: "" but for models whose rotary embedding is
// stretched by the text's length.
func (c Config) LengthKey(tokens int) string {
	key := ""
	for _, r := range c.ropes() {
		if r.Scaling != "dynamic" && r.Scaling != "longrope" {
			continue
		}
		h := xxh3.New()
		f, scale := r.Frequencies(tokens)
		for _, v := range append(f, scale) {
			_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))) // a hash takes all
		}
		key += fmt.Sprintf("%s rotary embedding %016x", r.Scaling, h.Sum64())
	}
	return key
}
