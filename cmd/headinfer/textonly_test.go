package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"headinfer/model"
)

// TestTextOnly describes and loads a model that reads pictures, too: both say
// that it does not here.
func TestTextOnly(t *testing.T) {
	const from = "../../testdata/architectures/"
	dir := t.TempDir()
	for _, file := range []string{"gemma3-multimodal/config.json", "gemma3-multimodal/model.safetensors", "tokenizer.json"} {
		data, err := os.ReadFile(from + file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var facts bytes.Buffer
	f := newModelFacts(dir, c)
	if err := f.print(&facts); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if want := "gemma3, the language model alone: no pictures are read\n"; !strings.Contains(facts.String(), want) {
		t.Errorf("no %q in:\n%s", want, &facts)
	}
	for path, want := range map[string]int{dir: 1, "../../testdata/tiny-llama": 0} {
		o := overrides{sets: []string{"model.path=" + path, "device.kind=cpu"}}
		p, err := o.loadMethod("standard")
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		_, done, err := openEngine(p, zerolog.New(&log))
		if err != nil {
			t.Fatal(err)
		}
		if err := done(); err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "no pictures are read"); n != want {
			t.Errorf("%s: said %d times, want %d: %s", path, n, want, &log)
		}
	}
}
