package stages

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"headinfer/transfer"
)

// told collects what a run says of snapshots.
type told []string

func (*told) Prefill(string, int, int) {}
func (*told) Text(string, string)      {}
func (o *told) Snapshot(_ string, err error) {
	*o = append(*o, err.Error())
}

// keeping opens a directory of snapshots for an engine.
func keeping(t *testing.T, e *Engine, dir string, chunk int, refused string) *snapshots {
	t.Helper()
	s, err := newSnapshots(e, &snapshotOptions{Dir: dir, MinTokens: 64, Refused: refused}, chunk)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kept reads a text with what snapshots there are, keeps it, and takes a few steps;
// it returns the logits after each, and how many tokens came from a snapshot.
func kept(t *testing.T, e *Engine, s *snapshots, ids []int32, chunk, steps int) (all [][]float32, loaded int) {
	t.Helper()
	text := admit(t, e)
	defer text.Release()
	text.expect(len(ids), steps)
	loaded, logits, err := s.load(t.Context(), text, ids, true, func(n int) error { return e.reserve(text, n, max(chunk, 1)) })
	if err != nil {
		t.Fatal(err)
	}
	if loaded < len(ids) {
		if logits, err = text.Prefill(t.Context(), ids[loaded:], chunk, steps); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.save(t.Context(), text, len(ids)-loaded, logits, "a text"); err != nil {
		t.Fatal(err)
	}
	for range steps {
		all = append(all, slices.Clone(logits))
		if logits, err = text.Step(t.Context(), argmax(logits)); err != nil {
			t.Fatal(err)
		}
	}
	return all, loaded
}

func randomIDs(t *testing.T, n int) []int32 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = rnd.Int32N(250)
	}
	return ids
}

func equalLogits(a, b [][]float32) bool {
	return slices.EqualFunc(a, b, slices.Equal)
}

// TestSnapshotsChangeNothing compares bit for bit what a model says after a text that
// was read, one that was loaded, and one of which a part was.
func TestSnapshotsChangeNothing(t *testing.T) {
	type how struct {
		method string
		sets   []string
	}
	var all []how
	for _, m := range methods {
		all = append(all, how{m, small[m]})
	}
	all = append(all, how{"int8", nil}, how{"int4", []string{"heads.offload.scale_group=32"}}, how{"int8", []string{"heads.offload.to=device"}},
		how{"streaming-llm", []string{"heads.attention.sinks=4", "heads.attention.recent=100"}})
	for _, h := range all {
		for _, chunk := range []int{50, 64} {
			if chunk == 50 && h.method != "adaptive" && !strings.HasPrefix(h.method, "int") {
				continue // one with which a cache has no records to cut
			}
			t.Run(fmt.Sprintf("%s %v chunk %d", h.method, h.sets, chunk), func(t *testing.T) {
				e := openMethod(t, h.method, tinyRandom, h.sets...)
				ids, dir := randomIDs(t, 333), t.TempDir()
				other := append(slices.Clone(ids[:300]), randomIDs(t, 50)...)
				want, _ := kept(t, e, nil, ids, chunk, 4)
				wantOther, _ := kept(t, e, nil, other, chunk, 4)
				s := keeping(t, e, dir, chunk, "fail")
				if got, n := kept(t, e, s, ids, chunk, 4); n != 0 || !equalLogits(got, want) {
					t.Errorf("%d tokens came from an empty directory, or keeping the text changed it", n)
				}
				if got, n := kept(t, e, s, ids, chunk, 4); n != len(ids) || !equalLogits(got, want) {
					t.Errorf("%d tokens were loaded, and the logits are not the same", n)
				}
				// The next run is another process.
				e = openMethod(t, h.method, tinyRandom, h.sets...)
				s = keeping(t, e, dir, chunk, "fail")
				if got, n := kept(t, e, s, ids, chunk, 4); n != len(ids) || !equalLogits(got, want) {
					t.Errorf("in another run %d tokens were loaded, and the logits are not the same", n)
				}
				got, n := kept(t, e, s, other, chunk, 4)
				// Passes of 50 tokens cut the records of an encoding apart.
				least := 300 / chunk * chunk
				if chunk == 50 && strings.HasPrefix(h.method, "int") {
					least = 0
				}
				if n < least || n%chunk != 0 || n > 300 || !equalLogits(got, wantOther) {
					t.Errorf("%d of the 300 tokens in common were loaded, and the logits are not the same", n)
				}
			})
		}
	}
}

