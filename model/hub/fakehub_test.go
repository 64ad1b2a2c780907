package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeFile is a file of the fake hub's one repository.
type fakeFile struct {
	data []byte
	lfs  bool // its contents are on the content network
}

// etag is what a hub calls the contents, computed here on its own.
func (f fakeFile) etag() string {
	if f.lfs {
		sum := sha256.Sum256(f.data)
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(append([]byte("blob "+strconv.Itoa(len(f.data))+"\x00"), f.data...))
	return hex.EncodeToString(sum[:])
}

// asked is a request that the fake hub or its content network got.
type asked struct {
	method, path, auth, ranges string
	cdn                        bool
	count                      int // of requests for this path there, from 1
}

// fakeHub serves owner/some-model as a hub does: large files by a redirect to
// another server.
type fakeHub struct {
	t        testing.TB
	hub, cdn *httptest.Server

	mu        sync.Mutex
	revisions map[string]string              // revision: commit
	commits   map[string]map[string]fakeFile // commit: files
	bare      bool                           // the listing has names only
	asked     []asked
	// behave may answer a request instead, and then returns true.
	behave func(w http.ResponseWriter, r *http.Request, a asked) bool
}

const (
	testRepo  = "owner/some-model"
	testToken = "hf_secret"
	cdnPath   = "/content/"
)

var testModel = Model{Owner: "owner", Name: "some-model", Revision: "main"}

func newFakeHub(t testing.TB) *fakeHub {
	f := &fakeHub{t: t, revisions: map[string]string{}, commits: map[string]map[string]fakeFile{}}
	f.hub = httptest.NewServer(f.handler(f.serveHub, false))
	f.cdn = httptest.NewServer(f.handler(f.serveCDN, true))
	t.Cleanup(func() {
		f.hub.CloseClientConnections()
		f.cdn.CloseClientConnections()
		f.hub.Close()
		f.cdn.Close()
	})
	return f
}

// handler notes a request before it is served.
func (f *fakeHub) handler(serve http.HandlerFunc, cdn bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := asked{method: r.Method, path: r.URL.EscapedPath(), auth: r.Header.Get("Authorization"), ranges: r.Header.Get("Range"), cdn: cdn, count: 1}
		f.mu.Lock()
		for _, b := range f.asked {
			if b.path == a.path && b.cdn == cdn && b.method == a.method {
				a.count++
			}
		}
		f.asked = append(f.asked, a)
		behave := f.behave
		f.mu.Unlock()
		if behave != nil && behave(w, r, a) {
			return
		}
		serve(w, r)
	})
}

func (f *fakeHub) serveHub(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := func(status int, code string) {
		w.Header().Set(headerErrorCode, code)
		w.WriteHeader(status)
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/api/models/"); ok {
		name, revision, _ := strings.Cut(rest, "/revision/")
		commit, ok := f.revisions[revision]
		if f.commits[revision] != nil {
			commit, ok = revision, true
		}
		switch {
		case name != testRepo:
			fail(http.StatusNotFound, "RepoNotFound")
		case !ok:
			fail(http.StatusNotFound, "RevisionNotFound")
		default:
			f.list(w, commit)
		}
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/"+testRepo+"/resolve/")
	commit, name, _ := strings.Cut(rest, "/")
	file, known := f.commits[commit][name]
	if !ok || !known {
		fail(http.StatusNotFound, "EntryNotFound")
		return
	}
	if file.lfs {
		w.Header().Set(headerLinkedEtag, `"`+file.etag()+`"`)
		w.Header().Set(headerLinkedSize, strconv.Itoa(len(file.data)))
		http.Redirect(w, r, f.cdn.URL+cdnPath+file.etag()+"?signature=private", http.StatusFound)
		return
	}
	w.Header().Set("Etag", `"`+file.etag()+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file.data))
}

func (f *fakeHub) list(w http.ResponseWriter, commit string) {
	type object = map[string]any
	var siblings []object
	for name, file := range f.commits[commit] {
		s := object{"rfilename": name}
		if !f.bare {
			s["size"], s["blobId"] = len(file.data), file.etag()
		}
		if file.lfs && !f.bare {
			s["blobId"] = strings.Repeat("0", 40) // of the pointer, which nobody asks for
			s["lfs"] = object{"sha256": file.etag(), "size": len(file.data), "pointerSize": 135}
		}
		siblings = append(siblings, s)
	}
	if err := json.NewEncoder(w).Encode(object{"sha": commit, "siblings": siblings, "gated": false}); err != nil {
		f.t.Error(err)
	}
}

