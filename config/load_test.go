package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata")

// loadCase is one case of a testdata file: `=== name`, the YAML, `@set` and `@env` lines, `@want` and what comes out.
type loadCase struct {
	head string // everything up to and with @want, as it stands in the file
	name string
	yaml string
	sets []string
	env  map[string]string
	want string
}

func readCases(t *testing.T, path string) []loadCase {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cases []loadCase
	inWant := false
	for line := range strings.Lines(strings.ReplaceAll(string(src), "\r\n", "\n")) {
		if name, ok := strings.CutPrefix(line, "=== "); ok {
			cases = append(cases, loadCase{head: line, name: strings.TrimSpace(name), env: map[string]string{}})
			inWant = false
			continue
		}
		if len(cases) == 0 {
			t.Fatalf("%s begins with %q; expected === name", path, line)
		}
		c := &cases[len(cases)-1]
		if inWant {
			c.want += line
			continue
		}
		c.head += line
		switch {
		case line == "@want\n":
			inWant = true
		case strings.HasPrefix(line, "@set "):
			c.sets = append(c.sets, strings.TrimSuffix(line[len("@set "):], "\n"))
		case strings.HasPrefix(line, "@env "):
			name, value, _ := strings.Cut(strings.TrimSuffix(line[len("@env "):], "\n"), "=")
			c.env[name] = value
		default:
			c.yaml += line
		}
	}
	return cases
}

