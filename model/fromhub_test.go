package model

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headinfer/model/hub"
)

// TestOpenFromHub opens a model in a cache of the hub, without a hub.
func TestOpenFromHub(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HF_HOME", home)
	t.Setenv("HF_HUB_CACHE", "")
	t.Setenv("HF_HUB_OFFLINE", "1")
	const commit = "0123456789abcdef0123456789abcdef01234567"
	repo := filepath.Join(home, "hub", "models--some-owner--tiny.model")
	if err := os.CopyFS(filepath.Join(repo, "snapshots", commit), os.DirFS("../testdata/tiny-llama")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"hf:some-owner/tiny.model@" + commit, filepath.Join(repo, "snapshots", commit)} {
		c, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.Config.Name != "some-owner/tiny.model" {
			t.Errorf("%s is called %q", path, c.Config.Name)
		}
		closing(t, c)
	}
	for path, kind := range map[string]error{"hf:some-owner/tiny.model": hub.ErrOffline, "hf:tiny": hub.ErrName, "hf:some-owner/tiny.model@" + commit + ":a.gguf": hub.ErrOffline} {
		if c, err := Open(path); !errors.Is(err, kind) || !strings.Contains(err.Error(), "tiny") {
			t.Errorf("%s: %v", path, err)
			if err == nil {
				closing(t, c)
			}
		}
	}
}