func (f *fakeHub) serveCDN(w http.ResponseWriter, r *http.Request) {
	data := f.content(strings.TrimPrefix(r.URL.Path, cdnPath))
	w.Header().Set("Etag", `"the network's own"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// content returns a large file's by its etag.
func (f *fakeHub) content(etag string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, files := range f.commits {
		for _, file := range files {
			if file.etag() == etag {
				return file.data
			}
		}
	}
	return nil
}

// commit publishes files under a revision and returns the commit.
func (f *fakeHub) commit(revision string, files map[string]fakeFile) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := sha1.Sum(fmt.Append(nil, revision, len(f.commits)))
	commit := hex.EncodeToString(sum[:])
	f.revisions[revision], f.commits[commit] = commit, files
	return commit
}

// behaves sets what the servers do instead of serving.
func (f *fakeHub) behaves(behave func(w http.ResponseWriter, r *http.Request, a asked) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behave = behave
}

// requests returns what was asked since the last call.
func (f *fakeHub) requests() []asked {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.asked
	f.asked = nil
	return all
}

// client returns a hub with a cache of its own and short waits.
func (f *fakeHub) client() *Hub { return f.clientIn(f.t.TempDir()) }

func (f *fakeHub) clientIn(cache string) *Hub {
	h, err := New(Settings{Endpoint: f.hub.URL, Cache: cache, Token: testToken})
	if err != nil {
		f.t.Fatal(err)
	}
	h.firstPause = time.Millisecond
	h.Warn = func(message string) { f.t.Log("warning:", message) }
	f.t.Cleanup(h.client.CloseIdleConnections)
	return h
}

// random returns numbers that a failing test can be repeated with.
func random(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func noise(r *rand.Rand, n int) []byte {
	data := make([]byte, (n+7)/8*8)
	for i := 0; i < len(data); i += 8 {
		binary.LittleEndian.PutUint64(data[i:], r.Uint64())
	}
	return data[:n]
}

// single is a repository with one file of weights, and much that is not needed.
func single(r *rand.Rand) map[string]fakeFile {
	return map[string]fakeFile{
		"config.json":            {data: []byte(`{"model_type": "llama"}`)},
		"generation_config.json": {data: []byte(`{}`)},
		"tokenizer.json":         {data: noise(r, 3000+r.IntN(500)), lfs: true},
		"tokenizer_config.json":  {data: noise(r, r.IntN(300))},
		"chat_template.jinja":    {},
		"model.safetensors":      {data: noise(r, 700_001+r.IntN(100_000)), lfs: true},
		"README.md":              {data: []byte("# a model")},
		"pytorch_model.bin":      {data: noise(r, 999), lfs: true},
		"adapter.safetensors":    {data: noise(r, 99), lfs: true},
		"onnx/config.json":       {data: []byte(`{}`)},
		"original/tokenizer.model": {
			data: noise(r, 99), lfs: true,
		},
	}
}

var singleNeeded = []string{
	"chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
}

// pull fails the test if the pull fails, and checks what is in the snapshot.
func (f *fakeHub) pull(h *Hub, m Model, commit string, want []string) string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	path, err := h.Pull(ctx, m)
	if err != nil {
		f.t.Fatal(err)
	}
	f.checkSnapshot(h, m, commit, want)
	return path
}

// checkSnapshot checks that a snapshot has some files, whole, and no others,
// and that nothing is left beside the blobs.
func (f *fakeHub) checkSnapshot(h *Hub, m Model, commit string, want []string) {
	f.t.Helper()
	dir := filepath.Join(h.Cache, "models--owner--some-model", "snapshots", commit)
	var got []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		got = append(got, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		f.t.Fatalf("the snapshot has %q, and %q were expected", got, want)
	}
	for _, name := range want {
		data, err := os.ReadFile(inSnapshot(dir, name))
		if err != nil || !bytes.Equal(data, f.commits[commit][name].data) {
			f.t.Errorf("%s has other contents (%d bytes, %v)", name, len(data), err)
		}
	}
	if commitOf := h.commitOf(m); commitOf != commit {
		f.t.Errorf("the revision %q stands for %q", m.Revision, commitOf)
	}
}

// left lists the unfinished files in a cache by their sizes.
func left(t testing.TB, cache string) []int64 {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(cache, "*", "blobs", "*.incomplete"))
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int64
	for _, p := range paths {
		sizes = append(sizes, sizeAt(p))
	}
	return sizes
}
