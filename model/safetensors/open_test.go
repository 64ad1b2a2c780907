package safetensors

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headinfer/model/tensor"
)

func save(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func index(shards map[string][]tensor.Tensor) []byte {
	var items []string
	for shard, tensors := range shards {
		for _, w := range tensors {
			items = append(items, fmt.Sprintf("%q: %q", w.Name, shard))
		}
	}
	return []byte(`{"metadata": {"total_size": 12}, "weight_map": {` + strings.Join(items, ", ") + "}}")
}

func mustOpen(t *testing.T, path string) *Set {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

func TestOpenSingle(t *testing.T) {
	r := newRand(t)
	dir := t.TempDir()
	want := someTensors(r, "m")
	path := save(t, dir, singleName, write(t, want))
	save(t, dir, indexName, []byte("not looked at"))
	checkTensors(t, mustOpen(t, dir), want)
	checkTensors(t, mustOpen(t, path), want)
	other := someTensors(r, "o")
	checkTensors(t, mustOpen(t, save(t, dir, "other.bin", write(t, other))), other)
}

func TestOpenShards(t *testing.T) {
	r := newRand(t)
	dir, blobs := t.TempDir(), t.TempDir()
	one, two := someTensors(r, "one"), someTensors(r, "two")
	// The second shard also has a tensor of the first, and one that the index
	// does not know; both are left out.
	unknown := someTensors(r, "unknown")[:1]
	copied := one[0]
	copied.Shape, copied.Data = []int{0}, nil
	save(t, dir, "a-1.safetensors", write(t, one))
	blob := save(t, blobs, "0123", write(t, append(append([]tensor.Tensor{copied}, two...), unknown...)))
	if err := os.Symlink(blob, filepath.Join(dir, "a-2.safetensors")); err != nil {
		save(t, dir, "a-2.safetensors", write(t, two)) // a system without links
	}
	path := save(t, dir, indexName, index(map[string][]tensor.Tensor{"a-1.safetensors": one, "a-2.safetensors": two}))
	for _, p := range []string{dir, path} {
		s := mustOpen(t, p)
		checkTensors(t, s, append(append([]tensor.Tensor{}, one...), two...))
		if s.Name() != p || s.Tensors()[0].Name != one[0].Name {
			t.Errorf("name %q, first tensor %v", s.Name(), s.Tensors()[0])
		}
	}
}

func TestOpenRefused(t *testing.T) {
	r := newRand(t)
	weights := someTensors(r, "w")
	file := write(t, weights)
	given := func(shard string) []byte { return index(map[string][]tensor.Tensor{shard: weights}) }
	cases := []struct {
		name  string
		files map[string][]byte
		kind  error
		want  string
	}{
		{"nothing", nil, ErrNotFound, "neither model.safetensors nor model.safetensors.index.json is there; give the path"},
		{"other name", map[string][]byte{"consolidated.safetensors": file}, ErrNotFound, "it has consolidated.safetensors"},
		{"damaged", map[string][]byte{singleName: file[:50]}, ErrDamaged, singleName + ": at byte"},
		{"shard missing", map[string][]byte{indexName: given("a.safetensors")}, os.ErrNotExist, "the shard a.safetensors that the index names"},
		{"shard damaged", map[string][]byte{indexName: given("a.safetensors"), "a.safetensors": file[:50]}, ErrDamaged, "a.safetensors: at byte"},
		{"tensor missing", map[string][]byte{indexName: given("a.safetensors"), "a.safetensors": write(t, weights[1:])}, ErrDamaged,
			fmt.Sprintf("(tensor %q): the index says that a.safetensors holds it, and it does not", weights[0].Name)},
		{"up", map[string][]byte{indexName: given("../a.safetensors")}, ErrDamaged, `the shard "../a.safetensors", and a shard must be a .safetensors file beside the index`},
		{"below", map[string][]byte{indexName: given("b/a.safetensors")}, ErrDamaged, "beside the index"},
		{"absolute", map[string][]byte{indexName: given("/a.safetensors")}, ErrDamaged, "beside the index"},
		{"Windows", map[string][]byte{indexName: given(`..\a.safetensors`)}, ErrDamaged, "beside the index"},
		{"drive", map[string][]byte{indexName: given(`c:a.safetensors`)}, ErrDamaged, "beside the index"},
		{"other file", map[string][]byte{indexName: given("passwd")}, ErrDamaged, "beside the index"},
		{"empty", map[string][]byte{indexName: []byte("{}")}, ErrDamaged, "no weight_map, or an empty one"},
		{"no bytes", map[string][]byte{indexName: nil}, ErrDamaged, "ends too soon"},
		{"broken", map[string][]byte{indexName: []byte(`{"weight_map": {"a": 3}}`)}, ErrDamaged, "found the number 3"},
		{"twice", map[string][]byte{indexName: []byte(`{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}`)}, ErrDamaged, `the key "a" occurs twice`},
		{"more", map[string][]byte{indexName: append(given("a.safetensors"), '}')}, ErrDamaged, "the JSON is broken"},
	}
	for _, c := range cases {
		dir := t.TempDir()
		for name, data := range c.files {
			save(t, dir, name, data)
		}
		s, err := Open(dir)
		if err == nil {
			err = s.Close()
			t.Errorf("%s: no error", c.name)
		}
		if err == nil || !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error\n  %v\nwant one with\n  %s", c.name, err, c.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a path that is not there: %v", err)
	}
}

func TestIndexCutAnywhere(t *testing.T) {
	r := newRand(t)
	data := index(map[string][]tensor.Tensor{"a.safetensors": someTensors(r, "w")})
	if shards, err := parseIndex("x", data); err != nil || len(shards) != 6 {
		t.Fatalf("%d tensors, %v", len(shards), err)
	}
	for end := range data {
		_, err := parseIndex("x", data[:end])
		if err == nil {
			t.Fatalf("cut at %d of %d: no error", end, len(data))
		}
		checkError(t, err, "x", end)
	}
}
