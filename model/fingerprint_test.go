package model

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func fingerprintOf(t *testing.T, path string) string {
	t.Helper()
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	text, err := c.Fingerprint()
	if err != nil || len(text) != 32 || strings.Trim(text, "0123456789abcdef") != "" {
		t.Fatalf("%s has the fingerprint %q, %v", path, text, err)
	}
	if again, err := c.Fingerprint(); again != text || err != nil {
		t.Errorf("asked again, it is %q, %v", again, err)
	}
	return text
}

func TestFingerprintIsOfWhatIsComputed(t *testing.T) {
	copied := filepath.Join(t.TempDir(), "another-name")
	if err := os.CopyFS(copied, os.DirFS("../testdata/tiny-llama")); err != nil {
		t.Fatal(err)
	}
	exported := filepath.Join(t.TempDir(), "exported")
	if err := ExportBuiltin(exported); err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{
		{"../testdata/tiny-llama", copied}, {Builtin, exported}, {"random:tiny", "random:tiny?seed=1"},
	} {
		if a, b := fingerprintOf(t, pair[0]), fingerprintOf(t, pair[1]); a != b {
			t.Errorf("%s has %s, and %s has %s", pair[0], a, pair[1], b)
		}
	}
	seen := map[string]string{}
	for _, path := range []string{"../testdata/tiny-llama", "../testdata/tiny-llama-sharded", "../testdata/tiny-llama.gguf", Builtin, "random:tiny", "random:tiny?seed=2", "random:llama-3-8b"} {
		f := fingerprintOf(t, path)
		if other := seen[f]; other != "" {
			t.Errorf("%s and %s have the same fingerprint", path, other)
		}
		seen[f] = path
	}
}

// TestFingerprintSeesAChange changes a byte of a model's files at a time.
func TestFingerprintSeesAChange(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../testdata/tiny-llama")); err != nil {
		t.Fatal(err)
	}
	before := fingerprintOf(t, dir)
	change := func(name string, edit func(data []byte) []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, edit(append([]byte(nil), data...)), 0o600); err != nil {
			t.Fatal(err)
		}
		if fingerprintOf(t, dir) == before {
			t.Errorf("a change of %s is not seen", name)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 { // its tensors are small, and read whole
		change("model.safetensors", func(data []byte) []byte {
			data[len(data)-1-rnd.IntN(len(data)/2)] ^= 1
			return data
		})
	}
	change("config.json", func(data []byte) []byte {
		return []byte(strings.Replace(string(data), `"rms_norm_eps": 1e-05`, `"rms_norm_eps": 2e-05`, 1))
	})
	if fingerprintOf(t, dir) != before {
		t.Error("the files are as they were, and the fingerprint is not")
	}
}

// TestTextFingerprint tells models apart that read texts otherwise, which the
// fingerprint of what they compute does not.
func TestTextFingerprint(t *testing.T) {
	t.Parallel()
	of := func(path string) string {
		t.Helper()
		c, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.TextFingerprint()
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../testdata/tiny-llama")); err != nil {
		t.Fatal(err)
	}
	computes, was := fingerprintOf(t, dir), of(dir)
	if was != of("../testdata/tiny-llama") || was == of(Builtin) || was == of("../testdata/tiny-llama.gguf") {
		t.Error("it is not that of the files")
	}
	for name, edit := range map[string]func(string) string{
		"chat_template.jinja": func(string) string { return "{{ messages }} " + was },
		"tokenizer.json":      func(text string) string { return strings.Replace(text, `"merges"`, `"merges" `, 1) },
	} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(edit(string(data))), 0o600); err != nil {
			t.Fatal(err)
		}
		now := of(dir)
		if now == was || fingerprintOf(t, dir) != computes {
			t.Errorf("after a change of %s: %s, and what it computes is another: %v", name, now, fingerprintOf(t, dir) != computes)
		}
		was = now
	}
}

func TestSpreadCoversTheEnds(t *testing.T) {
	for _, c := range [][3]int{{100, 4, 5}, {4, 4, 64}, {1 << 33, 4096, 64}, {3, 4, 2}} {
		at := spread(c[0], c[1], c[2])
		if c[0] < c[1] {
			if len(at) != 0 {
				t.Errorf("%v gave %v", c, at)
			}
			continue
		}
		if at[0] != 0 || len(at) > 1 && at[len(at)-1] != c[0]-c[1] {
			t.Errorf("%v gave %v", c, at)
		}
		for i := 1; i < len(at); i++ {
			if at[i]-at[i-1] < c[1] && c[0] >= c[1]*c[2] {
				t.Errorf("%v gave parts that overlap: %v", c, at)
			}
		}
	}
}

func TestLengthKey(t *testing.T) {
	plain := Config{Rope: Rope{Base: 10000, Dim: 8}}
	if key := plain.LengthKey(5); key != "" {
		t.Errorf("without scaling: %q", key)
	}
	long := Config{Rope: Rope{Base: 10000, Dim: 4, Scaling: "longrope", Factor: 2, Trained: 100, ShortFactor: []float64{1, 2}, LongFactor: []float64{3, 4}}}
	if a, b, c := long.LengthKey(5), long.LengthKey(100), long.LengthKey(101); a == "" || a != b || b == c {
		t.Errorf("longrope: %q, %q, %q", a, b, c)
	}
	dynamic := Config{Rope: Rope{Base: 10000, Dim: 4, Scaling: "dynamic", Factor: 2, Trained: 100}}
	if a, b, c := dynamic.LengthKey(100), dynamic.LengthKey(101), dynamic.LengthKey(102); a == b || b == c {
		t.Errorf("dynamic: %q, %q, %q", a, b, c)
	}
}
