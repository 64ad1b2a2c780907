package stages

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"headinfer/graph"
	"headinfer/stages/storage"
	"headinfer/stages/storage/storagetest"
	"headinfer/stages/table"
)

// answers makes answers of all kinds.
func answers(r *rand.Rand, n int) []*Answer {
	all := make([]*Answer, n)
	for i := range all {
		a := &Answer{
			ID: fmt.Sprintf("notes/%d.txt", i), Answer: wordy(r, r.IntN(30)), Stop: "end", PromptTokens: r.IntN(1000), AnswerTokens: r.IntN(100),
			PrefillSeconds: r.Float64(), DecodeSeconds: r.Float64(), Index: int64(i),
		}
		if r.IntN(2) == 0 {
			a.Question = wordy(r, 4)
		}
		if r.IntN(3) == 0 {
			a.Grade = &Grade{Expected: []string{wordy(r, 1), "x"}, Score: 0.5}
		}
		all[i] = a
	}
	return all
}

type sink interface {
	graph.Sink[*Answer]
	graph.Finisher
	graph.Closer
}

// fill gives a sink answers, and finishes it unless it is to be cut short.
func fill(t testing.TB, s graph.Sink[*Answer], err error, all []*Answer, finish bool) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	to, ok := s.(sink)
	if !ok {
		t.Fatalf("a %T is not all that a sink has to be", s)
	}
	for _, a := range all {
		err := to.Consume(t.Context(), a)
		if _, again := errors.AsType[*graph.DocumentError](err); err != nil && !again {
			t.Fatal(err)
		}
	}
	if finish {
		if err := to.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAnswersHaveAColumnEach holds the columns to what jsonl writes.
func TestAnswersHaveAColumnEach(t *testing.T) {
	line, err := json.Marshal(&Answer{Question: "q", Grade: &Grade{Expected: []string{"e"}, Score: 0.25}})
	if err != nil {
		t.Fatal(err)
	}
	var record map[string]any
	if err := json.Unmarshal(line, &record); err != nil {
		t.Fatal(err)
	}
	for _, c := range answerColumns {
		if _, ok := record[c.Name]; !ok {
			t.Errorf("the column %q is none of jsonl's", c.Name)
		}
		delete(record, c.Name)
	}
	if len(record) > 0 {
		t.Errorf("without a column: %v", record)
	}
}

// TestSinksAreReadBack writes answers in each format, to files and objects, cut
// short and gone on with, and reads them back.
func TestSinksAreReadBack(t *testing.T) {
	r, seed := seeded(t)
	t.Chdir(t.TempDir())
	store := storagetest.New(t, seed)
	store.Unavailable, store.Cut = 0.05, 0.1
	all := answers(r, 300)
	for _, path := range []string{"out/a.csv", "out/a.csv.gz", "out/a.parquet", "out/a.arrow", "out/b.arrow.zst", store.Path("x/a.csv.zst"), store.Path("x/a.parquet"), store.Path("x/a.arrow")} {
		open := func() (graph.Sink[*Answer], error) {
			e := new(Engine)
			switch storage.Extension(path) {
			case ".csv":
				return newCSV(e, with(t, func(o *csvOptions) { o.Path, o.Order = path, "input" }))
			case ".parquet":
				return newParquet(e, with(t, func(o *parquetOptions) { o.Path, o.Order = path, "input" }))
			}
			return newArrow(e, with(t, func(o *arrowOptions) { o.Path, o.Order = path, "input" }))
		}
		mixed := slices.Clone(all)
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		s, err := open()
		fill(t, s, err, mixed[:100], false)
		s, err = open()
		fill(t, s, err, mixed[50:], true)
		columns := columnOptions{ID: "id", Text: "stop", Question: "question", Questions: "questions"}
		var source graph.Source[*Document]
		switch storage.Extension(path) {
		case ".csv":
			source, err = newReadCSV(nil, with(t, func(o *readCSVOptions) { o.Path, o.Columns = []string{path}, columns }))
		case ".parquet":
			source, err = newReadParquet(nil, with(t, func(o *readParquetOptions) { o.Path, o.Columns = []string{path}, columns }))
		default:
			source, err = newReadArrow(nil, with(t, func(o *readArrowOptions) { o.Path, o.Columns = []string{path}, columns }))
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out := read(t, source)
		if len(out.items) != len(all) || len(out.dead) > 0 {
			t.Fatalf("%s: %d answers, %v", path, len(out.items), out.dead)
		}
		for i, d := range out.items {
			a := all[i]
			want := map[string]any{
				"answer": a.Answer, "prompt_tokens": int64(a.PromptTokens), "answer_tokens": int64(a.AnswerTokens),
				"prefill_seconds": a.PrefillSeconds, "decode_seconds": a.DecodeSeconds, "expected": nil, "score": nil,
			}
			if a.Grade != nil {
				want["expected"], want["score"] = []any{a.Expected[0], a.Expected[1]}, a.Score
			}
			if storage.Extension(path) == ".csv" {
				for name, v := range want {
					switch v := v.(type) {
					case nil:
						want[name] = ""
					case []any:
						var b bytes.Buffer
						e := json.NewEncoder(&b)
						e.SetEscapeHTML(false)
						if err := e.Encode(v); err != nil {
							t.Fatal(err)
						}
						want[name] = strings.TrimSpace(b.String())
					default:
						want[name] = fmt.Sprint(v)
					}
				}
				for _, name := range []string{"prefill_seconds", "decode_seconds"} { // as short as it can be said exactly
					d.Fields[name], want[name] = nil, nil
				}
			}
			if d.ID != a.ID || d.Question != a.Question || d.Text != a.Stop || !reflect.DeepEqual(d.Fields, want) {
				t.Fatalf("%s: %+v\nexpected %+v of %+v", path, d, want, a)
			}
		}
	}
}

// TestAnObjectIsMadeOnlyWhole checks that nothing is in the store before the
// end, and that a run whose upload failed goes on.
func TestAnObjectIsMadeOnlyWhole(t *testing.T) {
	r, seed := seeded(t)
	t.Chdir(t.TempDir())
	store := storagetest.New(t, seed)
	all := answers(r, 20)
	open := func() sink {
		s, err := newCSV(new(Engine), with(t, func(o *csvOptions) { o.Path, o.State = store.Path("a.csv"), "state/a" }))
		if err != nil {
			t.Fatal(err)
		}
		return s.(sink)
	}
	s := open()
	for _, a := range all {
		if err := s.Consume(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if keys := store.Keys(); len(keys) > 0 {
		t.Errorf("the store has %q", keys)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // as if the network were gone
	if err := s.Finish(ctx); err == nil || len(store.Keys()) > 0 {
		t.Errorf("an upload that could not be: %v, %q", err, store.Keys())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fill(t, open(), nil, nil, true)
	if n := bytes.Count(store.Get("a.csv"), []byte("notes/")); n != len(all) {
		t.Errorf("%d answers in the object", n)
	}
	if _, err := newCSV(new(Engine), with(t, func(o *csvOptions) { o.Path = "s3://other/a.csv" })); err == nil || !strings.Contains(err.Error(), "no bucket") {
		t.Errorf("a bucket that is not there: %v", err)
	}
}

func TestDirectory(t *testing.T) {
	r, seed := seeded(t)
	t.Chdir(t.TempDir())
	store := storagetest.New(t, seed)
	store.Unavailable = 0.05
	all := answers(r, 40)
	for i, id := range []string{"a/b", "a_b", "A", "a", "..", ".", "/", "con", "é", "é.", "x y", "x_y", strings.Repeat("long/", 60), "index", "q#1", "a\x00b", "a\nb"} {
		all[i].ID = id
	}
	for _, path := range []string{"out/d", store.Path("answers/")} {
		open := func() (graph.Sink[*Answer], error) {
			return newDirectory(new(Engine), with(t, func(o *directoryOptions) { o.Path = path }))
		}
		s, err := open()
		fill(t, s, err, all[:25], false)
		s, err = open()
		fill(t, s, err, all[10:], true)
		get := func(name string) []byte {
			if storage.IsObject(path) {
				return store.Get("answers/" + name)
			}
			text, err := os.ReadFile(filepath.Join(path, name))
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		rows := table.JSONLines(bytes.NewReader(get(indexName)), 1<<20, "id")
		names := map[string]bool{}
		for range all {
			row, err := rows.Next()
			if err != nil {
				t.Fatal(err)
			}
			name, _ := row.Values["file"].(string)
			if low := strings.ToLower(name); names[low] || len(name) > 120 || strings.ContainsAny(name, "/\\ \x00\n:#") {
				t.Errorf("the name %q", name)
			} else {
				names[low] = true
			}
			i := slices.IndexFunc(all, func(a *Answer) bool { return a.ID == row.Values["id"] })
			if i < 0 || string(get(name)) != all[i].Answer || row.Values["answer"] != all[i].Answer {
				t.Errorf("the file %q of %v", name, row.Values["id"])
			}
		}
		if _, err := rows.Next(); err == nil {
			t.Error("the index has more than there are answers")
		}
	}
	left := 0
	err := filepath.WalkDir("out/d", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), "index.jsonl") {
			left++
		}
		return err
	})
	if err != nil || left != len(all) || len(store.Keys()) != len(all)+1 {
		t.Errorf("%d files and %d objects for %d answers, %v", left, len(store.Keys()), len(all), err)
	}
}

func TestFileNames(t *testing.T) {
	r, _ := seeded(t)
	seen := map[string]string{}
	for range 20_000 {
		var id strings.Builder
		for range 1 + r.IntN(4) {
			id.WriteString([]string{"a", "A", "/", "_", ".", "-", " ", "con", "é", "\\", ":"}[r.IntN(11)])
		}
		name := strings.ToLower(fileName(id.String()))
		if other, ok := seen[name]; ok && other != id.String() {
			t.Fatalf("%q and %q are both %q", other, id.String(), name)
		}
		seen[name] = id.String()
		if again := fileName(fileName(id.String())); fileName(id.String()) != id.String() && again == fileName(id.String()) {
			t.Fatalf("%q could be an id's own name", again)
		}
	}
	if fileName("notes-1.txt") != "notes-1.txt" {
		t.Error("a plain name was changed")
	}
}

// TestOutputsAreRefused finds what cannot be written to before the work.
func TestOutputsAreRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "d/x", "")
	for want, open := range map[string]func() (graph.Sink[*Answer], error){
		"d is a directory": func() (graph.Sink[*Answer], error) {
			return newParquet(new(Engine), with(t, func(o *parquetOptions) { o.Path = "d" }))
		},
		"d/x": func() (graph.Sink[*Answer], error) {
			return newCSV(new(Engine), with(t, func(o *csvOptions) { o.Path = "d/x/a.csv" }))
		},
		"x": func() (graph.Sink[*Answer], error) {
			return newDirectory(new(Engine), with(t, func(o *directoryOptions) { o.Path = "d/x" }))
		},
	} {
		if _, err := open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestJSONLinesPacked writes answers that are compressed, or an object, and
// reads them back.
func TestJSONLinesPacked(t *testing.T) {
	r, seed := seeded(t)
	t.Chdir(t.TempDir())
	store := storagetest.New(t, seed)
	store.Unavailable, store.Cut = 0.05, 0.1
	all := answers(r, 100)
	for _, path := range []string{"out/a.jsonl", "out/a.jsonl.gz", "out/b.jsonl.zst", store.Path("x/a.jsonl"), store.Path("x/b.jsonl.zst")} {
		open := func() (graph.Sink[*Answer], error) {
			return newJSONL(new(Engine), with(t, func(o *jsonlOptions) { o.Path = path }))
		}
		s, err := open()
		fill(t, s, err, all[:60], false)
		s, err = open()
		fill(t, s, err, all[30:], true)
		source, err := newReadJSONL(nil, with(t, func(o *readJSONLOptions) { o.Path, o.Columns.Text = []string{path}, "stop" }))
		if err != nil {
			t.Fatal(err)
		}
		out := read(t, source)
		if len(out.items) != len(all) || len(out.dead) > 0 {
			t.Fatalf("%s: %d answers, %v", path, len(out.items), out.dead)
		}
		for i, d := range out.items {
			if d.ID != all[i].ID || d.Fields["answer"] != all[i].Answer {
				t.Fatalf("%s: %+v; expected %+v", path, d, all[i])
			}
		}
	}
}
