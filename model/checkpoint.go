package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"headinfer/model/hub"
	"headinfer/model/tokenizer"
)

// Checkpoint is a model as its files hold it, or of random weights. Tensors in
// files alias the mapped files and are valid until Close.
type Checkpoint struct {
	Path      string
	Config    Config
	Tokenizer *tokenizer.Tokenizer
	// ChatTemplate is the Jinja template of a conversation, or "".
	ChatTemplate string
	// Random says that the weights are random numbers: the model takes the time
	// and memory of one of its shape, and what it answers means nothing.
	Random bool
	// Loading, if set, is told how many bytes of the weights are where a device
	// can use them, of how many, with each tensor. It must return soon.
	Loading func(done, total int64)

	source      source
	fingerprint fingerprint
}

// ErrNotFound is matched by Open's error when there is nothing at the path.
var ErrNotFound = errors.New("model not found")

// Open reads a model: a directory with config.json, tokenizer.json and
// safetensors, a .gguf file, builtin for the one that the program carries, or a
// shape with random weights: random:NAME with
// the name of one of the known shapes, such as random:llama-3-8b, or random:
// and the path of a config.json or of a directory with one. At the end may come
// ?seed=N, which is 1 otherwise, and ?dtype=q4_k or another encoding of the
// weights; both are ?seed=N&dtype=q4_k.
//
// hf:OWNER/NAME[@REVISION][:FILE.gguf] is a model of the hub, which is fetched
// if the cache does not have it. That can take long and cannot be ended; to be
// able to, and to be told how it goes, call hub.Hub.Find first and open what it
// returns.
//
// A model with random weights takes texts of any length, as its tokens are
// bytes and nothing was trained. The error matches ErrNotFound if there is
// nothing at the path, or no shape of that name.
func Open(path string) (*Checkpoint, error) {
	c, err := read(path)
	if err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// read opens whatever a path names.
func read(path string) (*Checkpoint, error) {
	if path == Builtin {
		return openBuiltin()
	}
	if strings.HasPrefix(path, randomPrefix) {
		return openRandom(path)
	}
	if hub.IsPath(path) {
		local, err := fromHub(path)
		if err != nil {
			return nil, err
		}
		path = local
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: nothing at %q; model.path is a directory with config.json, tokenizer.json and safetensors, a .gguf file, or builtin", ErrNotFound, path)
	case err != nil:
		return nil, fmt.Errorf("model: %w", err)
	}
	switch {
	case info.IsDir():
		return openDirectory(path)
	case strings.HasSuffix(strings.ToLower(path), ".gguf"):
		return openGGUF(path)
	}
	return nil, fmt.Errorf("model %s: neither a directory nor a .gguf file", path)
}

// Close unmaps the files.
func (c *Checkpoint) Close() error { return c.source.close() }

// check compares the tensors with what the configuration says they are.
func (c *Checkpoint) check() error {
	if err := c.Config.validate(c.Path); err != nil {
		return err
	}
	// Some tokenizers have a few tokens of pictures that the model has no
	// embedding for; a text with one is refused when it comes.
	beyond := 64
	if c.Random {
		beyond = 0
	}
	if n := c.Tokenizer.Size(); n > c.Config.Vocab+beyond {
		return fmt.Errorf("%s: the tokenizer has %d tokens and the model %d", c.Path, n, c.Config.Vocab)
	}
	for _, spec := range c.Config.tensors() {
		if err := c.source.check(spec); err != nil {
			return err
		}
	}
	return nil
}
