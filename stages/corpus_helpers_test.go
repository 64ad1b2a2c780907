package stages

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/model"
	"headinfer/model/tokenizer"
)

// seeded returns random numbers that a failure can be repeated with.
func seeded(t testing.TB) (*rand.Rand, uint64) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 4)), seed
}

// with returns options with their defaults, changed by set.
func with[O any](t testing.TB, set func(*O)) *O {
	t.Helper()
	o := new(O)
	if err := config.Defaults(o); err != nil {
		t.Fatal(err)
	}
	set(o)
	if c, ok := any(o).(config.Checker); ok {
		if bad := c.Check(); len(bad) > 0 {
			t.Fatalf("the options are refused: %+v", bad)
		}
	}
	return o
}

// passed is what came out of a graph.
type passed[T any] struct {
	mu    sync.Mutex
	items []T
	dead  map[string]string // reasons by id
}

func (p *passed[T]) Consume(_ context.Context, in T) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.items = append(p.items, in)
	return nil
}

func (p *passed[T]) drop(_ string, e *graph.DocumentError) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead == nil {
		p.dead = map[string]string{}
	}
	p.dead[e.ID] = e.Err.Error()
}

// read runs a source to its end.
func read(t testing.TB, source graph.Source[*Document]) *passed[*Document] {
	t.Helper()
	return through(t, source)
}

// through runs documents of a source through stages.
func through(t testing.TB, source graph.Source[*Document], between ...graph.Stage[*Document, *Document]) *passed[*Document] {
	t.Helper()
	out := new(passed[*Document])
	scope := graph.NewScope(t.Context())
	letters := graph.WithDeadLetters(out.drop)
	last := graph.FromSource("source", source, graph.WithScope(scope), letters)
	end := graph.ToSink("sink", graph.Sink[*Document](out), graph.WithScope(scope))
	if len(between) == 0 {
		last.Via(graph.Flow("as-it-is", graph.Stage[*Document, *Document](asItIs{}), graph.WithScope(scope))).To(end)
	} else {
		flow := last.Via(graph.Flow("0", between[0], graph.WithScope(scope), letters))
		for i, s := range between[1:] {
			flow = flow.Via(graph.Flow(fmt.Sprint(i+1), s, graph.WithScope(scope), letters))
		}
		flow.To(end)
	}
	if err := scope.Wait(); err != nil {
		t.Fatal(err)
	}
	return out
}

type asItIs struct{}

func (asItIs) Process(_ context.Context, in *Document, emit func(*Document) error) error {
	return emit(in)
}

// given is a source of documents that there are.
type given []*Document

func (g given) Produce(_ context.Context, emit func(*Document) error) error {
	for _, d := range g {
		if err := emit(d); err != nil {
			return err
		}
	}
	return nil
}

// put writes a file, making its directory.
func put(t testing.TB, name, text string) {
	t.Helper()
	err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644))
	if err != nil {
		t.Fatal(err)
	}
}

// wordy makes a text of some words.
func wordy(r *rand.Rand, n int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = []string{"sea", "boat", "Ann", "1901", "wind,", "naïve", "漢字", "\"quoted\"", "a\nline", "x"}[r.IntN(10)]
	}
	return strings.Join(words, " ")
}

// byteTokens is an engine with a tiny model's tokenizer and nothing else.
func byteTokens(t testing.TB) *Engine {
	t.Helper()
	c, err := model.Open(tinyLlama)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Engine{Checkpoint: c}
}

func tokensOf(t testing.TB, e *Engine, text string) int {
	t.Helper()
	ids, err := e.Checkpoint.Tokenizer.Encode(text, tokenizer.EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return len(ids)
}
