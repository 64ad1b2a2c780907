package graph

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"headinfer/config"
)

var update = flag.Bool("update", false, "rewrite testdata with what the code does now")

// The item types and stages of the tests' pipelines.
type (
	document  struct{ id, text string }
	prompt    struct{ words []string }
	prefilled struct{ *prompt }
	answer    struct{ text string }
	task      struct{ id int }
)

func (a answer) String() string { return a.text }

// A world is the environment of the tests' stages.
type world struct {
	texts   []string
	answers collector[answer]
	taps    collector[fmt.Stringer]
	closed  []string
	refuse  string // the stage whose construction fails
	unclean error  // what closing tokenize returns
}

func (w *world) check(stage string) error {
	switch w.refuse {
	case stage:
		return errBroken
	case stage + "!":
		panic(errBroken)
	}
	return nil
}

type filesOptions struct {
	Paths []string `yaml:"paths" default:"[]" doc:"What to read." example:"[a.txt]"`
}

type decodeOptions struct {
	MaxTokens config.Count `yaml:"max_tokens" default:"64" unit:"tokens" doc:"Most words of an answer." example:"128" min:"1"`
	Stop      string       `yaml:"stop" default:"" doc:"Where to stop." example:"end"`
	Sampling  struct {
		Temperature float64 `yaml:"temperature" default:"0" doc:"How random." example:"0.7"`
	} `yaml:"sampling"`
}

type groupOptions struct {
	Group config.Choice `yaml:"group" words:"all,adaptive" default:"all" doc:"KV heads at a time." example:"4" min:"1"`
}

type none struct{}

// closing adds a Close to a stage that tells the world about it.
type closing[In, Out any] struct {
	stageFunc[In, Out]
	name string
	w    *world
}

func (c closing[In, Out]) Close() error {
	c.w.closed = append(c.w.closed, c.name)
	return c.w.unclean
}

