package hub

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestPull checks the layout that other programs read, that only what is needed
// is fetched, and that a second pull fetches nothing.
func TestPull(t *testing.T) {
	f := newFakeHub(t)
	commit := f.commit("main", single(random(t)))
	h := f.client()
	var last Progress
	h.Progress = func(p Progress) { last = p }
	path := f.pull(h, testModel, commit, singleNeeded)

	if want := filepath.Join(h.Cache, "models--owner--some-model", "snapshots", commit); path != want {
		t.Errorf("it lies at %s, and %s was expected", path, want)
	}
	for _, name := range []string{"model.safetensors", "config.json"} {
		file := f.commits[commit][name]
		target, err := os.Readlink(filepath.Join(path, name))
		if want := filepath.Join("..", "..", "blobs", file.etag()); err != nil || target != want {
			t.Errorf("%s leads to %q, %v; expected %q", name, target, err, want)
		}
	}
	if ref, err := os.ReadFile(filepath.Join(h.Cache, "models--owner--some-model", "refs", "main")); err != nil || string(ref) != commit {
		t.Errorf("refs/main has %q, %v", ref, err)
	}
	if n := int64(len(singleNeeded)); last.Files != int(n) || last.FilesDone != int(n) || last.Bytes == 0 || last.BytesDone != last.Bytes || last.Fetched != last.Bytes {
		t.Errorf("in the end the progress is %+v", last)
	}
	for _, a := range f.requests() {
		if strings.Contains(a.path, "README") || strings.Contains(a.path, "pytorch") || strings.Contains(a.path, "onnx") || strings.Contains(a.path, "original") || strings.Contains(a.path, "adapter") {
			t.Errorf("%s was asked for", a.path)
		}
	}

	f.pull(h, testModel, commit, singleNeeded)
	if again := f.requests(); len(again) != 1 || !strings.HasPrefix(again[0].path, "/api/") {
		t.Errorf("the second pull asked for %+v", again)
	}
	if last.Fetched != 0 || last.BytesDone != last.Bytes || last.FilesDone != last.Files {
		t.Errorf("the second pull's progress is %+v", last)
	}
}

// TestPullSharded checks that the index decides which weights are fetched.
func TestPullSharded(t *testing.T) {
	f := newFakeHub(t)
	r := random(t)
	files := single(r)
	delete(files, "model.safetensors")
	index, err := json.Marshal(map[string]any{"weight_map": map[string]string{
		"a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors",
	}})
	if err != nil {
		t.Fatal(err)
	}
	files["model.safetensors.index.json"] = fakeFile{data: index}
	for _, name := range []string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "consolidated.safetensors"} {
		files[name] = fakeFile{data: noise(r, 10_001), lfs: true}
	}
	commit := f.commit("main", files)
	f.pull(f.client(), testModel, commit, []string{
		"chat_template.jinja", "config.json", "generation_config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
		"model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
	})
}

// TestPullGGUF fetches one file, in a folder and of a revision with a slash.
func TestPullGGUF(t *testing.T) {
	f := newFakeHub(t)
	r := random(t)
	files := map[string]fakeFile{
		"Q4/some.Q4_0.gguf": {data: noise(r, 54_321), lfs: true},
		"some.F16.gguf":     {data: noise(r, 99), lfs: true},
		"config.json":       {data: []byte("{}")},
	}
	commit := f.commit("refs/pr/1", files)
	h := f.client()
	m := Model{Owner: "owner", Name: "some-model", Revision: "refs/pr/1", File: "Q4/some.Q4_0.gguf"}
	path := f.pull(h, m, commit, []string{m.File})
	if want := filepath.Join(h.Cache, "models--owner--some-model", "snapshots", commit, "Q4", "some.Q4_0.gguf"); path != want {
		t.Errorf("it lies at %s, and %s was expected", path, want)
	}
	target, err := os.Readlink(path)
	if want := filepath.Join("..", "..", "..", "blobs", files[m.File].etag()); err != nil || target != want {
		t.Errorf("it leads to %q, %v; expected %q", target, err, want)
	}

	m.File = "other.gguf"
	_, err = h.Pull(t.Context(), m)
	wantError(t, err, ErrNotFound, `file "other.gguf"`, `"refs/pr/1"`, "Q4/some.Q4_0.gguf, some.F16.gguf")
	m.File = ""
	_, err = h.Pull(t.Context(), m)
	wantError(t, err, ErrNotFound, "safetensors", "Q4/some.Q4_0.gguf, some.F16.gguf", "owner/some-model@refs/pr/1:FILE.gguf")
}

