package stages

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/journal"
	"headinfer/stages/storage/storagetest"
)

// looked is what a run would find of a sink's output before it begins.
func looked(o outputOptions, opt journal.Options) (journal.Standing, error) {
	return Outputs(&config.Pipeline{Documents: []config.Entry{{ID: "sink", Options: o}}})[0].Look(opt)
}

// TestOutputOfAnotherForm refuses a complete output that is to be of another form, and
// makes it anew of the same answers where that is accepted.
func TestOutputOfAnotherForm(t *testing.T) {
	r, seed := seeded(t)
	t.Chdir(t.TempDir())
	store := storagetest.New(t, seed)
	all := answers(r, 20)
	slices.Reverse(all) // which is not the order of the input
	type form struct {
		name string
		open func(e *Engine, path string) (outputOptions, graph.Sink[*Answer], error)
		is   func(data []byte) bool
	}
	jsonl := func(order string) func(e *Engine, path string) (outputOptions, graph.Sink[*Answer], error) {
		return func(e *Engine, path string) (outputOptions, graph.Sink[*Answer], error) {
			o := with(t, func(o *jsonlOptions) { o.Path, o.Order = path, order })
			s, err := newJSONL(e, o)
			return o, s, err
		}
	}
	parquet := func(compression string) func(e *Engine, path string) (outputOptions, graph.Sink[*Answer], error) {
		return func(e *Engine, path string) (outputOptions, graph.Sink[*Answer], error) {
			o := with(t, func(o *parquetOptions) { o.Path, o.Compression = path, compression })
			s, err := newParquet(e, o)
			return o, s, err
		}
	}
	firstIs := func(i int) func(data []byte) bool {
		return func(data []byte) bool {
			return bytes.HasPrefix(data, fmt.Appendf(nil, `{"id":"notes/%d.txt"`, i)) && bytes.Count(data, []byte("\n")) == len(all)
		}
	}
	var sizes []int
	isParquet := func(data []byte) bool {
		another := !slices.Contains(sizes, len(data))
		sizes = append(sizes, len(data))
		return another && bytes.HasPrefix(data, []byte("PAR1"))
	}
	forms := []form{
		{"jsonl", jsonl("completion"), firstIs(len(all) - 1)},
		{"csv", func(e *Engine, path string) (outputOptions, graph.Sink[*Answer], error) {
			o := with(t, func(o *csvOptions) { o.Path = path })
			s, err := newCSV(e, o)
			return o, s, err
		}, func(data []byte) bool { return bytes.HasPrefix(data, []byte("id,question,answer")) }},
		{"jsonl in the order of the input", jsonl("input"), firstIs(0)},
		{"parquet, zstd", parquet("zstd"), isParquet},
		{"parquet, none", parquet("none"), isParquet},
		{"arrow", func(e *Engine, path string) (outputOptions, graph.Sink[*Answer], error) {
			o := with(t, func(o *arrowOptions) { o.Path = path })
			s, err := newArrow(e, o)
			return o, s, err
		}, func(data []byte) bool { return len(data) > 0 && !bytes.HasPrefix(data, []byte("PAR1")) }},
		{"jsonl", jsonl("completion"), firstIs(len(all) - 1)},
	}
	for _, path := range []string{"out/answers", store.Path("answers")} {
		sizes = nil
		content := func() []byte {
			if path != "out/answers" {
				return store.Get("answers")
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		_, s, err := forms[0].open(new(Engine), path)
		fill(t, s, err, all, true)
		was := forms[0].name
		for _, f := range forms[1:] {
			before := content()
			o, _, err := f.open(new(Engine), path)
			_, lookErr := looked(o, journal.Options{})
			for _, err := range []error{err, lookErr} {
				if _, changed := errors.AsType[*journal.ChangedError](err); !changed || !strings.Contains(err.Error(), fmt.Sprintf("output was %s and is %s;", was, f.name)) {
					t.Fatalf("%s in place of %s: %v", f.name, was, err)
				}
			}
			if !bytes.Equal(content(), before) {
				t.Fatalf("%s is another", path)
			}
			accepting := &Engine{Corpus: Corpus{AcceptChanges: true}}
			if look, err := looked(o, journal.Options{AcceptChanges: true}); err != nil || look.Complete {
				t.Fatalf("accepted: %+v, %v", look, err)
			}
			_, s, err := f.open(accepting, path) // and is cut short
			fill(t, s, err, nil, false)
			if !bytes.Equal(content(), before) {
				t.Fatalf("%s is another", path)
			}
			if look, err := looked(o, journal.Options{}); err != nil || look.Complete {
				t.Fatalf("cut short: %+v, %v", look, err)
			}
			_, s, err = f.open(new(Engine), path)
			fill(t, s, err, nil, true)
			if data := content(); !f.is(data) {
				t.Fatalf("as %s it begins with %.100q", f.name, data)
			}
			if look, err := looked(o, journal.Options{}); err != nil || !look.Complete || look.Records != int64(len(all)) {
				t.Fatalf("made: %+v, %v", look, err)
			}
			was = f.name
		}
	}
}

// TestCompleteObjects looks at complete outputs in a store before saying that there is
// nothing to do.
func TestCompleteObjects(t *testing.T) {
	r, seed := seeded(t)
	t.Chdir(t.TempDir())
	store := storagetest.New(t, seed)
	store.Cut = 0.1
	for _, key := range []string{"a.csv", "b.jsonl.gz", "c/index.jsonl"} {
		open := func(e *Engine) (outputOptions, graph.Sink[*Answer], error) {
			switch key {
			case "a.csv":
				o := with(t, func(o *csvOptions) { o.Path = store.Path(key) })
				s, err := newCSV(e, o)
				return o, s, err
			case "b.jsonl.gz":
				o := with(t, func(o *jsonlOptions) { o.Path = store.Path(key) })
				s, err := newJSONL(e, o)
				return o, s, err
			}
			o := with(t, func(o *directoryOptions) { o.Path = store.Path("c") })
			s, err := newDirectory(e, o)
			return o, s, err
		}
		o, s, err := open(new(Engine))
		fill(t, s, err, answers(r, 1+r.IntN(50)), true)
		whole := store.Get(key)
		edited := bytes.Clone(whole)
		edited[r.IntN(len(edited))] ^= 1
		for says, data := range map[string][]byte{
			"is missing": nil, "is not what was uploaded": edited,
			fmt.Sprintf("has %d bytes, and %d were uploaded", len(whole)-1, len(whole)): whole[1:],
		} {
			if store.Put(key, data); data == nil {
				store.Remove(key)
			}
			_, _, err := open(new(Engine))
			_, lookErr := looked(o, journal.Options{})
			for _, err := range []error{err, lookErr} {
				if !errors.Is(err, journal.ErrDamaged) || !strings.Contains(err.Error(), store.Path(key)+", which was complete, "+says) || !strings.Contains(err.Error(), "--restart") {
					t.Errorf("%s: %v", says, err)
				}
			}
			store.NoHead = true // who may not read it takes it as it is
			if look, err := looked(o, journal.Options{}); err != nil || !look.Complete {
				t.Errorf("unread: %+v, %v", look, err)
			}
			store.NoHead = false
		}
		store.Put(key, whole)
		if look, err := looked(o, journal.Options{}); err != nil || !look.Complete {
			t.Errorf("put back: %+v, %v", look, err)
		}
		store.Remove(key)
		_, s, err = open(&Engine{Corpus: Corpus{Restart: true}})
		if err != nil {
			t.Fatalf("starting over: %v", err)
		}
		if err := s.(sink).Close(); err != nil {
			t.Error(err)
		}
	}
}
