package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"headinfer/stages/storage"
	"headinfer/stages/storage/storagetest"
)

func random(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1)), seed
}

func noise(r *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// tree makes files below a directory that becomes the working directory.
func tree(t *testing.T, names ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range names {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func texts(name string) bool { return storage.Extension(name) == ".txt" }

func paths(files []storage.File) []string {
	all := make([]string, len(files))
	for i, f := range files {
		all[i] = filepath.ToSlash(f.Path)
	}
	return all
}

func TestExpand(t *testing.T) {
	names := []string{
		"a.txt", "b.md", "d/1.txt", "d/2.TXT.gz", "d/x.png", "d/e/3.txt.zst", "d/e/f/4.txt", "d/.git/5.txt", "d/.hidden.txt", "w[1].txt",
	}
	tree(t, names...)
	for _, c := range []struct {
		patterns string
		want     string
	}{
		{"a.txt", "a.txt"},
		{"./a.txt", "./a.txt"},
		{"*.txt b.md a.txt", "a.txt b.md w[1].txt"},
		{"d", "d/1.txt d/2.TXT.gz d/e/3.txt.zst d/e/f/4.txt"},
		{"d/ a.txt", "a.txt d/1.txt d/2.TXT.gz d/e/3.txt.zst d/e/f/4.txt"},
		{"**/*.txt", "a.txt d/1.txt d/e/f/4.txt w[1].txt"},
		{"./d/**/*.txt", "d/1.txt d/e/f/4.txt"},
		{"d/**", "d/1.txt d/2.TXT.gz d/e/3.txt.zst d/e/f/4.txt d/x.png"},
		{"d/*/**/[0-9].txt", "d/e/f/4.txt"},
		{"w[1].txt", "w[1].txt"},
	} {
		files, err := storage.Expand(t.Context(), strings.Fields(c.patterns), storage.Which{Directories: texts})
		if got := strings.Join(paths(files), " "); err != nil || got != c.want {
			t.Errorf("%s: %s, %v; expected %s", c.patterns, got, err, c.want)
		}
		for _, f := range files {
			if f.Size == 0 || time.Since(f.Modified) > time.Hour {
				t.Errorf("%s: %d bytes, of %v", f.Path, f.Size, f.Modified)
			}
		}
	}
	for pattern, want := range map[string]string{
		"none.txt": "open none.txt: ", "none/*.txt": `no file matches "none/*.txt"`, "none/**": `no file matches "none/**"`,
		"-": "open -: ", "s3://": "lacks a bucket",
	} {
		if _, err := storage.Expand(t.Context(), []string{pattern}, storage.Which{Directories: texts}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	if _, err := storage.Expand(t.Context(), []string{"d"}, storage.Which{}); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory where none is read: %v", err)
	}
}

// TestMatch compares with a plain way of matching, by recursion.
func TestMatch(t *testing.T) {
	r, _ := random(t)
	var plain func(pattern, name []string) bool
	plain = func(pattern, name []string) bool {
		switch {
		case len(pattern) == 0:
			return len(name) == 0
		case pattern[0] == "**":
			return plain(pattern[1:], name) || len(name) > 0 && plain(pattern, name[1:])
		case len(name) == 0:
			return false
		}
		ok, _ := filepath.Match(pattern[0], name[0])
		return ok && plain(pattern[1:], name[1:])
	}
	matched := 0
	for range 20_000 {
		var pattern, name []string
		for range 1 + r.IntN(5) {
			pattern = append(pattern, []string{"**", "*", "a", "b", "a*"}[r.IntN(5)])
		}
		for range 1 + r.IntN(6) {
			name = append(name, []string{"a", "b", "ab"}[r.IntN(3)])
		}
		want := plain(pattern, name)
		if want {
			matched++
		}
		if got := storage.Match(strings.Join(pattern, "/"), strings.Join(name, "/")); got != want {
			t.Fatalf("%v and %v: %t", pattern, name, got)
		}
	}
	if matched < 1000 {
		t.Errorf("only %d of the names matched", matched)
	}
}

func TestCompressionRoundTrip(t *testing.T) {
	r, _ := random(t)
	t.Chdir(t.TempDir())
	data := bytes.Repeat(noise(r, 1+r.IntN(5000)), 50)
	sizes := map[string]int{}
	for _, name := range []string{"x", "x.gz", "x.zst", "x.GZ"} {
		var packed bytes.Buffer
		w, err := storage.Compress(&packed, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, iotest.OneByteReader(bytes.NewReader(data[:1000]))); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data[1000:]); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		sizes[name] = packed.Len()
		if err := os.WriteFile(name, packed.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := readAll(t.Context(), name); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(data), err)
		}
		if name == "x" {
			continue
		}
		// A file that ends too early is an error, wherever it ends.
		if err := os.WriteFile(name, packed.Bytes()[:r.IntN(packed.Len())], 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := readAll(t.Context(), name); err == nil {
			t.Errorf("%s, cut: %d bytes and no error", name, len(got))
		}
	}
	if sizes["x.gz"] >= sizes["x"]/2 || sizes["x.zst"] >= sizes["x"]/2 {
		t.Errorf("not compressed: %v", sizes)
	}
}

func readAll(ctx context.Context, name string) ([]byte, error) {
	r, err := storage.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

// TestStore lists, reads and writes objects in a store that fails often.
func TestStore(t *testing.T) {
	r, seed := random(t)
	s := storagetest.New(t, seed)
	want := map[string][]byte{}
	for i := range 30 {
		key := fmt.Sprintf("%s/%02d.txt", []string{"a", "b", "a/deep"}[i%3], i)
		want[key] = noise(r, r.IntN(100_000))
		s.Put(key, want[key])
	}
	s.Unavailable, s.Cut, s.Page = 0.1, 0.3, 7
	for pattern, n := range map[string]int{"a/*.txt": 10, "a/**": 20, "**/*": 30, "b/0*": 3, "a": 20, "a/": 20, "": 30, "b/01.txt": 1} {
		files, err := storage.Expand(t.Context(), []string{s.Path(pattern)}, storage.Which{Directories: texts})
		if err != nil || len(files) != n {
			t.Errorf("%q: %d objects, %v; expected %d", pattern, len(files), err, n)
		}
	}
	for key, data := range want {
		got, err := readAll(t.Context(), s.Path(key))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%s: %d of %d bytes, %v", key, len(got), len(data), err)
		}
		at, err := storage.OpenAt(t.Context(), s.Path(key))
		if err != nil || at.Size() != int64(len(data)) {
			t.Fatalf("%s: %v", key, err)
		}
		if len(data) == 0 {
			continue
		}
		from := r.IntN(len(data))
		part := make([]byte, r.IntN(len(data)))
		n, err := at.ReadAt(part, int64(from))
		if err == io.EOF && n < len(part) { //nolint:errorlint // as io.ReaderAt says it
			err = nil
		}
		if err != nil || n != min(len(part), len(data)-from) || !bytes.Equal(part[:n], data[from:from+n]) {
			t.Fatalf("%s from %d: %d of %d bytes, %v", key, from, n, len(part), err)
		}
		if err := at.Close(); err != nil {
			t.Error(err)
		}
	}
	s.Cut = 0.1
	for _, size := range []int{0, 1, 50_000, 40<<20 + r.IntN(1000)} {
		data := noise(r, size)
		file, err := os.Create(filepath.Join(t.TempDir(), "up"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.Write(data)
		if err = errors.Join(err, storage.Upload(t.Context(), file, s.Path("up/load")), file.Close()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Get("up/load"), data) {
			t.Errorf("%d bytes arrived otherwise", size)
		}
	}
	if s.Count("503") == 0 || s.Count("cut") == 0 || s.Count("part") < 2 {
		t.Errorf("the store did not fail, or took no parts: %d, %d, %d", s.Count("503"), s.Count("cut"), s.Count("part"))
	}
}

func TestStoreRefuses(t *testing.T) {
	_, seed := random(t)
	s := storagetest.New(t, seed)
	s.Put("key", bytes.Repeat([]byte("x"), 100_000))
	for path, want := range map[string]string{s.Path("none"): "file does not exist", "s3://other/key": "does not exist", "s3://corpus": "lacks a bucket or a key"} {
		if _, err := readAll(t.Context(), path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := storage.Reach(t.Context(), "s3://other/key"); err == nil || !strings.Contains(err.Error(), `no bucket "other"`) {
		t.Errorf("another bucket: %v", err)
	}
	if err := storage.Reach(t.Context(), s.Path("x")); err != nil {
		t.Error(err)
	}

	// An object that is replaced half-way is not read as a mixture.
	s.Cut = 1
	r, err := storage.Open(t.Context(), s.Path("key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s.Put("key", bytes.Repeat([]byte("y"), 100_000))
	if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("replaced while it was read: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}

	// Without a key of their own requests are anonymous, and this store refuses them.
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	if _, err := readAll(t.Context(), s.Path("key")); err == nil || !strings.Contains(strings.ToLower(err.Error()), "denied") {
		t.Errorf("an anonymous request: %v", err)
	}
	// A profile's key, address and all.
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config":      "[profile corpora]\nendpoint_url = " + s.URL + "\nregion = eu-west-1\n",
		"credentials": "[corpora]\naws_access_key_id = test\naws_secret_access_key = s\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_ENDPOINT_URL", "")
	t.Setenv("AWS_PROFILE", "corpora")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	s.Cut = 0
	if data, err := readAll(t.Context(), s.Path("key")); err != nil || len(data) != 100_000 {
		t.Errorf("with a profile: %d bytes, %v", len(data), err)
	}
	t.Setenv("AWS_ENDPOINT_URL", "localhost:9000")
	if _, err := readAll(t.Context(), s.Path("key")); err == nil || !strings.Contains(err.Error(), "AWS_ENDPOINT_URL") {
		t.Errorf("an address without http: %v", err)
	}
}

// TestQuietInput cancels a read of standard input that waits.
func TestQuietInput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = stdin }()
	ctx, cancel := context.WithCancel(t.Context())
	in, err := storage.Open(ctx, storage.Standard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("one"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "one" {
		t.Fatalf("%q, %v", got, err)
	}
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := in.Read(got); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled read: %v", err)
	}
	if err := errors.Join(in.Close(), w.Close(), r.Close()); err != nil {
		t.Error(err)
	}
}

func TestExtension(t *testing.T) {
	for name, want := range map[string]string{"a.txt": ".txt", "A.TXT.GZ": ".txt", "a.gz": "", "a": "", "d.x/a": "", "s3://b/k.html.zst": ".html"} {
		if got := storage.Extension(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, want := range map[string]string{"a.gz": ".gz", "b.ZST": ".zst", "c": ""} {
		if got := storage.Compression(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