// show writes what Load returned as text.
func show(p *Pipeline, err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "model %+v device %+v\n", p.Model, p.Device)
	for _, level := range []struct {
		name    Level
		entries []Entry
	}{{Documents, p.Documents}, {Heads, p.Heads}} {
		for _, e := range level.entries {
			fmt.Fprintf(&b, "%s %s id=%s from=%s at %s, %s", level.name, e.Stage, e.ID, e.From, e.Pos, e.FromPos)
			if e.Options != nil {
				fmt.Fprintf(&b, " %+q", strings.TrimPrefix(fmt.Sprintf("%+v", e.Options), "&"))
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func TestLoad(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases in testdata: %v", err)
	}
	for _, path := range paths {
		cases := readCases(t, path)
		var rewritten strings.Builder
		for _, c := range cases {
			env := func(name string) (string, bool) { value, ok := c.env[name]; return value, ok }
			got := show(Load("p.yaml", []byte(c.yaml), testVocabulary{}, c.sets, env))
			if !*update && got != c.want {
				t.Errorf("%s, %s:\n%s\ngot:\n%s\nexpected:\n%s", path, c.name, c.yaml, got, c.want)
			}
			windows := strings.ReplaceAll(c.yaml, "\n", "\r\n")
			if same := show(Load("p.yaml", []byte(windows), testVocabulary{}, c.sets, env)); same != got {
				t.Errorf("%s, %s, with Windows line ends:\ngot:\n%s\nexpected:\n%s", path, c.name, same, got)
			}
			rewritten.WriteString(c.head + got)
		}
		if *update {
			if err := os.WriteFile(path, []byte(rewritten.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestProblemsAreErrors(t *testing.T) {
	_, err := Load("p.yaml", []byte("heads:\n  - atention\n  - x: 1\n"), testVocabulary{}, nil, nil)
	var all Problems
	var first Problem
	if !errors.As(err, &all) || len(all) != 2 {
		t.Fatalf("got %#v; expected two Problems", err)
	}
	if !errors.As(err, &first) || first.Nearest != "attention" || first.Position != (Position{2, 5}) {
		t.Fatalf("got %#v; expected the first at 2:5, nearest attention", first)
	}
	many := strings.Repeat("  - x\n", 200)
	_, err = Load("p.yaml", []byte("heads:\n"+many), testVocabulary{}, nil, nil)
	if lines := strings.Split(err.Error(), "\n"); len(lines) != maxShown+1 || !strings.HasPrefix(lines[maxShown], "and ") {
		t.Fatalf("%d lines, the last %q; expected %d and a count", len(lines), lines[len(lines)-1], maxShown)
	}
}

func TestEntryPlaces(t *testing.T) {
	src := "device: { memory: 1GiB }\ndocuments:\n  - decode:\n      max_tokens: 5\n      sampling: { top: 0 }\n  - discard: { from: decode }\n"
	p, err := Load("p.yaml", []byte(src), testVocabulary{}, []string{"documents.decode.temperature=1", "device.kind=cpu"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := p.Documents[0]
	for option, want := range map[string]Position{
		"max_tokens": {4, 7}, "sampling.top": {5, 19}, "temperature": {}, "bias": {3, 5},
	} {
		if got := e.At(option); got != want {
			t.Errorf("At(%q) = %v; expected %v", option, got, want)
		}
	}
	for got, want := range map[string]string{
		e.Problem("max_tokens", "is odd", "even").Error():           "p.yaml:4:7: is odd; expected even",
		e.Problem("temperature", "is hot", "").Error():              "--set documents.decode.temperature=1: is hot",
		p.Documents[1].Problem("from", "does not fit", "").Error():  "p.yaml:6:16: does not fit",
		p.Documents[1].Problem("", "does not fit", "").Error():      "p.yaml:6:5: does not fit",
		p.Problem("device.memory", "is not there", "less").Error():  "p.yaml:1:11: is not there; expected less",
		p.Problem("device.kind", "is not built in", "cuda").Error(): "--set device.kind=cpu: is not built in; expected cuda",
		p.Problem("model.path", "is not there", "").Error():         "p.yaml: is not there",
	} {
		if got != want {
			t.Errorf("got %q; expected %q", got, want)
		}
	}
}

func TestLoadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(path, []byte("documents: [discard]\nmodel: { path: \"${HEADINFER_TEST_MODEL}\" }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HEADINFER_TEST_MODEL", "some.gguf")
	p, err := LoadFile(path, testVocabulary{}, nil)
	if err != nil || p.File != path || p.Model.Path != "some.gguf" {
		t.Fatalf("got %+v, %v", p, err)
	}
	if _, err := LoadFile(path+"x", testVocabulary{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v; expected os.ErrNotExist", err)
	}
}

// TestHostileFiles gives files that are made to be slow or to crash; each must be refused, soon.
func TestHostileFiles(t *testing.T) {
	laughs := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	merges := "a0: &a0 { k0: 1, k1: 1, k2: 1 }\n"
	for i := 1; i < 12; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	for i := 1; i < 1500; i++ {
		merges += fmt.Sprintf("a%d: &a%d { <<: *a%d, m%d: 1 }\n", i, i, i-1, i)
	}
	var keys strings.Builder
	for i := range 9_900 {
		fmt.Fprintf(&keys, "k%d: v\n", i)
	}
	for name, src := range map[string]string{
		"billion laughs":  laughs,
		"merged mappings": merges,
		"itself":          "documents: &a [*a]\n",
		"many keys":       keys.String(),
		"more keys":       strings.Repeat(keys.String(), 3),
		"flow lists":      strings.Repeat("[", 50_000),
		"flow mappings":   strings.Repeat("{a: ", 50_000),
		"closed lists":    strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"block lists":     strings.Repeat("- ", 50_000),
		"complex keys":    strings.Repeat("? ", 50_000),
		"anchors":         strings.Repeat("&a ", 50_000),
		"tags":            strings.Repeat("!a ", 50_000),
		"inline mappings": strings.Repeat("a: ", 50_000),
		"stairs":          stairs(1200),
		"a long text":     strings.Repeat("x", maxFile),
		"variables":       "documents: \"" + strings.Repeat("${A:-", 50_000) + strings.Repeat("}", 50_000) + "\"\n",
		"too big":         "documents: [discard]\n#" + strings.Repeat("x", maxFile),
		"a long number":   "device: { memory: 1." + strings.Repeat("0", 500_000) + " }\ndocuments: [discard]\n",
	} {
		start := time.Now()
		_, err := Load("p.yaml", []byte(src), testVocabulary{}, nil, nil)
		took := time.Since(start)
		t.Logf("%s: %v, %d bytes: %.120v", name, took.Round(time.Millisecond), len(src), err)
		if err == nil || took > time.Minute {
			t.Errorf("%s: took %v, error %v; expected a refusal, not a hang", name, took, err)
		}
	}
}

// stairs nests block mappings, one column deeper a line.
func stairs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func FuzzLoad(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		src, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for part := range strings.SplitSeq(string(src), "=== ") {
			_, yaml, _ := strings.Cut(part, "\n")
			yaml, _, _ = strings.Cut(yaml, "@")
			f.Add([]byte(yaml), "heads.attention.group=1")
		}
	}
	f.Add([]byte("documents: [discard]"), "documents.decode.stop=[a, \"b\"]")
	env := func(name string) (string, bool) { return name, len(name)%2 == 0 }
	f.Fuzz(func(t *testing.T, src []byte, set string) {
		hang := time.AfterFunc(20*time.Second, func() { panic("Load has not returned after 20 s") })
		defer hang.Stop()
		p, err := Load("p.yaml", src, testVocabulary{}, []string{set}, env)
		if (p == nil) == (err == nil) {
			t.Fatalf("pipeline %v and error %v", p, err)
		}
		if err == nil {
			return
		}
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("got %#v; expected Problems", err)
		}
		lines := strings.Count(string(src), "\n") + strings.Count(string(src), "\r") + 2
		for _, problem := range problems {
			if problem.What == "" || problem.File == "" || problem.Line > lines || (problem.Line == 0) != strings.HasPrefix(problem.File, "--set") {
				t.Fatalf("a problem without a place: %#v", problem)
			}
		}
	})
}
