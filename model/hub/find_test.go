package hub

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFind asks the hub only if the answer is not in the cache.
func TestFind(t *testing.T) {
	f := newFakeHub(t)
	r := random(t)
	first := f.commit("main", single(r))
	h := f.client()
	var warnings []string
	h.Warn = func(message string) { warnings = append(warnings, message) }
	pinned := testModel
	pinned.Revision = first
	find := func(m Model, commit string, asked int) {
		t.Helper()
		path, err := h.Find(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if want := h.snapshotDir(m, commit); path != want {
			t.Errorf("%s is %s, and %s was expected", m, path, want)
		}
		if got := f.requests(); len(got) != asked {
			t.Errorf("%s: it asked for %+v", m, got)
		}
	}
	if _, err := h.Find(t.Context(), testModel); err != nil {
		t.Fatal(err)
	}
	f.checkSnapshot(h, testModel, first, singleNeeded)
	f.requests()
	find(testModel, first, 1)
	find(pinned, first, 0)

	// A branch that moves.
	second := f.commit("main", single(r))
	if _, err := h.Find(t.Context(), testModel); err != nil {
		t.Fatal(err)
	}
	f.checkSnapshot(h, testModel, second, singleNeeded)
	f.requests()
	find(pinned, first, 0)

	// A snapshot of another program, which had no use for the tokenizer's
	// configuration.
	if err := os.Remove(filepath.Join(h.snapshotDir(testModel, first), "tokenizer_config.json")); err != nil {
		t.Fatal(err)
	}
	find(pinned, first, 1)
	find(pinned, first, 0)
	if len(warnings) != 0 {
		t.Errorf("it warned %q", warnings)
	}

	// A hub that does not answer, or only with failures.
	f.behaves(func(w http.ResponseWriter, _ *http.Request, _ asked) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	find(testModel, second, 1)
	f.hub.Close()
	find(testModel, second, 0)
	if len(warnings) != 2 || !strings.Contains(warnings[0], "503") || !strings.Contains(warnings[1], "using commit "+second) {
		t.Errorf("it warned %q", warnings)
	}
	find(pinned, first, 0)
	_, err := h.Find(t.Context(), Model{Owner: "owner", Name: "other", Revision: "main"})
	wantError(t, err, ErrUnreachable, "owner/other")
	_, err = h.Pull(t.Context(), testModel)
	wantError(t, err, ErrUnreachable, "owner/some-model")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = h.Find(ctx, testModel)
	wantError(t, err, context.Canceled)
}

// TestFindRefused does not hide a refusal behind what is in the cache.
func TestFindRefused(t *testing.T) {
	f := newFakeHub(t)
	commit := f.commit("main", single(random(t)))
	h := f.client()
	f.pull(h, testModel, commit, singleNeeded)
	f.behaves(func(w http.ResponseWriter, _ *http.Request, _ asked) bool {
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	_, err := h.Find(t.Context(), testModel)
	wantError(t, err, ErrDenied)
}

// TestOffline asks for nothing, whatever there is.
func TestOffline(t *testing.T) {
	f := newFakeHub(t)
	r := random(t)
	files := single(r)
	files["some.gguf"] = fakeFile{data: noise(r, 999), lfs: true}
	commit := f.commit("main", files)
	h := f.client()
	h.Offline = true
	both := func(m Model) (paths [2]string, errs [2]error) {
		paths[0], errs[0] = h.Pull(t.Context(), m)
		paths[1], errs[1] = h.Find(t.Context(), m)
		return paths, errs
	}
	pinned, file := testModel, testModel
	pinned.Revision = commit
	file.File = "some.gguf"

	_, errs := both(testModel)
	for _, err := range errs {
		wantError(t, err, ErrOffline, "owner/some-model", filepath.Join("refs", "main"), "HF_HUB_OFFLINE")
	}
	_, errs = both(pinned)
	for _, err := range errs {
		wantError(t, err, ErrOffline, "config.json", commit)
	}
	if n := len(f.requests()); n != 0 {
		t.Fatalf("%d requests", n)
	}

	h.Offline = false
	f.pull(h, testModel, commit, singleNeeded)
	f.requests()
	h.Offline = true
	for _, m := range []Model{testModel, pinned} {
		paths, errs := both(m)
		for i := range paths {
			if want := h.snapshotDir(testModel, commit); errs[i] != nil || paths[i] != want {
				t.Errorf("%s is %q, %v", m, paths[i], errs[i])
			}
		}
	}
	_, errs = both(file)
	for _, err := range errs {
		wantError(t, err, ErrOffline, "some.gguf")
	}
	if err := os.Remove(h.blobPath(testModel, files["model.safetensors"].etag())); err != nil {
		t.Fatal(err)
	}
	_, errs = both(testModel)
	for _, err := range errs {
		wantError(t, err, ErrOffline, "model.safetensors is not in "+h.snapshotDir(testModel, commit))
	}
	if n := len(f.requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// TestRefusals checks what is said of each way in which a hub says no.
func TestRefusals(t *testing.T) {
	f := newFakeHub(t)
	f.commit("main", single(random(t)))
	h := f.client()
	for _, c := range []struct {
		name   string
		m      Model
		behave func(w http.ResponseWriter, a asked) bool
		token  string
		kind   error
		want   []string
	}{
		{"another model", Model{Owner: "owner", Name: "other", Revision: "main"}, nil, testToken, ErrNotFound, []string{"model owner/other not found at " + f.hub.URL}},
		{"another revision", Model{Owner: "owner", Name: "some-model", Revision: "dev"}, nil, testToken, ErrNotFound, []string{`owner/some-model: revision "dev" not found`}},
		{"gated", testModel, func(w http.ResponseWriter, a asked) bool {
			if strings.HasPrefix(a.path, "/api/") {
				return false
			}
			w.Header().Set(headerErrorCode, "GatedRepo")
			w.Header().Set(headerErrorMessage, "Ask\u202e for it.")
			w.WriteHeader(http.StatusForbidden)
			return true
		}, testToken, ErrDenied, []string{"owner/some-model: access denied (403): the model is gated; accept its licence on " + f.hub.URL + "/owner/some-model, and set HF_TOKEN", "(it says: Ask for it.)"}},
		{"without a token", testModel, status(http.StatusUnauthorized), "", ErrDenied, []string{"(401)", "no such model", "set HF_TOKEN", f.hub.URL + "/owner/some-model"}},
		{"a wrong token", testModel, status(http.StatusUnauthorized), "hf_other", ErrDenied, []string{"(401)", "token is not valid"}},
		{"forbidden", testModel, status(http.StatusForbidden), testToken, ErrDenied, []string{"(403)", "HF_TOKEN", "licence"}},
		{"no such page", testModel, status(http.StatusNotFound), testToken, ErrNotFound, []string{"model owner/some-model not found"}},
		{"a file that is listed and not there", testModel, func(w http.ResponseWriter, a asked) bool {
			return !strings.HasPrefix(a.path, "/api/") && status(http.StatusNotFound)(w, a)
		}, testToken, ErrNotFound, []string{"owner/some-model: file ", `revision "main"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.Token = c.token
			f.behaves(func(w http.ResponseWriter, _ *http.Request, a asked) bool { return c.behave != nil && c.behave(w, a) })
			path, err := h.Pull(t.Context(), c.m)
			wantError(t, err, c.kind, c.want...)
			if path != "" || strings.Contains(err.Error(), "hf_") || strings.ContainsRune(err.Error(), 0x202e) {
				t.Errorf("it returned %q, and said %q", path, err)
			}
		})
	}
}

func status(code int) func(http.ResponseWriter, asked) bool {
	return func(w http.ResponseWriter, _ asked) bool {
		w.WriteHeader(code)
		return true
	}
}

// TestListingRefused has a hub give names that would become paths here.
func TestListingRefused(t *testing.T) {
	r := random(t)
	sharded := func(shard string) map[string]fakeFile {
		files := single(r)
		delete(files, "model.safetensors")
		files["model.safetensors.index.json"] = fakeFile{data: []byte(`{"weight_map": {"a": "` + shard + `"}}`)}
		files[shard] = fakeFile{data: []byte("x")}
		return files
	}
	with := func(name string) map[string]fakeFile {
		files := single(r)
		files[name] = fakeFile{data: []byte("x")}
		return files
	}
	whole := func(body string) func(http.ResponseWriter, asked) bool {
		return func(w http.ResponseWriter, _ asked) bool {
			_, err := w.Write([]byte(body))
			return err == nil
		}
	}
	const sha = `"sha": "0123456789012345678901234567890123456789"`
	for _, c := range []struct {
		name   string
		files  map[string]fakeFile
		behave func(http.ResponseWriter, asked) bool
		want   string
	}{
		{"a file above", with("../tokenizer.json"), nil, `"../tokenizer.json", which is outside`},
		{"a file further above", with("a/../../config.json"), nil, "which is outside"},
		{"a file of the system", with("/etc/passwd"), nil, "which is outside"},
		{"a shard above", sharded("../model.safetensors"), nil, "outside"},
		{"a shard in a folder", sharded("folder/model.safetensors"), nil, "must be a file beside the index"},
		{"a shard that is not listed", func() map[string]fakeFile {
			files := sharded("a.safetensors")
			delete(files, "a.safetensors")
			return files
		}(), nil, `"a.safetensors" not found`},
		{"no shards", func() map[string]fakeFile {
			files := sharded("a.safetensors")
			files["model.safetensors.index.json"] = fakeFile{data: []byte("{}")}
			return files
		}(), nil, "no weight_map"},
		{"no weights", map[string]fakeFile{"config.json": {data: []byte("{}")}, "pytorch_model.bin": {}}, nil, "weights in other formats"},
		{"no commit", nil, whole(`{"sha": "../../etc"}`), `the commit "../../etc"`},
		{"an etag above", nil, whole(`{` + sha + `, "siblings": [{"rfilename": "config.json", "size": 1, "blobId": "../../x"}, {"rfilename": "model.safetensors"}]}`), `the etag "../../x"`},
		{"no JSON", nil, whole("<html>"), "is " /* a hub? */},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeHub(t)
			f.commit("main", c.files)
			f.behaves(func(w http.ResponseWriter, _ *http.Request, a asked) bool { return c.behave != nil && c.behave(w, a) })
			h := f.client()
			_, err := h.Pull(t.Context(), testModel)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), testRepo) {
				t.Fatalf("the error is %v, and it was expected to say %q", err, c.want)
			}
			outside := func(path string) bool {
				return !strings.HasPrefix(path, h.Cache+string(filepath.Separator)) && path != h.Cache
			}
			err = filepath.WalkDir(filepath.Dir(h.Cache), func(path string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() && outside(path) {
					t.Errorf("it wrote %s", path)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
