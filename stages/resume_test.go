package stages

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/journal"
	"headinfer/stages/storage"
	"headinfer/stages/storage/storagetest"
)

// encoded runs documents through a stage that encodes them, and says what came out
// and what did not.
func encoded(t *testing.T, s graph.Stage[*Document, *Prompt], docs given) (ids []string, dead map[string]string) {
	t.Helper()
	out, letters := new(passed[*Prompt]), new(passed[*Prompt])
	scope := graph.NewScope(t.Context())
	graph.FromSource("source", graph.Source[*Document](docs), graph.WithScope(scope)).
		Via(graph.Flow("tokenize", s, graph.WithScope(scope), graph.WithDeadLetters(letters.drop))).
		To(graph.ToSink("sink", graph.Sink[*Prompt](out), graph.WithScope(scope)))
	if err := scope.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, p := range out.items {
		ids = append(ids, p.ID)
	}
	return ids, letters.dead
}

// TestSecondOfAnID sends a second document of an id to the dead letters in every run
// that meets both, whatever earlier ones have answered.
func TestSecondOfAnID(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.jsonl")
	docs := given{{ID: "a", Text: "one"}, {ID: "b", Text: "two"}, {ID: "a", Text: "three"}, {ID: "q", Text: "x", Questions: []string{"1"}}, {ID: "q#1", Text: "four"}}
	for run := range 3 {
		e := byteTokens(t)
		j, err := e.Journal(path, journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := newTokenize(e, with(t, func(o *tokenizeOptions) { o.Prompt = "{{.Text}} {{.Question}}" }))
		if err != nil {
			t.Fatal(err)
		}
		ids, dead := encoded(t, s, docs)
		if want := 3; run == 0 && len(ids) != want || run > 0 && len(ids) > 0 {
			t.Errorf("run %d: %q go on", run, ids)
		}
		if len(dead) != 2 || dead["a"] != errSameID.Error() || dead["q#1"] != errSameID.Error() {
			t.Errorf("run %d: the dead letters are %q", run, dead)
		}
		for _, id := range ids {
			if err := e.Keep(j, &Answer{ID: id}, []byte("{}")); err != nil {
				t.Error(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWays asks only the outputs that a branch leads to.
func TestWays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, two := with(t, func(*tokenizeOptions) {}), with(t, func(*tokenizeOptions) {})
	left, right, plain := with(t, func(o *csvOptions) { o.Path = filepath.Join(dir, "l.csv") }), with(t, func(o *jsonlOptions) { o.Path = filepath.Join(dir, "r.jsonl") }),
		with(t, func(o *jsonlOptions) { o.Path, o.Mode = filepath.Join(dir, "p.jsonl"), "append" })
	ways := Ways(&config.Pipeline{Documents: []config.Entry{
		{ID: "files"}, {ID: "one", From: "files", Options: one}, {ID: "d1", From: "one"}, {ID: "left", From: "d1", Options: left},
		{ID: "two", From: "files", Options: two}, {ID: "d2", From: "two"}, {ID: "right", From: "d2", Options: right}, {ID: "plain", From: "d2", Options: plain},
	}})
	if !slices.Equal(ways[one], []string{left.Path}) || !slices.Equal(ways[two], []string{right.Path}) {
		t.Fatalf("the ways are %q", ways)
	}
	e := &Engine{Corpus: Corpus{Ways: ways}}
	for _, path := range []string{left.Path, right.Path} {
		j, err := e.Journal(path, journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if path == left.Path {
			if err := e.Keep(j, &Answer{ID: "a"}, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e = &Engine{Corpus: Corpus{Ways: ways}}
	for _, path := range []string{left.Path, right.Path} {
		j, err := e.Journal(path, journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
	}
	doc := &Document{ID: "a"}
	if !e.doneAt(one, doc, 0) || e.doneAt(two, doc, 0) || e.done(doc, 0) {
		t.Error("the other branch's output is asked, or this one's is not")
	}
	e.Corpus.Ways[one] = []string{} // it leads to no journal
	if e.doneAt(one, doc, 0) {
		t.Error("done, and no output can tell")
	}
}

// TestRestartTogether discards nothing where one output of several is refused.
func TestRestartTogether(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	keep := func(path string) *journal.Journal {
		e := &Engine{}
		j, err := e.Journal(path, journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Keep(j, &Answer{ID: "a"}, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		return j
	}
	if err := keep(first).Close(); err != nil {
		t.Fatal(err)
	}
	busy := keep(second)

	e := &Engine{Corpus: Corpus{Restart: true}}
	j, err := e.Journal(first, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Journal(second, journal.Options{}); !errors.Is(err, journal.ErrBusy) {
		t.Errorf("the error is %v", err)
	}
	if err := errors.Join(j.Close(), busy.Close()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{first, second} {
		if s, err := journal.ReadStatus(path); err != nil || s.Records != 1 {
			t.Errorf("%+v, %v", s, err)
		}
	}

	e = &Engine{Corpus: Corpus{Restart: true}}
	for _, path := range []string{first, second} {
		j, err := e.Journal(path, journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
	}
	if err := e.Begin(); err != nil || e.done(&Document{ID: "a"}, 0) {
		t.Errorf("it is not begun anew: %v", err)
	}
}

// TestTeeLeavesAnothersFile begins PATH.partial with its first document.
func TestTeeLeavesAnothersFile(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "docs.jsonl.partial", "another run's")
	s := stage(t, nil, newTee, func(o *teeOptions) { o.Path = "docs.jsonl" })
	if c, ok := s.(graph.Closer); !ok || c.Close() != nil {
		t.Error("it cannot be closed")
	}
	left, err := filepath.Glob("*")
	if data, _ := os.ReadFile("docs.jsonl.partial"); err != nil || string(data) != "another run's" || len(left) != 1 {
		t.Errorf("%q is there, with %q: %v", left, data, err)
	}
}

// TestDirectoryKeepsTheFirst leaves the file of an answer whose id another has too,
// committed or not.
func TestDirectoryKeepsTheFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := newDirectory(&Engine{}, with(t, func(o *directoryOptions) { o.Path = dir }))
	fill(t, s, err, []*Answer{{ID: "a", Answer: "first"}, {ID: "a", Answer: "second"}}, true)
	if data, err := os.ReadFile(filepath.Join(dir, "a.txt")); err != nil || string(data) != "first" {
		t.Errorf("the file has %q, %v", data, err)
	}
}

// TestWindowsAreOfTheTextAlone splits a text in the same places whatever came before.
func TestWindowsAreOfTheTextAlone(t *testing.T) {
	r, _ := seeded(t)
	e := byteTokens(t)
	text := wordy(r, 3000)
	cut := func(before ...*Document) string {
		out := through(t, append(given(before), &Document{ID: "d", Text: text}), stage(t, e, newSplit, func(o *splitOptions) { o.Tokens, o.Overlap = 200, 20 }))
		out.items = slices.DeleteFunc(out.items, func(d *Document) bool { return !strings.HasPrefix(d.ID, "d@") })
		return idsOf(out.items)
	}
	alone := cut()
	for _, other := range []string{strings.Repeat("漢字", 2000), strings.Repeat("x ", 3000), wordy(r, 500)} {
		if behind := cut(&Document{ID: "other", Text: other}); behind != alone {
			t.Errorf("alone %s, behind %.20q… %s", alone, other, behind)
		}
	}
}

// facts are those of a pipeline, by name.
func facts(t *testing.T, entries ...config.Entry) map[string]journal.Fact {
	t.Helper()
	all, err := Facts(&config.Pipeline{Documents: entries})
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]journal.Fact{}
	for _, f := range all {
		byName[f.Name] = f
	}
	return byName
}

// TestFactsOfFiles changes a document's fact with the question beside it, here and in
// a store, and forgets its key where a stage gives it another id.
func TestFactsOfFiles(t *testing.T) {
	_, seed := seeded(t)
	store := storagetest.New(t, seed)
	t.Chdir(t.TempDir())
	put(t, "n/a.txt", "one")
	put(t, "n/B.TXT.GZ", compressed(t, "b.gz", "two"))
	store.Put("deep/[er]/a.txt", []byte("one"))
	store.Put("deep/c.md", []byte("two"))
	store.Put("deep/other.question", []byte("nobody's"))
	options := with(t, func(o *filesOptions) { o.Paths = []string{"n/*", store.Path("deep/**/*.[tm]*")} })
	source := config.Entry{ID: "files", Stage: "files", Options: options}
	was := facts(t, source)
	names := []string{"input n/a.txt", "input n/B.TXT.GZ", "input " + store.Path("deep/[er]/a.txt"), "input " + store.Path("deep/c.md")}
	for _, name := range names {
		if f := was[name]; f.Value == "" || f.Key != strings.TrimPrefix(name, "input ") || strings.Contains(f.Value, "question") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if _, ok := was["documents.files.paths"]; ok {
		t.Error("the paths are a fact, beside what they name")
	}
	put(t, "n/a.question", "Which?")
	put(t, "n/B.question", "Which?")
	store.Put("deep/[er]/a.question", []byte("Which?"))
	store.Put("deep/c.question", []byte("Which?"))
	options.Paths = []string{"n/a.txt", "n/B.TXT.GZ", store.Path("deep/**/*.[tm]*")}
	now := facts(t, source)
	for _, name := range names {
		if now[name].Value == was[name].Value {
			t.Errorf("%s is as it was, and its question is new: %+v", name, now[name])
		}
	}
	if changed := len(now) - len(was); changed != 0 {
		t.Errorf("%d facts more: %v", changed, slices.Sorted(maps.Keys(now)))
	}
	now = facts(t, source, config.Entry{ID: "map", Stage: "map", Options: with(t, func(o *mapOptions) { o.ID = "{{.Text}}" })})
	for _, name := range names {
		if f := now[name]; f.Key != "" || f.Value == "" {
			t.Errorf("with other ids: %+v", f)
		}
	}
	options.Paths = []string{store.Path("deep/*.md"), "gone.txt"}
	if _, err := Facts(&config.Pipeline{File: "p.yaml", Documents: []config.Entry{source}}); err == nil || !strings.Contains(err.Error(), "gone.txt") {
		t.Errorf("of files that cannot be listed: %v", err)
	}
}

// TestQuestionsOfFiles reads the question beside a file, or says what is wrong with it.
func TestQuestionsOfFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "A.TXT.GZ", compressed(t, "a.gz", "one"))
	put(t, "A.question", " Which?\n")
	put(t, "b.txt", "two")
	put(t, "b.question", " \n")
	put(t, "c.txt", "three")
	put(t, "c.question", "Wh\xefch?")
	source, err := newFiles(nil, with(t, func(o *filesOptions) { o.Paths = []string{"*.txt", "*.GZ"} }))
	if err != nil {
		t.Fatal(err)
	}
	out := read(t, source)
	if len(out.items) != 1 || out.items[0].Question != "Which?" {
		t.Errorf("%+v", out.items)
	}
	if !strings.Contains(out.dead["b.txt"], "b.question") || !strings.Contains(out.dead["c.txt"], "c.question: byte 2 is not valid UTF-8") {
		t.Errorf("%q", out.dead)
	}
}

func plainColumns() *columnOptions {
	return &columnOptions{ID: "id", Text: "text", Question: "question", Questions: "questions"}
}

// TestIDsThatNoOutputTakes sends documents to the dead letters whose ids are too long
// or no text, and keeps the longest.
func TestIDsThatNoOutputTakes(t *testing.T) {
	t.Chdir(t.TempDir())
	long := strings.Repeat("é", maxID/2+1)
	columns := plainColumns()
	for id, says := range map[string]string{long: "expected 16384 at most", "caf\xe9": `the id "caf\xe9": byte 3 is not valid UTF-8`, long[2:]: ""} {
		_, err := columns.document("", map[string]any{"id": id, "text": "x"})
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("of a record: %v, expected %q", err, says)
		}
		out := through(t, given{{ID: "d", Text: id}}, stage(t, nil, newMap, func(o *mapOptions) { o.ID = "{{.Text}}" }))
		if got := out.dead["d"]; got != says && !strings.Contains(got, says) || (got == "") != (says == "") {
			t.Errorf("of map: %q, expected %q", got, says)
		}
	}
	if err := os.WriteFile("caf\xe9.txt", []byte("x"), 0o600); err != nil {
		t.Skip("the file system takes no such names: ", err)
	}
	source, err := newFiles(nil, with(t, func(o *filesOptions) { o.Paths = []string{"*.txt"} }))
	if err != nil {
		t.Fatal(err)
	}
	if out := read(t, source); len(out.items) > 0 || !strings.Contains(out.dead["caf\xe9.txt"], "not valid UTF-8") {
		t.Errorf("%+v, %q", out.items, out.dead)
	}
}

// TestContentIDs names what comes from a pipe by what it holds.
func TestContentIDs(t *testing.T) {
	t.Parallel()
	s := &records{columns: plainColumns()}
	id := func(f storage.File, text string) string {
		doc, err := s.document(f, "stdin:1", map[string]any{"text": text})
		if err != nil {
			t.Fatal(err)
		}
		return doc.ID
	}
	pipe, file := storage.File{Path: "-"}, storage.File{Path: "a.jsonl", Modified: time.Now()}
	if a, b := id(pipe, "one"), id(pipe, "two"); a == b || a != id(pipe, "one") {
		t.Errorf("%s and %s", a, b)
	}
	if got := id(file, "one"); got != "stdin:1" {
		t.Errorf("of a file: %s", got)
	}
}

// TestObjectsAreTried refuses a store that nothing can be written to at the start, and
// takes one that tells nothing.
func TestObjectsAreTried(t *testing.T) {
	_, seed := seeded(t)
	store := storagetest.New(t, seed)
	t.Chdir(t.TempDir())
	store.NoWrite = true
	options := with(t, func(o *csvOptions) { o.Path = store.Path("a.csv") })
	if _, err := newCSV(&Engine{}, options); err == nil || !strings.Contains(err.Error(), "may not be written") {
		t.Errorf("the error is %v", err)
	}
	store.NoWrite, store.NoHead = false, true
	s, err := newCSV(&Engine{}, options)
	fill(t, s, err, []*Answer{{ID: "a"}}, true)
	store.NoHead = false
	if found, err := storage.Expand(context.Background(), []string{options.Path}, storage.Which{}); err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
}

// TestOptionsWithin names an option that is two groups down by both.
func TestOptionsWithin(t *testing.T) {
	t.Parallel()
	type inner struct {
		C string `yaml:"c"`
	}
	type middle struct {
		B inner `yaml:"b"`
	}
	got := fmt.Sprint(optionTexts(&struct {
		A middle `yaml:"a"`
	}{middle{inner{"x"}}}))
	if got != `[{a.b.c "x"}]` {
		t.Errorf("the options are %s", got)
	}
}
