package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"headinfer/model/tensor"
	"headinfer/model/tokenizer"
)

// Checkpoint is a model as its files hold it. Its tensors alias the mapped
// files and are valid until Close.
type Checkpoint struct {
	Path      string
	Config    Config
	Tokenizer *tokenizer.Tokenizer
	// ChatTemplate is the Jinja template of a conversation, or "".
	ChatTemplate string

	lookup func(name string) (tensor.Tensor, bool) // by Hugging Face's names
	close  func() error
}

// ErrNotFound is matched by Open's error when there is nothing at the path.
var ErrNotFound = errors.New("model not found")

// Open reads a model: a directory with config.json, tokenizer.json and
// safetensors, or a .gguf file.
func Open(path string) (*Checkpoint, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: nothing at %q; model.path is a directory with config.json, tokenizer.json and safetensors, or a .gguf file (`make model` fetches the one that pipeline.yaml names)", ErrNotFound, path)
	case err != nil:
		return nil, fmt.Errorf("model: %w", err)
	}
	var c *Checkpoint
	switch {
	case info.IsDir():
		c, err = openDirectory(path)
	case strings.HasSuffix(strings.ToLower(path), ".gguf"):
		c, err = openGGUF(path)
	default:
		return nil, fmt.Errorf("model %s: neither a directory nor a .gguf file", path)
	}
	if err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close unmaps the files.
func (c *Checkpoint) Close() error { return c.close() }

// check compares the tensors with what the configuration says they are.
func (c *Checkpoint) check() error {
	if err := c.Config.validate(c.Path); err != nil {
		return err
	}
	if n := c.Tokenizer.Size(); n > c.Config.Vocab {
		return fmt.Errorf("%s: the tokenizer has %d tokens and the model %d", c.Path, n, c.Config.Vocab)
	}
	for _, spec := range c.Config.tensors() {
		t, ok := c.lookup(spec.name)
		if !ok {
			return fmt.Errorf("%s: tensor %q is missing", c.Path, spec.name)
		}
		if !spec.fits(t.Shape) {
			return fmt.Errorf("%s: tensor %q is %s, and the configuration makes it %s", c.Path, t.Name,
				tensor.FormatShape(t.Shape), tensor.FormatShape(spec.shape()))
		}
	}
	return nil
}
