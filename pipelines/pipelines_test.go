package pipelines_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headinfer/config"
	"headinfer/pipelines"
	"headinfer/stages"
)

// TestEmbedded compares what the program carries with the files of the folder:
// the same ones, the same bytes, and pipelines all of them.
func TestEmbedded(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	names := pipelines.Names()
	for _, want := range []string{"standard", "chunked-prefill", "layer-wise", "headinfer-1", "adaptive", "tiled"} {
		if !slices.Contains(names, want) {
			t.Errorf("no method %q among %q", want, names)
		}
	}
	if len(names) != len(files) {
		t.Errorf("%d methods and %d files: %q, %q", len(names), len(files), names, files)
	}
	registry, err := stages.Registry()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		onDisk, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		src, err := pipelines.Read(strings.TrimSuffix(file, ".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(src, onDisk) {
			t.Errorf("%s: what is embedded differs from the file", file)
		}
		p, err := config.Load(file, src, registry, nil, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, _, err := stages.Graphs(registry, p); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownMethod(t *testing.T) {
	for _, name := range []string{"", "standart", "standard.yaml", "../pipeline", "."} {
		_, err := pipelines.Read(name)
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "chunked-prefill, h2o, headinfer-1") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
