package matrix_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"headinfer/config"
	"headinfer/config/matrix"
	"headinfer/pipelines"
	"headinfer/stages"
)

// load reads a matrix as the command line does, with the methods as bases.
func load(t *testing.T, src string, sets ...string) (*matrix.Matrix, error) {
	t.Helper()
	registry, err := stages.Registry()
	if err != nil {
		t.Fatal(err)
	}
	return matrix.Load("m.yaml", []byte(src), matrix.Host{
		Vocabulary: registry, Sets: sets, Tasks: []string{"niah_single", "vt"},
		Base: func(_, name string) (string, []byte, error) {
			src, err := pipelines.Read(name)
			if err != nil {
				return "", nil, fmt.Errorf("no method %q: %w", name, fs.ErrNotExist)
			}
			return "method " + name, src, nil
		},
		Check: func(p *config.Pipeline) error {
			_, _, err := stages.Graphs(registry, p)
			return err
		},
		Key: func(p *config.Pipeline) string {
			text := fmt.Sprintf("%+v %+v", p.Model, p.Device)
			for _, e := range slices.Concat(p.Documents[1:len(p.Documents)-1], p.Heads) {
				text += fmt.Sprintf(" %s %+v", e.Stage, e.Options)
			}
			return text
		},
	})
}

func TestOptionsAreDocumented(t *testing.T) {
	if err := config.Lint(matrix.Options{}); err != nil {
		t.Error(err)
	}
	measures := config.Fields(matrix.Options{})
	at := slices.IndexFunc(measures, func(f config.Field) bool { return f.Name == "measures" })
	for _, m := range matrix.Measures() {
		if !strings.Contains(measures[at].Doc, m+" (") {
			t.Errorf("what %s is, the doc line of measures does not say", m)
		}
	}
}

// TestGrid crosses axes drawn at random: every combination is a row, once, with its
// values set, the last axis turning fastest.
func TestGrid(t *testing.T) {
	axes := []struct {
		path   string
		values []string
	}{
		{"heads.attention.group", []string{"1", "2", "3", "all", "adaptive"}},
		{"heads.prefetch.slots", []string{"1", "2", "3", "4"}},
		{"heads.attention.span", []string{"all", "64", "4Ki"}},
		{"documents.chunked-prefill.chunk", []string{"none", "2k", "5k"}},
	}
	for range 20 {
		rand.Shuffle(len(axes), func(i, j int) { axes[i], axes[j] = axes[j], axes[i] })
		some := axes[:1+rand.IntN(3)]
		src, want := "contexts: [8k]\naxes:\n", 1
		var picked [][]string
		for _, a := range some {
			values := slices.Clone(a.values)
			rand.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
			values = values[:1+rand.IntN(len(values))]
			picked, want = append(picked, values), want*len(values)
			src += fmt.Sprintf("  %s: [%s]\n", a.path, strings.Join(values, ", "))
		}
		m, err := load(t, src)
		if err != nil {
			t.Fatalf("%s%v", src, err)
		}
		if len(m.Rows) != want {
			t.Fatalf("%s%d rows; expected %d", src, len(m.Rows), want)
		}
		for i, r := range m.Rows {
			rest := i
			for j := len(some) - 1; j >= 0; j-- {
				value := picked[j][rest%len(picked[j])]
				rest /= len(picked[j])
				if got, ok := r.Value(some[j].path); !ok || got != value {
					t.Errorf("%srow %d has %s=%s; expected %s", src, i, some[j].path, got, value)
				}
				last := some[j].path[strings.LastIndex(some[j].path, ".")+1:]
				if !strings.Contains(r.Name, last+"="+value) {
					t.Errorf("row %d is called %q; expected %s=%s in it", i, r.Name, last, value)
				}
			}
		}
	}
}

