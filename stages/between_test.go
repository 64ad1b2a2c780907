package stages

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/storage/storagetest"
)

func stage[O any](t testing.TB, e *Engine, build func(*Engine, *O) (graph.Stage[*Document, *Document], error), set func(*O)) graph.Stage[*Document, *Document] {
	t.Helper()
	s, err := build(e, with(t, set))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func idsOf(docs []*Document) string {
	ids := make([]string, len(docs))
	for i, d := range docs {
		ids[i] = d.ID
	}
	return strings.Join(ids, " ")
}

func TestFilter(t *testing.T) {
	docs := given{
		{ID: "a", Text: "A short one", Fields: map[string]any{"lang": "en", "n": 3.0}},
		{ID: "b", Text: "DRAFT of a longer text", Fields: map[string]any{"lang": "en", "n": 1.0}},
		{ID: "c", Text: "漢字漢字漢字漢字漢字漢字", Fields: map[string]any{"lang": "zh", "n": 9.0}},
		{ID: "d", Text: "no fields", Question: "Invoice?"},
	}
	for want, set := range map[string]func(*filterOptions){
		"a b c":   func(o *filterOptions) { o.MinLength = 11 },
		"c d":     func(o *filterOptions) { o.Exclude = "(?i)a " + "|short"; o.MaxLength = 20 },
		"a b":     func(o *filterOptions) { o.Field, o.Match = "lang", "^en$" },
		"d":       func(o *filterOptions) { o.Field, o.Match = "question", "Invoice" },
		"a c":     func(o *filterOptions) { o.When = "{{gt .Fields.n 2.5}}" },
		"b":       func(o *filterOptions) { o.When = `{{hasPrefix "DRAFT" .Text}}` },
		"a b c d": func(o *filterOptions) { o.When = `{{or (lt (words .Text) 9) false}}` },
	} {
		out := through(t, docs, stage(t, nil, newFilter, set))
		if got := idsOf(out.items); got != want {
			t.Errorf("%s were kept; expected %s", got, want)
		}
		if strings.HasPrefix(want, "a c") && !strings.Contains(out.dead["d"], "n") {
			t.Errorf("a document without the field: %v", out.dead)
		}
	}
	out := through(t, docs, stage(t, nil, newFilter, func(o *filterOptions) { o.When = "{{.ID}}" }))
	if len(out.items) > 0 || !strings.Contains(out.dead["a"], `when gives "a"; expected true or false`) {
		t.Errorf("%v", out.dead)
	}
}

func TestMap(t *testing.T) {
	in := &Document{ID: "7", Text: "Body", Question: "Q", Questions: []string{"x", "y"}, Fields: map[string]any{"title": "Über", "tags": []any{"a", "b"}}}
	before := *in
	out := through(t, given{in, {ID: "8", Text: "no title"}}, stage(t, nil, newMap, func(o *mapOptions) {
		o.Text = "{{.Fields.title | upper}}: {{.Text | replace \"o\" \"0\"}}"
		o.Question = "{{join \" or \" .Questions}}?"
		o.ID = "{{.ID}}/{{first 2 .Fields.title}}"
		o.Fields = []string{"all={{join \"+\" .Fields.tags}}", "title={{lower .Fields.title}}"}
	}))
	want := &Document{ID: "7/Üb", Text: "ÜBER: B0dy", Question: "x or y?", Fields: map[string]any{"title": "über", "tags": []any{"a", "b"}, "all": "a+b"}}
	if len(out.items) != 1 || !reflect.DeepEqual(out.items[0], want) {
		t.Errorf("%+v; expected %+v", out.items[0], want)
	}
	if !reflect.DeepEqual(*in, before) {
		t.Errorf("what came was changed: %+v", in)
	}
	if !strings.Contains(out.dead["8"], "title") {
		t.Errorf("%v", out.dead)
	}
	out = through(t, given{in}, stage(t, nil, newMap, func(o *mapOptions) { o.Text = "{{if false}}x{{end}}" }))
	if out.dead["7"] != "the document is empty" {
		t.Errorf("%v", out.dead)
	}
}

// TestSplit checks what windows promise: they cover the text, are no longer
// than asked for, overlap no more, and are cut between words where there are.
func TestSplit(t *testing.T) {
	r, _ := seeded(t)
	e := byteTokens(t)
	form := regexp.MustCompile(`^(d.*)@(\d+)-(\d+)$`)
	for round := range 25 {
		text := wordy(r, 1+r.IntN(1500))
		if round%5 == 4 {
			text = strings.Repeat("漢字と仮名", 1+r.IntN(300)) // without white space
		}
		limit := 16 + r.IntN(400)
		overlap := r.IntN(limit/2 + 1)
		id := fmt.Sprintf("d%d", round)
		out := through(t, given{{ID: id, Text: text, Question: "Q", Fields: map[string]any{"k": 1}}}, stage(t, e, newSplit, func(o *splitOptions) {
			o.Tokens, o.Overlap = config.Count(limit), config.Count(overlap)
		}))
		if len(out.dead) > 0 {
			t.Fatal(out.dead)
		}
		if whole := tokensOf(t, e, text); whole <= limit {
			if len(out.items) != 1 || out.items[0].ID != id {
				t.Fatalf("a text of %d tokens in windows of %d: %s", whole, limit, idsOf(out.items))
			}
			continue
		}
		covered, last := 0, -1
		for i, w := range out.items {
			m := form.FindStringSubmatch(w.ID)
			if m == nil || m[1] != id || w.Question != "Q" || w.Fields["k"] != 1 {
				t.Fatalf("the window %+v", w)
			}
			from, _ := strconv.Atoi(m[2])
			to, _ := strconv.Atoi(m[3])
			if text[from:to] != w.Text || !utf8.ValidString(w.Text) {
				t.Fatalf("%s is not what its id says", w.ID)
			}
			if n := tokensOf(t, e, w.Text); n > limit {
				t.Fatalf("%s has %d tokens of %d", w.ID, n, limit)
			} else if i < len(out.items)-1 && n < limit/2 && round%5 != 4 {
				t.Fatalf("%s has only %d tokens of %d", w.ID, n, limit)
			}
			if from > covered || from <= last {
				t.Fatalf("%s comes after byte %d, which began at %d", w.ID, covered, last)
			}
			if from < covered {
				if n := tokensOf(t, e, text[from:covered]); n > overlap {
					t.Fatalf("%s overlaps by %d tokens of %d", w.ID, n, overlap)
				}
			}
			covered, last = to, from
		}
		if covered != len(text) {
			t.Fatalf("%d of %d bytes are covered", covered, len(text))
		}
	}
}

func TestTee(t *testing.T) {
	r, seed := seeded(t)
	t.Chdir(t.TempDir())
	store := storagetest.New(t, seed)
	var docs given
	for i := range 50 {
		d := &Document{ID: fmt.Sprint("d", i), Text: wordy(r, 50), Fields: map[string]any{"k": wordy(r, 2), "n": 1.5}}
		switch i % 3 {
		case 0:
			d.Question = wordy(r, 3)
		case 1:
			d.Questions = []string{wordy(r, 3), "q"}
		}
		docs = append(docs, d)
	}
	for _, path := range []string{"out/docs.jsonl", "out/docs.jsonl.zst", store.Path("docs.jsonl.gz")} {
		out := through(t, docs, stage(t, nil, newTee, func(o *teeOptions) { o.Path = path }))
		if len(out.items) != len(docs) {
			t.Fatalf("%d documents went on", len(out.items))
		}
		source, err := newReadJSONL(nil, with(t, func(o *readJSONLOptions) { o.Path = []string{path} }))
		if err != nil {
			t.Fatal(err)
		}
		back := read(t, source)
		if len(back.items) != len(docs) || len(back.dead) > 0 {
			t.Fatalf("%d documents, %v", len(back.items), back.dead)
		}
		for i, d := range back.items {
			if !reflect.DeepEqual(d, docs[i]) {
				t.Fatalf("%+v; expected %+v", d, docs[i])
			}
		}
		if _, err := os.Stat(localPath(path, "") + ".partial"); err == nil {
			t.Error("the partial file is left")
		}
	}
}
