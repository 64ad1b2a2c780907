package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func TestLint(t *testing.T) {
	for _, s := range testStages {
		if err := Lint(s.options()); err != nil {
			t.Errorf("%s: %v", s.doc.Name, err)
		}
	}
	for _, options := range []any{ModelOptions{}, &DeviceOptions{}} {
		if err := Lint(options); err != nil {
			t.Error(err)
		}
	}
	type nested struct {
		Inner struct {
			Deep struct{} `yaml:"deep"`
		} `yaml:"inner"`
	}
	for want, options := range map[string]any{
		"expected a struct":          5,
		"expected an exported field": struct{ A int }{},
		"expected lower-case": struct {
			A int `yaml:"A-b"`
		}{},
		`the name "from" is taken`: struct {
			A int `yaml:"from"`
		}{},
		`the name "a" is taken`: struct {
			A int `yaml:"a"`
			B int `yaml:"a"`
		}{},
		"two levels deep": nested{},
		"the type int8": struct {
			A int8 `yaml:"a"`
		}{},
		"enum on a int": struct {
			A int `yaml:"a" enum:"x"`
		}{},
		"a Choice has a words tag": struct {
			A Choice `yaml:"a"`
		}{},
		"and nothing else has": struct {
			A string `yaml:"a" words:"x"`
		}{},
		"min or max on a string": struct {
			A string `yaml:"a" min:"1"`
		}{},
		`the bound "many": not a number`: struct {
			A int `yaml:"a" max:"many"`
		}{},
		"min 3 is over max 2": struct {
			A int `yaml:"a" min:"3" max:"2"`
		}{},
		`option "a": the doc tag is ""`: struct {
			A int `yaml:"a" default:"1" example:"1"`
		}{},
		"expected one line": struct {
			A int `yaml:"a" default:"1" example:"1" doc:"a\nb"`
		}{},
		"no default tag": struct {
			A int `yaml:"a" example:"1" doc:"A."`
		}{},
		"no example tag": struct {
			A int `yaml:"a" default:"1" doc:"A."`
		}{},
		`the default "-1": it is -1; expected`: struct {
			A int `yaml:"a" default:"-1" example:"1" doc:"A."`
		}{},
		`the example "x": it is "x"`: struct {
			A bool `yaml:"a" default:"true" example:"x" doc:"A."`
		}{},
		`the default "": it is empty`: struct {
			A Bytes `yaml:"a" default:"" example:"1" doc:"A."`
		}{},
		`the default "[a": `: struct {
			A []string `yaml:"a" default:"[a" example:"1" doc:"A."`
		}{},
	} {
		if err := Lint(options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: got %v; expected %q in it", options, err, want)
		}
	}
	if err := Lint(struct {
		A int `yaml:"-"`
	}{}); err != nil {
		t.Error(err)
	}
}

// badVocabulary declares options that no program should ship.
type badVocabulary struct{ options any }

func (badVocabulary) Stages(Level) []string               { return []string{"bad"} }
func (v badVocabulary) Options(Level, string) (any, bool) { return v.options, v.options != nil }