// TestSnapshotsOfArchitectures goes through models with windows, and with rotary
// embeddings that depend on how long a text is.
func TestSnapshotsOfArchitectures(t *testing.T) {
	for _, name := range []string{"gemma2", "gemma3", "mistral", "llama-dynamic", "phi3", "qwen2-window", "qwen3"} {
		t.Run(name, func(t *testing.T) {
			e := openMethod(t, "adaptive", architecture(t, name))
			c := e.Checkpoint.Config
			ids, dir := randomIDs(t, 200), t.TempDir()
			for i := range ids {
				ids[i] %= int32(c.Vocab)
			}
			read, longer := ids[:100], ids // past what phi3 and llama-dynamic are stretched from
			want, _ := kept(t, e, nil, read, 32, 3)
			wantLonger, _ := kept(t, e, nil, longer, 32, 3)
			s := keeping(t, e, dir, 32, "read")
			for try := range 2 {
				got, n := kept(t, e, s, read, 32, 3)
				if n != try*len(read) || !equalLogits(got, want) {
					t.Errorf("try %d: %d tokens of %d were loaded, or the logits are not the same", try, n, len(read))
				}
			}
			got, n := kept(t, e, s, longer, 32, 3)
			if !equalLogits(got, wantLonger) {
				t.Errorf("after %d tokens of another text's, the logits are not the same", n)
			}
			if alike := c.RotatesAlike(len(read), len(longer)); n > 0 && !alike {
				t.Errorf("%d tokens were loaded that are rotated otherwise", n)
			}
			t.Logf("%d of 100 tokens in common were loaded", n)
		})
	}
}

// TestSnapshotsOfSmolLM2 holds loading to a tenth of the time that reading takes.
func TestSnapshotsOfSmolLM2(t *testing.T) {
	needSmolLM2(t)
	if testing.Short() {
		t.Skip("reads 1,500 tokens")
	}
	const chunk = 256
	e := openMethod(t, "adaptive", smolLM2)
	ids := randomIDs(t, 1500)
	s := keeping(t, e, t.TempDir(), chunk, "fail")
	var want [][]float32
	var took [2]time.Duration
	for try := range 2 {
		text := admit(t, e)
		start := time.Now()
		n, logits, err := s.load(t.Context(), text, ids, true, func(n int) error { return e.reserve(text, n, chunk) })
		if n == 0 && err == nil {
			logits, err = text.Prefill(t.Context(), ids, chunk, 4)
		}
		took[try] = time.Since(start)
		if err != nil || n != try*len(ids) {
			t.Fatal(n, err)
		}
		if err := s.save(t.Context(), text, len(ids)-n, logits, "a text"); err != nil {
			t.Fatal(err)
		}
		var got [][]float32
		for range 4 {
			got = append(got, slices.Clone(logits))
			if logits, err = text.Step(t.Context(), argmax(logits)); err != nil {
				t.Fatal(err)
			}
		}
		text.Release()
		if try == 0 {
			want = got
		} else if !equalLogits(got, want) {
			t.Error("the logits are not the same")
		}
	}
	t.Logf("read in %v, loaded in %v: %.0f times as fast", took[0], took[1], took[0].Seconds()/took[1].Seconds())
	if took[1]*10 > took[0] {
		t.Errorf("loading took %v, and reading %v", took[1], took[0])
	}
}