// wantError checks what an error matches and says.
func wantError(t *testing.T, err, kind error, parts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("the error is %v, and one that is %q was expected", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// TestPullAgain pulls a branch that has moved: what is the same is not fetched.
func TestPullAgain(t *testing.T) {
	f := newFakeHub(t)
	r := random(t)
	before := single(r)
	first := f.commit("main", before)
	h := f.client()
	f.pull(h, testModel, first, singleNeeded)
	f.requests()

	after := single(r)
	after["model.safetensors"] = before["model.safetensors"]
	second := f.commit("main", after)
	f.pull(h, testModel, second, singleNeeded)
	for _, a := range f.requests() {
		if strings.HasSuffix(a.path, "/model.safetensors") {
			t.Errorf("%+v, and it is in the cache", a)
		}
	}
	// The commit that was first can still be had by its name.
	m := testModel
	m.Revision = first
	f.pull(h, m, first, singleNeeded)
}

// TestPullTogether runs pulls of the same model at the same time: every file is
// fetched once.
func TestPullTogether(t *testing.T) {
	f := newFakeHub(t)
	commit := f.commit("main", single(random(t)))
	cache := t.TempDir()
	var all sync.WaitGroup
	for range 5 {
		h := f.clientIn(cache)
		h.Warn = nil
		all.Go(func() {
			if _, err := h.Pull(t.Context(), testModel); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	f.checkSnapshot(f.clientIn(cache), testModel, commit, singleNeeded)
	for _, a := range f.requests() {
		if !strings.HasPrefix(a.path, "/api/") && a.count > 1 {
			t.Errorf("%s %s was asked for %d times", a.method, a.path, a.count)
		}
	}
	if sizes := left(t, cache); len(sizes) > 0 {
		t.Errorf("unfinished files of %d bytes are left", sizes)
	}
}

// TestPullBareListing pulls from a hub whose listing has neither sizes nor
// etags.
func TestPullBareListing(t *testing.T) {
	f := newFakeHub(t)
	commit := f.commit("main", single(random(t)))
	f.bare = true
	h := f.client()
	f.pull(h, testModel, commit, singleNeeded)
	for _, a := range f.requests() {
		if a.cdn && a.method != "GET" {
			t.Errorf("the content network was asked %+v", a)
		}
	}
}

// TestPullWithoutLinks pulls where the system has no symbolic links, or no
// links at all.
func TestPullWithoutLinks(t *testing.T) {
	refuse := func(string, string) error { return errors.ErrUnsupported }
	for _, c := range []struct {
		name string
		hard bool
	}{{"hard links", true}, {"copies", false}} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeHub(t)
			commit := f.commit("main", single(random(t)))
			h := f.client()
			h.symlink = refuse
			if !c.hard {
				h.hardlink = refuse
			}
			path := f.pull(h, testModel, commit, singleNeeded)
			a, err := os.Lstat(filepath.Join(path, "model.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.Stat(h.blobPath(testModel, f.commits[commit]["model.safetensors"].etag()))
			if err != nil {
				t.Fatal(err)
			}
			if !a.Mode().IsRegular() || os.SameFile(a, b) != c.hard {
				t.Errorf("it has the mode %s, and is the blob: %t", a.Mode(), os.SameFile(a, b))
			}
		})
	}
}

// TestPullRepairs removes and damages parts of a cache.
func TestPullRepairs(t *testing.T) {
	f := newFakeHub(t)
	commit := f.commit("main", single(random(t)))
	h := f.client()
	path := f.pull(h, testModel, commit, singleNeeded)
	blob := h.blobPath(testModel, f.commits[commit]["model.safetensors"].etag())
	for _, c := range []struct {
		name   string
		damage func() error
	}{
		{"the blob is gone", func() error { return os.Remove(blob) }},
		{"the link is gone", func() error { return os.Remove(filepath.Join(path, "config.json")) }},
		{"the blob is short", func() error { return os.Truncate(blob, 1000) }},
		{"the link leads elsewhere", func() error {
			link := filepath.Join(path, "model.safetensors")
			return errors.Join(os.Remove(link), os.Symlink("config.json", link))
		}},
		{"the snapshot is gone", func() error { return os.RemoveAll(path) }},
	} {
		if err := c.damage(); err != nil {
			t.Fatal(err)
		}
		t.Log(c.name)
		f.pull(h, testModel, commit, singleNeeded)
	}
}

// TestPullSpace checks the room before anything large is fetched.
func TestPullSpace(t *testing.T) {
	f := newFakeHub(t)
	commit := f.commit("main", single(random(t)))
	h := f.client()
	h.free = func(dir string) (int64, bool) {
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
		return 10_000, true
	}
	_, err := h.Pull(t.Context(), testModel)
	wantError(t, err, ErrNoSpace, "owner/some-model", h.Cache, "9.766 KiB left", "HF_HUB_CACHE")
	for _, a := range f.requests() {
		if strings.HasSuffix(a.path, "/model.safetensors") {
			t.Errorf("%+v, without room for it", a)
		}
	}
	h.free = func(string) (int64, bool) { return 0, false } // nobody knows
	f.pull(h, testModel, commit, singleNeeded)
	h.free = func(string) (int64, bool) { return 0, true } // nothing is needed
	f.pull(h, testModel, commit, singleNeeded)
}

// TestPullInterrupted ends a pull while the contents trickle: what came is
// kept, and the next pull asks for the rest only.
func TestPullInterrupted(t *testing.T) {
	f := newFakeHub(t)
	commit := f.commit("main", single(random(t)))
	weights := f.commits[commit]["model.safetensors"]
	const before = 300_000
	f.trickle(weights.etag(), before)
	h := f.client()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stop := errors.New("Ctrl-C")
	h.Progress = func(p Progress) {
		if p.BytesDone > before {
			cancel(stop)
		}
	}
	if _, err := h.Pull(ctx, testModel); !errors.Is(err, stop) {
		t.Fatalf("the pull ended with %v", err)
	}
	sizes := left(t, h.Cache)
	if len(sizes) != 1 || sizes[0] < before/2 || sizes[0] >= int64(len(weights.data)) {
		t.Fatalf("unfinished files of %d bytes are left", sizes)
	}
	if h.commitOf(testModel) != "" {
		t.Error("the revision was noted before the model was there")
	}
	f.behaves(nil)
	f.requests()
	h.Progress = nil
	f.pull(h, testModel, commit, singleNeeded)
	for _, a := range f.requests() {
		if a.cdn && a.ranges != rangeFrom(sizes[0]) {
			t.Errorf("%+v, and %d bytes were there", a, sizes[0])
		}
	}
}