// TestPrecedence: a row's own setting over the matrix's, and the command line's over
// both.
func TestPrecedence(t *testing.T) {
	src := `
base: headinfer-4
set: { device.memory: 3GiB, heads.prefetch.slots: 5, model.path: "random:tiny" }
axes: { heads.attention.group: [1, 2] }
rows:
  - { name: standard, base: standard, set: { heads.prefetch.slots: none } }
  - { name: own, set: { heads.prefetch.slots: 7, device.memory: 1GiB } }
contexts: 8k
fill: [1M]
`
	m, err := load(t, src, "device.memory=9GiB")
	if err != nil {
		t.Fatal(err)
	}
	if names := []string{m.Rows[0].Name, m.Rows[1].Name, m.Rows[2].Name, m.Rows[3].Name}; !slices.Equal(names, []string{"group=1", "group=2", "standard", "own"}) {
		t.Errorf("rows %q", names)
	}
	for i, slots := range []string{"5", "5", "none", "7"} {
		p := m.Rows[i].Pipeline
		if p.Device.Memory != 9<<30 || p.Model.Path != "random:tiny" {
			t.Errorf("%s has %s of device memory and the model %s", m.Rows[i].Name, p.Device.Memory, p.Model.Path)
		}
		for _, e := range p.Heads {
			if e.Stage == "prefetch" && !strings.Contains(fmt.Sprintf("%+v", e.Options), slots) {
				t.Errorf("%s: %+v; expected %s slots", m.Rows[i].Name, e.Options, slots)
			}
		}
	}
	if m.Rows[2].Base != "standard" || m.Rows[3].Base != "headinfer-4" {
		t.Errorf("bases %q and %q", m.Rows[2].Base, m.Rows[3].Base)
	}
	if !slices.Equal(m.Contexts, []int{8000}) || !slices.Equal(m.Fill, []int{1000000}) || m.Repeats != 3 || m.DecodeTokens != 8 {
		t.Errorf("%+v", m)
	}
	if !m.Wants(matrix.Hidden) || m.Wants(matrix.Longest) || !m.Times() {
		t.Errorf("measures %q", m.Measures)
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"list", "- a\n", `m.yaml:1:1: the file is a list; expected a mapping with base, axes or rows, and contexts`},
		{"key", "axess: { heads.attention.group: [1] }\ncontexts: [8k]", `m.yaml:1:1: unknown option "axess" of a matrix; expected one of base,`},
		{"stage", "axes: { heads.atention.group: [1, 2] }\ncontexts: [8k]", `m.yaml:1:9: no stage in heads has the id "atention"; expected one of prefetch, attention, offload; did you mean "attention"?`},
		{"option", "axes: { heads.attention.grup: [1, 2] }\ncontexts: [8k]", `m.yaml:1:9: unknown option "grup" of stage "attention"; expected one of group, `},
		{"level", "rows: [{ name: a, set: { head.attention.group: 1 } }]\ncontexts: [8k]", `m.yaml:1:26: unknown level "head"; expected one of model, device, documents, heads; did you mean "heads"?`},
		{"short path", "axes: { heads.attention: [1] }\ncontexts: [8k]", `m.yaml:1:9: "heads.attention" names no option of a stage; expected heads.ID.OPTION, `},
		{"value", "axes: { heads.attention.group: [1, two, 0] }\ncontexts: [8k]", `m.yaml:1:36: option "group" is "two"; expected all, adaptive or a count of KV heads`},
		{"bound", "axes: { heads.attention.group: [1, 0] }\ncontexts: [8k]", `m.yaml:1:36: option "group" is 0; expected `},
		{"conflict", "contexts: [8k]\naxes: { heads.prefetch.slots: [2, none] }", `m.yaml:2:35: "prefetch" has no slots, and "offload" keeps the cache on the host; expected slots: 2 here, or to: device in "offload"`},
		{"conflict elsewhere", "contexts: [8k]\nbase: standard\nrows: [{ name: x, set: { heads.offload.to: host } }]", `m.yaml:3:8: row "x": method standard:`},
		{"empty axis", "axes: { heads.attention.group: [] }\ncontexts: [8k]", `m.yaml:1:32: axis "heads.attention.group" is an empty list; expected one value or more`},
		{"no list", "axes: { heads.attention.group: 4 }\ncontexts: [8k]", `m.yaml:1:32: axis "heads.attention.group" is 4; expected a list of values`},
		{"no value", "axes: { heads.attention.group: }\ncontexts: [8k]", `m.yaml:1:`},
		{"empty axes", "axes: {}\ncontexts: [8k]", `m.yaml:1:7: axes is empty; expected a mapping`},
		{"empty contexts", "rows: [{ name: a }]\ncontexts: []", `m.yaml:2:11: option "contexts" is an empty list; expected one length or more`},
		{"context 0", "rows: [{ name: a }]\ncontexts: [8k, 0]", `m.yaml:2:16: contexts has a context of 0 tokens; expected 1 or more`},
		{"context text", "rows: [{ name: a }]\nfill: 8q", `m.yaml:2:7: fill: "8q" is not a number with a known unit`},
		{"context twice", "rows: [{ name: a }]\ncontexts: [8192, 8Ki]", `m.yaml:2:18: contexts has 8Ki twice; expected each length once`},
		{"no context", "rows: [{ name: a }]\n", `m.yaml:1:1: nothing says at which contexts rows are measured; expected contexts: [8Ki, 128Ki], or fill`},
		{"measure", "rows: [{ name: a }]\ncontexts: [8k]\nmeasures: [decode, memry]", `m.yaml:3:20: unknown measure "memry"; expected one of prefill, decode, memory, moved, hidden, longest, accuracy, distance; did you mean "memory"?`},
		{"no measure", "rows: [{ name: a }]\ncontexts: [8k]\nmeasures: []", `m.yaml:3:11: option "measures" is an empty list; expected some of prefill`},
		{"repeats", "rows: [{ name: a }]\ncontexts: [8k]\nrepeats: 0", `m.yaml:3:10: option "repeats" is 0; expected a whole number, from 1 to 1000`},
		{"task", "rows: [{ name: a }]\ncontexts: [8k]\naccuracy: { task: niah-singl }", `m.yaml:3:19: no task "niah-singl"; expected one of niah_single, vt; did you mean "niah_single"?`},
		{"no row", "base: adaptive\ncontexts: [8k]", `m.yaml:1:1: the file names no row; expected axes, rows or both`},
		{"row", "rows: [3]\ncontexts: [8k]", `m.yaml:1:8: a row is 3; expected - { name: …, set: { PATH: VALUE } }`},
		{"nameless", "rows: [{ base: standard }]\ncontexts: [8k]", `m.yaml:1:8: a row without a name; expected name: what the tables call it`},
		{"row's key", "rows: [{ name: a, sets: {} }]\ncontexts: [8k]", `m.yaml:1:19: unknown option "sets" of a row; expected one of name, base, set; did you mean "set"?`},
		{"base", "base: adaptiv\nrows: [{ name: a }]\ncontexts: [8k]", `m.yaml:1:7: no method "adaptiv"`},
		{"row's base", "rows: [{ name: a, base: standart }]\ncontexts: [8k]", `m.yaml:1:25: no method "standart"`},
		{"same name", "rows:\n- { name: a }\n- { name: a, set: { heads.attention.group: 1 } }\ncontexts: [8k]", `m.yaml:3:3: two rows have the name "a", the first on line 2; expected a name of its own`},
		{"same row", "axes: { heads.attention.group: [2, 1, 2] }\ncontexts: [8k]", `m.yaml:1:39: two rows have the name "group=2"`},
		{"same pipeline", "axes: { heads.attention.group: [2, 1] }\nrows: [{ name: one, base: headinfer-1 }]\ncontexts: [8k]", `m.yaml:2:8: row "one" is the same pipeline as row "group=1" on line 1; expected rows that differ`},
		{"axis in set", "set: { heads.attention.group: 1 }\naxes: { heads.attention.group: [1, 2] }\ncontexts: [8k]", `m.yaml:2:9: "heads.attention.group" is an axis and in set; expected it in one of the two`},
		{"many", "axes: { heads.attention.group: [" + numbers(40) + "], heads.prefetch.slots: [" + numbers(40) + "] }\ncontexts: [8k]", `make 1600 rows; expected at most 500`},
		{"not YAML", "base: a\n rows: x", `m.yaml:1:7: not valid YAML`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.src)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s\nsays %v\nexpected %s", c.src, err, c.want)
			}
		})
	}
}