// TestForeignSnapshotsAreNotUsed keeps a text with one engine and looks for it with
// others.
func TestForeignSnapshotsAreNotUsed(t *testing.T) {
	dir, ids := t.TempDir(), randomIDs(t, 200)
	e := openMethod(t, "adaptive", tinyRandom)
	kept(t, e, keeping(t, e, dir, 50, "fail"), ids, 50, 1)
	names, err := fs.Glob(os.DirFS(dir), "*.arrow")
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	for _, c := range []struct {
		path, want string
		sets       []string
	}{
		{tinyRandom + "?seed=2", "is of another model: tiny (random weights)", nil},
		{tinyLlama, "is of another model", nil},
		{tinyRandom, "holds keys and values in f32", []string{"heads.offload.dtype=int8"}},
		{tinyRandom, "was made with exact settings, this run has (heads.attention.recent=128", []string{"heads.attention.recent=128"}},
	} {
		other := openMethod(t, "adaptive", c.path, c.sets...)
		var said told
		other.Observer = &said
		want, _ := kept(t, other, nil, ids, 50, 2)
		got, n := kept(t, other, keeping(t, other, dir, 50, "read"), ids, 50, 2)
		if n != 0 || !equalLogits(got, want) {
			t.Errorf("%s %v: %d tokens of a foreign snapshot were loaded", c.path, c.sets, n)
		}
		if len(said) == 0 || !strings.Contains(said[0], c.want) || !strings.Contains(said[0], names[0]) {
			t.Errorf("%s %v: %v; want %s", c.path, c.sets, said, c.want)
		}
		text := admit(t, other)
		s := keeping(t, other, t.TempDir(), 50, "fail")
		if s.dir, err = transfer.OpenSnapshots(dir, 0); err != nil {
			t.Fatal(err)
		}
		for _, name := range must(fs.Glob(os.DirFS(dir), "*.arrow"))(t) {
			if name != names[0] {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, _, err = s.load(t.Context(), text, ids, true, nil)
		if own, ok := errors.AsType[*transfer.SnapshotError](err); !ok || !own.Foreign {
			t.Errorf("told to fail, it says %v", err)
		}
		text.Release()
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestDamagedSnapshotsAreReadAnew damages a kept text, which is then read, told of and
// kept again.
func TestDamagedSnapshotsAreReadAnew(t *testing.T) {
	dir, ids := t.TempDir(), randomIDs(t, 200)
	e := openMethod(t, "adaptive", tinyRandom)
	var said told
	e.Observer = &said
	want, _ := kept(t, e, keeping(t, e, dir, 50, "read"), ids, 50, 2)
	names, err := filepath.Glob(filepath.Join(dir, "*.arrow"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	whole, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []func() []byte{
		func() []byte { return whole[:len(whole)/2] },
		func() []byte {
			bad := slices.Clone(whole)
			bad[len(bad)*2/3] ^= 4
			return bad
		},
		func() []byte { return nil },
	} {
		said = nil
		if err := os.WriteFile(names[0], damage(), 0o600); err != nil {
			t.Fatal(err)
		}
		for try := range 2 {
			got, n := kept(t, e, keeping(t, e, dir, 50, "read"), ids, 50, 2)
			if n != try*len(ids) || !equalLogits(got, want) {
				t.Errorf("try %d: %d tokens were loaded, or the logits are not the same", try, n)
			}
		}
		if len(said) != 1 || !strings.Contains(said[0], names[0]+" is damaged") {
			t.Errorf("it said %q", said)
		}
	}
}

// TestSnapshotsAreRefusedWhereTokensAreDropped has both the rule and the engine say so.
func TestSnapshotsAreRefusedWhereTokensAreDropped(t *testing.T) {
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	p := load(t, "h2o", "documents.chunked-prefill.snapshot.dir="+t.TempDir())
	if _, _, err := Graphs(registry, p); err == nil || !strings.Contains(err.Error(), "drops tokens (heavy)") {
		t.Errorf("the rule says %v", err)
	}
	e := openMethod(t, "h2o", tinyRandom)
	if _, err := newSnapshots(e, &snapshotOptions{Dir: t.TempDir()}, 50); !errors.Is(err, transfer.ErrNoSnapshot) {
		t.Errorf("the engine says %v", err)
	}
}