func vocabulary(t testing.TB) *Registry {
	t.Helper()
	docs, heads := config.Documents, config.Heads
	same := func(*world, *none) (Stage[*task, *task], error) { return pass[*task](), nil }
	r, err := NewRegistry(
		NewSource(docs, "files", "Reads files.", func(w *world, o *filesOptions) (Source[document], error) {
			return sourceFunc[document](func(_ context.Context, emit func(document) error) error {
				for i, text := range w.texts {
					if err := emit(document{fmt.Sprint(i), text}); err != nil {
						return err
					}
				}
				return nil
			}), w.check("files")
		}),
		NewStage(docs, "tokenize", "Splits texts into words.", func(w *world, o *none) (Stage[document, *prompt], error) {
			tokenize := func(_ context.Context, d document, emit func(*prompt) error) error {
				if d.text == "" {
					return &DocumentError{ID: d.id, Err: errors.New("no text")}
				}
				return emit(&prompt{strings.Fields(d.text)})
			}
			return closing[document, *prompt]{tokenize, "tokenize", w}, w.check("tokenize")
		}),
		NewStage(docs, "prefill", "Fills.", func(w *world, o *none) (Stage[*prompt, prefilled], error) {
			return stageFunc[*prompt, prefilled](func(_ context.Context, p *prompt, emit func(prefilled) error) error {
				return emit(prefilled{p})
			}), w.check("prefill")
		}),
		NewStage(docs, "decode", "Answers.", func(w *world, o *decodeOptions) (Stage[prefilled, answer], error) {
			return stageFunc[prefilled, answer](func(_ context.Context, p prefilled, emit func(answer) error) error {
				if p.words[0] == o.Stop {
					return errBroken
				}
				return emit(answer{strings.Join(p.words[:min(len(p.words), int(o.MaxTokens))], "+")})
			}), w.check("decode")
		}),
		NewSink(docs, "jsonl", "Writes answers.", func(w *world, o *none) (Sink[answer], error) {
			return &w.answers, w.check("jsonl")
		}),
		NewSink(docs, "tap", "Looks at anything with a text.", func(w *world, o *none) (Sink[fmt.Stringer], error) {
			return &w.taps, w.check("tap")
		}),
		NewStage(heads, "prefetch", "Copies.", same),
		NewStage(heads, "attention", "Attends.", func(*world, *groupOptions) (Stage[*task, *task], error) {
			return pass[*task](), nil
		}),
		NewStage(heads, "quantize", "Squeezes.", same).AsLossy("Keys and values keep 8 bits."),
		NewStage(heads, "spell", "Writes tasks out.", func(*world, *none) (Stage[*task, string], error) {
			return stageFunc[*task, string](func(_ context.Context, in *task, emit func(string) error) error {
				return emit(fmt.Sprint(in.id))
			}), nil
		}),
		NewSink(heads, "count", "Counts tasks.", func(*world, *none) (Sink[*task], error) { return discard[*task](), nil }),
	)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var headEnds = Ends{In: reflect.TypeFor[*task](), Out: reflect.TypeFor[*task]()}

// load reads a pipeline file; config has tests of its own, so problems it finds end the test.
func load(t testing.TB, r *Registry, text string) *config.Pipeline {
	t.Helper()
	p, err := config.Load("prompt.yaml", []byte(text), r, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustCheck(t testing.TB, r *Registry, text string, level config.Level, ends Ends) *Graph {
	t.Helper()
	g, err := r.Check(load(t, r, text), level, ends)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// checkLevels checks the levels that text has a list for and returns what is wrong with them.
func checkLevels(r *Registry, text string, p *config.Pipeline) string {
	var b strings.Builder
	for _, level := range []config.Level{config.Documents, config.Heads} {
		ends := Ends{}
		if level == config.Heads {
			ends = headEnds
		}
		if !strings.Contains(text, string(level)+":") {
			continue
		}
		if _, err := r.Check(p, level, ends); err != nil {
			fmt.Fprintln(&b, err)
		}
	}
	if b.Len() == 0 {
		return "ok\n"
	}
	return b.String()
}

// TestCheck runs the cases of testdata/check.txt: a line "=== title", a pipeline, a line "---", and what Check says of it.
func TestCheck(t *testing.T) {
	const path = "testdata/check.txt"
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := vocabulary(t)
	var out bytes.Buffer
	cases := strings.Split(string(src), "=== ")
	if len(cases) < 10 {
		t.Fatalf("%s has %d cases", path, len(cases)-1)
	}
	for _, c := range cases[1:] {
		title, rest, _ := strings.Cut(c, "\n")
		text, want, _ := strings.Cut(rest, "---\n")
		got := checkLevels(r, text, load(t, r, text))
		fmt.Fprintf(&out, "=== %s\n%s---\n%s\n", title, text, got)
		if !*update && got != strings.TrimSuffix(want, "\n") {
			t.Errorf("%s:\ngot\n%swant\n%s", title, got, want)
		}
	}
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCheckByHand checks pipelines that config.Load does not make, but a program can.
func TestCheckByHand(t *testing.T) {
	r := vocabulary(t)
	at := func(line int) config.Position { return config.Position{Line: line, Column: 3} }
	entry := func(line int, stage, id, from string) config.Entry {
		options, _ := r.Options(config.Documents, stage)
		return config.Entry{Stage: stage, ID: id, From: from, Pos: at(line), FromPos: at(line), Options: options}
	}
	for _, test := range []struct {
		entries []config.Entry
		want    string
	}{
		{nil, `p.yaml: the pipeline has no documents; expected a list of stages under documents:`},
		{[]config.Entry{entry(1, "files", "files", ""), entry(2, "tokenise", "t", "")},
			`p.yaml:2:3: unknown stage "tokenise"; expected files, tokenize, prefill, decode, jsonl or tap; did you mean "tokenize"?`},
		{[]config.Entry{entry(1, "files", "files", ""), entry(2, "tokenize", "t", "t")},
			`p.yaml:2:3: "t" reads from "t", which is not above it; expected the id of an entry above`},
		{[]config.Entry{entry(1, "files", "files", ""), entry(2, "tokenize", "t", "p"), entry(3, "prefill", "p", "t")},
			`p.yaml:2:3: "t" reads from "p", which is not above it; expected the id of an entry above`},
		{[]config.Entry{entry(1, "files", "f", ""), entry(2, "files", "f", "")},
			`p.yaml:2:3: two entries have the id "f"; expected an id of its own`},
	} {
		_, err := r.Check(&config.Pipeline{File: "p.yaml", Documents: test.entries}, config.Documents, Ends{})
		if _, ok := errors.AsType[config.Problems](err); !ok || err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
}

func TestRegistryRefuses(t *testing.T) {
	makeSink := func(any, *none) (Sink[int], error) { return discard[int](), nil }
	good := NewSink(config.Documents, "sink", "Takes.", makeSink)
	notStruct := NewSink(config.Documents, "sink", "Takes.", func(any, *int) (Sink[int], error) { return discard[int](), nil })
	for _, test := range []struct {
		specs []Spec
		want  string
	}{
		{[]Spec{good, good}, `graph: stage "sink" of "documents": the name is registered twice; give one another name`},
		{[]Spec{NewSink("chapters", "sink", "", makeSink)},
			`graph: stage "sink" of "chapters": no such level; expected "documents" or "heads"`},
		{[]Spec{NewSink(config.Heads, "My sink", "", makeSink)}, `graph: stage "My sink" of "heads": the name has other ` +
			`characters; expected lower-case letters and digits, with - between words`},
		{[]Spec{{Level: config.Heads, Name: "bare"}},
			`graph: stage "bare" of "heads": it has no constructor; make it with NewSource, NewStage or NewSink`},
		{[]Spec{notStruct}, `graph: stage "sink" of "documents": its options are a *int; expected a pointer to a struct`},
	} {
		if _, err := NewRegistry(test.specs...); err == nil || err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
	if _, err := NewRegistry(good, NewSink(config.Heads, "sink", "Takes.", makeSink)); err != nil {
		t.Errorf("one name at two levels: %v", err)
	}
}

func TestRegistryDescribes(t *testing.T) {
	r := vocabulary(t)
	if got := fmt.Sprint(r.Stages(config.Heads)); got != "[prefetch attention quantize spell count]" {
		t.Errorf("stages of heads: %s", got)
	}
	var got []string
	for _, d := range r.Docs() {
		got = append(got, fmt.Sprintf("%s/%s %s→%s %q", d.Level, d.Name, d.In, d.Out, d.Lossy))
		if err := config.Lint(d.Options); err != nil {
			t.Errorf("%s: %v", d.Name, err)
		}
	}
	for _, want := range []string{`documents/files →document ""`, `documents/tokenize document→prompt ""`,
		`documents/tap Stringer→ ""`, `heads/quantize task→task "Keys and values keep 8 bits."`} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
	if _, ok := r.Options(config.Heads, "files"); ok {
		t.Error("heads have a stage of documents")
	}
	a, _ := r.Options(config.Documents, "decode")
	b, _ := r.Options(config.Documents, "decode")
	if a.(*decodeOptions) == b.(*decodeOptions) {
		t.Error("Options returned the same struct twice")
	}
}

// TestCheckTellsTypesApart checks the words for types that nothing joins, or that have one short name.
func TestCheckTellsTypesApart(t *testing.T) {
	source := NewSource(config.Documents, "source", "", func(any, *none) (Source[document], error) { return nil, nil })
	for _, test := range []struct {
		sink Spec
		want string
	}{
		{NewSink(config.Documents, "sink", "", func(any, *none) (Sink[[]int], error) { return nil, nil }),
			`prompt.yaml:1:21: stage "sink" takes []int but "source" gives document; ` +
				`expected between them a stage that turns document into []int, but there is none`},
		{NewSink(config.Documents, "sink", "", func(any, *none) (Sink[*document], error) { return nil, nil }),
			`prompt.yaml:1:21: stage "sink" takes *graph.document but "source" gives graph.document; ` +
				`expected between them a stage that turns graph.document into *graph.document, but there is none`},
		{NewSink(config.Documents, "sink", "", func(any, *none) (Sink[any], error) { return nil, nil }), ""},
	} {
		r, err := NewRegistry(source, test.sink)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Check(load(t, r, "documents: [source, sink]"), config.Documents, Ends{})
		if got := fmt.Sprint(err); got != test.want && (err != nil || test.want != "") {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
	if got := typeName(reflect.TypeFor[any]()); got != "anything" {
		t.Errorf("any is called %q", got)
	}
}
