package stages

import (
	"path/filepath"
	"testing"

	"headinfer/config"
)

// TestCorporaPipelines checks the examples of pipelines over corpora.
func TestCorporaPipelines(t *testing.T) {
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("../pipelines/corpora/*.yaml")
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		p, err := config.LoadFile(name, registry, nil)
		if err == nil {
			_, _, err = Graphs(registry, p)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