func TestWrongDeclarationsAreErrors(t *testing.T) {
	for _, options := range []any{
		&struct{ A int }{}, &struct {
			A int `yaml:"a" default:"x"`
		}{}, struct {
			A int `yaml:"a" default:"1"`
		}{}, 5, nil, (*ringOptions)(nil),
	} {
		_, err := Load("p.yaml", []byte("heads: [bad: { a: 1 }]\n"), badVocabulary{options}, nil, nil)
		if err == nil || !strings.Contains(err.Error(), "p.yaml:1:9: ") {
			t.Errorf("%T: got %v; expected a problem at 1:9", options, err)
		}
	}
	for _, options := range []any{5, &struct{ A int }{}, &struct {
		A int `yaml:"a" default:"x"`
	}{}} {
		docs := []StageDoc{{Level: Heads, Name: "bad", Options: options}}
		if _, err := Schema(docs); err == nil || !strings.Contains(err.Error(), `stage "bad"`) {
			t.Errorf("Schema of %T: %v; expected an error that names the stage", options, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	var device DeviceOptions
	if err := Defaults(&device); err != nil || device != (DeviceOptions{"auto", 2 << 30, 0, "same"}) {
		t.Fatalf("got %+v, %v", device, err)
	}
	if err := Defaults(device); err == nil {
		t.Fatal("Defaults took a struct that it cannot change")
	}
	if err := Defaults(nil); err != nil {
		t.Fatal(err)
	}
}

// golden compares with a file of testdata, or rewrites it with -update.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")); !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

func TestMarkdownAndText(t *testing.T) {
	page := Markdown(testDocs())
	golden(t, "testdata/stages.md", page)
	var text strings.Builder
	for _, s := range testDocs() {
		text.WriteString(Text(s) + "\n")
	}
	golden(t, "testdata/stages.text", []byte(text.String()))
	for line := range strings.Lines(text.String()) {
		if utf8.RuneCountInString(line) > textWidth+1 {
			t.Errorf("%q is wider than %d", line, textWidth)
		}
	}
	for i, example := range strings.Split(string(page), "```yaml\n")[1:] {
		example, _, _ = strings.Cut(example, "```")
		p, err := Load("example.yaml", []byte(example), testVocabulary{}, nil, nil)
		if err != nil {
			t.Errorf("the page's example\n%s\ndoes not load: %v", example, err)
			continue
		}
		if entry := append(p.Documents, p.Heads...)[0]; entry.Stage != testStages[i].doc.Name {
			t.Errorf("example %d shows %s; expected %s", i, entry.Stage, testStages[i].doc.Name)
		}
	}
}

// TestFieldsReadBack writes every default as the page shows it into a file: it must load as what no line loads as.
func TestFieldsReadBack(t *testing.T) {
	for _, s := range testDocs() {
		fields := Fields(s.Options)
		for i := range fields {
			fields[i].Example = fields[i].Default
		}
		written := fmt.Sprintf("%s:\n%s", s.Level, exampleYAML(s.Name, fields))
		a, err := Load("p.yaml", []byte(written), testVocabulary{}, nil, nil)
		if err != nil {
			t.Fatalf("%s\n%v", written, err)
		}
		b, err := Load("p.yaml", fmt.Appendf(nil, "%s: [%s]", s.Level, s.Name), testVocabulary{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		x, y := fmt.Sprintf("%+v", append(a.Documents, a.Heads...)[0].Options), fmt.Sprintf("%+v", append(b.Documents, b.Heads...)[0].Options)
		if x != y {
			t.Errorf("%s: the defaults as written load as\n%s\nand by themselves as\n%s", s.Name, x, y)
		}
	}
}

func FuzzQuoteYAML(f *testing.F) {
	for _, text := range []string{"", "a b", "null", "Null", "True", "{{.Text}}\n\t", "$5 ${X} $$", `"\'`, "\x00\x7f\u0085\u2028\ufeffé", "- a", "#", "1e3", "a: b", "a\r\nb"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			t.Skip("a tag is Go source, which is UTF-8")
		}
		src := "documents: [tokenize: { prompt: " + quoteYAML(text) + " }]\n"
		p, err := Load("p.yaml", []byte(src), testVocabulary{}, nil, nil)
		if err != nil {
			t.Fatalf("%q is written %q: %v", text, src, err)
		}
		if got := p.Documents[0].Options.(*promptOptions).Prompt; got != text {
			t.Fatalf("%q is written %q and read %q", text, src, got)
		}
	})
}

// TestSchema compiles the schema and gives it every case of testdata: what Load takes the schema takes, and what the
// schema is able to see it refuses.
func TestSchema(t *testing.T) {
	src, err := Schema(testDocs())
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("pipeline.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("pipeline.json")
	if err != nil {
		t.Fatal(err)
	}
	// What only Load can know: ids, variables, rules across options, YAML itself, overrides.
	beyond := []string{
		"no stage", "duplicate keys, all of them", "two documents", "a directive and a second document", "from: first, forward, self, unknown, list",
		"rules across options", "variables", "overrides", "duplicate and bad ids",
	}
	validated := 0
	for _, path := range []string{"testdata/good.txt", "testdata/structure.txt", "testdata/options.txt"} {
		for _, c := range readCases(t, path) {
			var value any
			if err := yaml.Unmarshal([]byte(c.yaml), &value); err != nil || slices.Contains(beyond, c.name) {
				continue
			}
			text, err := json.Marshal(value)
			if err != nil {
				continue // a NaN, which JSON has not
			}
			instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			good := strings.HasPrefix(c.want, "model ")
			if err := schema.Validate(instance); (err == nil) != good {
				t.Errorf("%s, %s: the schema says %v; Load says\n%s", path, c.name, err, c.want)
			}
			validated++
		}
	}
	if validated < 12 {
		t.Errorf("only %d cases reached the schema", validated)
	}
	again, err := Schema(testDocs())
	if err != nil || !bytes.Equal(src, again) {
		t.Errorf("the schema differs from run to run: %v", err)
	}
}