// TestSharedMistakes are said once, however many rows have them, and those of the
// command line as such.
func TestSharedMistakes(t *testing.T) {
	_, err := load(t, "axes: { heads.prefetch.slots: [1, 2, 3], heads.attention.grup: [1, 2] }\ncontexts: [8k]")
	if err == nil || strings.Count(err.Error(), "\n") > 0 {
		t.Errorf("%v", err)
	}
	_, err = load(t, "axes: { heads.prefetch.slots: [1, 2, 3] }\ncontexts: [8k]", "heads.attention.grup=1")
	if err == nil || !strings.HasPrefix(err.Error(), "--set heads.attention.grup=1: unknown option") || strings.Count(err.Error(), "\n") > 0 {
		t.Errorf("%v", err)
	}
}

func numbers(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint(i+1))
	}
	return strings.Join(all, ", ")
}

func TestLooks(t *testing.T) {
	for src, want := range map[string]bool{
		"base: adaptive\ncontexts: [1]":       true,
		"axes: {}":                            true,
		"measures: [x]\nset: {}":              true,
		"rows:\n  - name: [":                  true,
		"model: { path: builtin }\nheads: []": false,
		"documents: []\nbase: x":              false,
		"model: { path: builtin }":            false,
		"":                                    false,
		"set: { a: 1 }":                       false,
		"base: \"${NO_SUCH_VARIABLE_HERE}\"":  true,
		"heads:\n\t- x\nbase: x":              false,
	} {
		if got := matrix.Looks([]byte(src)); got != want {
			t.Errorf("%q: %v", src, got)
		}
	}
}

// TestBadAxis: an axis without values is said, and of rows that it would have made
// nothing, be they of a base that they do not fit.
func TestBadAxis(t *testing.T) {
	for _, axes := range []string{"{ heads.attention.group: [] }", "{ heads.attention.group: [1, 2], heads.prefetch.slots: [] }", "{ heads.prefetch.slots: 2 }"} {
		_, err := load(t, "base: standard\nset: { heads.offload.to: host }\ncontexts: [8k]\naxes: "+axes+"\n")
		var all config.Problems
		if !errors.As(err, &all) || len(all) != 1 || !strings.HasPrefix(all[0].What, "axis ") {
			t.Errorf("%s: %v", axes, err)
		}
	}
}

// TestWith reads a row's pipeline with more options, under those of the command line.
func TestWith(t *testing.T) {
	m, err := load(t, "contexts: [8k]\naxes: { heads.attention.group: [1, 2] }\n", "device.memory=3GiB")
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Rows[1].With("documents.decode.max_tokens=7", "device.memory=1GiB")
	if err != nil {
		t.Fatal(err)
	}
	if p.Device.Memory != 3<<30 || p.Model != m.Rows[1].Pipeline.Model {
		t.Errorf("%+v", p.Device)
	}
	text := func(p *config.Pipeline) (text string) {
		for _, e := range slices.Concat(p.Documents, p.Heads) {
			text += fmt.Sprintf(" %s %+v", e.Stage, e.Options)
		}
		return text
	}
	if got, was := text(p), text(m.Rows[1].Pipeline); got == was || !strings.Contains(got, "7") {
		t.Errorf("%s\nwas %s", got, was)
	}
}
