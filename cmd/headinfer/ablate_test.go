package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"headinfer/config"
	"headinfer/config/matrix"
	"headinfer/kernels"
	"headinfer/model"
	"headinfer/pipelines"
	"headinfer/plan"
	"headinfer/stages"
	"headinfer/transfer"
)

// TestAblations checks the matrices that the program carries, and that they say what
// they are for.
func TestAblations(t *testing.T) {
	names := pipelines.Ablations()
	for _, want := range []string{"granularity", "latency", "no-async", "no-adaptive", "chunk-size", "sparsity", "kv-dtype"} {
		if !slices.Contains(names, want) {
			t.Errorf("no matrix %q among %q", want, names)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			file, src, err := readMatrix(name)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.SplitN(string(src), "\n", 3)
			if !strings.HasPrefix(lines[0], "# ") || !strings.HasPrefix(lines[1], "# About ") || !strings.Contains(lines[1], " on an H100") {
				t.Errorf("it begins %q; expected what it shows, and how long it takes on which machine", lines[:2])
			}
			if !matrix.Looks(src) {
				t.Error("lint would not know it for a matrix")
			}
			m, err := loadMatrix(file, src, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range m.Rows {
				if r.Pipeline.Model.Path != "random:llama-3-8b" {
					t.Errorf("%s has the model %s", r.Name, r.Pipeline.Model.Path)
				}
			}
		})
	}
}

// TestSpreadOf holds medians and spreads against their definitions.
func TestSpreadOf(t *testing.T) {
	for range 100 {
		figures := make([]float64, 1+rand.IntN(9))
		for i := range figures {
			figures[i] = 0.1 + rand.Float64()
		}
		given := slices.Clone(figures)
		m, s := median(figures), spreadOf(figures)
		if !slices.Equal(given, figures) {
			t.Fatal("the figures' order has changed")
		}
		below := 0
		for _, f := range figures {
			if f < m {
				below++
			}
		}
		if below != len(figures)/2 || !slices.Contains(figures, m) {
			t.Errorf("the median of %v is %v", figures, m)
		}
		if len(figures) == 1 {
			if s != nil {
				t.Errorf("one figure has the spread %v", *s)
			}
			continue
		}
		slices.Sort(given)
		if want := (given[len(given)-1] - given[0]) / m; s == nil || math.Abs(*s-want) > 1e-12 {
			t.Errorf("the spread of %v; expected %v", figures, want)
		}
	}
}

// groups makes a report of rows that differ in their group, with a time of prefill and
// bytes of device memory each.
func groups(seconds map[string]float64, kv map[string]int64, longest map[string]int) *ablateReport {
	r := &ablateReport{Measures: matrix.Measures()}
	for _, value := range []string{"8", "4", "2", "1", adaptive} {
		row := ablateRow{Name: "group=" + value, Axes: []matrix.Setting{{Path: groupOption, Value: value}}}
		noise := 0.02
		c := ablateCell{PrefillSpread: &noise, benchRow: benchRow{Context: 8192, Prefill: &benchPhase{Seconds: seconds[value]}, Decode: &benchPhase{Seconds: 1}}}
		c.Memory = &kernels.Usage{AtPeak: map[kernels.Purpose]int64{kernels.KVCache: kv[value]}}
		row.Cells = append(row.Cells, c)
		if n, ok := longest[value]; ok {
			row.Planned = &n
		}
		r.Rows = append(r.Rows, row)
	}
	return r
}

func TestClaims(t *testing.T) {
	kv := map[string]int64{"8": 800, "4": 400, "2": 200, "1": 100, adaptive: 800}
	longest := map[string]int{"8": 1000, "4": 2000, "2": 2000, "1": 4000, adaptive: 4000}
	find := func(r *ablateReport, part string) ablateClaim {
		t.Helper()
		for _, c := range r.claims() {
			if strings.Contains(c.Claim, part) {
				return c
			}
		}
		t.Fatalf("no claim says %q", part)
		return ablateClaim{}
	}
	for _, c := range []struct {
		adaptive float64
		holds    bool
	}{{0.9, true}, {1, true}, {1.019, true}, {1.021, false}, {2, false}} {
		r := groups(map[string]float64{"8": 1, "4": 1.1, "2": 1.2, "1": 1.3, adaptive: c.adaptive}, kv, longest)
		got := find(r, "as fast in prefill")
		if got.Holds != c.holds || got.Holds != strings.HasPrefix(got.String(), "holds: ") {
			t.Errorf("adaptive takes %v: %s", c.adaptive, got)
		}
		if !c.holds && !strings.Contains(got.String(), "group=8 takes 1.00 s and adaptive ") {
			t.Errorf("the figures are not in %s", got)
		}
		if !find(r, "less device memory").Holds || !find(r, "go as far or further, by plan").Holds {
			t.Errorf("%v", r.claims())
		}
	}
	kv["2"], longest["1"] = 500, 1500
	r := groups(map[string]float64{"8": 1, "4": 1, "2": 1, "1": 1, adaptive: 1}, kv, longest)
	if c := find(r, "less device memory"); c.Holds || !strings.Contains(c.String(), "group=2 takes 500 B and group=4 400 B") {
		t.Errorf("%s", c)
	}
	if c := find(r, "by plan"); c.Holds || len(c.Where) != 2 || !strings.Contains(c.String(), "group=1 (1K) after group=2 (2K)") {
		t.Errorf("%s", c)
	}
}

// TestFirstRow: without groups, rows are held against the first.
func TestFirstRow(t *testing.T) {
	r := &ablateReport{Measures: []string{matrix.Decode}}
	for name, seconds := range map[string]float64{"full": 1, "slower": 1.4, "same": 1.01, "lossy": 0.5, "other": 7} {
		noise := 0.03
		row := ablateRow{Name: name, Base: "adaptive", Cells: []ablateCell{{DecodeSpread: &noise, benchRow: benchRow{Context: 1024, Filled: true, Decode: &benchPhase{Seconds: seconds}}}}}
		switch name {
		case "lossy":
			row.Lossy = []string{"half of it"}
		case "other":
			row.Base = "standard"
		}
		if name == "full" {
			r.Rows = slices.Insert(r.Rows, 0, row)
		} else {
			r.Rows = append(r.Rows, row)
		}
	}
	claims := r.claims()
	if len(claims) != 3 {
		t.Fatalf("%v", claims)
	}
	for _, c := range claims {
		want := map[string]string{
			"slower is slower in decode than full": "holds: slower is slower in decode than full: at 1Ki filled (1.40×)",
			"same is slower in decode than full":   "does not hold: same is slower in decode than full: not at 1Ki filled (1.01×, spread 3%)",
			"lossy is faster in decode than full":  "holds: lossy is faster in decode than full: at 1Ki filled (0.50×)",
		}[c.Claim]
		if c.String() != want {
			t.Errorf("%s", c)
		}
	}
}

// TestDocumentedKeys: docs/ablations.md has the table of a matrix's keys.
func TestDocumentedKeys(t *testing.T) {
	path, err := repository("docs", "ablations.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(readFile(t, filepath.Dir(path), filepath.Base(path)))
	for _, f := range config.Fields(matrix.Options{}) {
		if line := "| `" + f.Name + "` | `" + f.Default + "` | " + f.Doc + " |"; !strings.Contains(page, line) {
			t.Errorf("%s lacks the line\n%s", path, line)
		}
	}
	for _, name := range pipelines.Ablations() {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("%s does not say what %s is for", path, name)
		}
	}
}

// TestNoise: one round has no spread, and differences under 2% are then none; several
// rounds that agree by chance are not taken at their word below 1%.
func TestNoise(t *testing.T) {
	for _, c := range []struct {
		spreads [2]float64 // below 0: one round
		ratio   float64
		holds   bool
		text    string
	}{
		{[2]float64{-1, -1}, 1.019, false, "at 1Ki (1.02×) (one round: differences under 2% are taken for noise)"},
		{[2]float64{-1, -1}, 1.021, true, "at 1Ki (1.02×) (one round: differences under 2% are taken for noise)"},
		{[2]float64{-1, 0.05}, 1.04, false, "at 1Ki (1.04×) (one round: differences under 2% are taken for noise)"},
		{[2]float64{0, 0.001}, 1.009, false, "at 1Ki (1.01×, spread 0%)"},
		{[2]float64{0, 0.001}, 1.011, true, "at 1Ki (1.01×)"},
		{[2]float64{0.03, 0.001}, 1.029, false, "at 1Ki (1.03×, spread 3%)"},
	} {
		r := &ablateReport{Measures: []string{matrix.Decode}}
		for i, seconds := range []float64{1, c.ratio} {
			cell := ablateCell{benchRow: benchRow{Context: 1024, Decode: &benchPhase{Seconds: seconds}}}
			if spread := c.spreads[i]; spread >= 0 {
				cell.DecodeSpread = &spread
			}
			r.Rows = append(r.Rows, ablateRow{Name: []string{"full", "less"}[i], Cells: []ablateCell{cell}})
		}
		claims := r.claims()
		if len(claims) != 1 || claims[0].Holds != c.holds || !strings.HasSuffix(claims[0].String(), c.text) {
			t.Errorf("%+v: %v", c, claims)
		}
	}
	// Where only some were measured once, it says which.
	c := ablateClaim{Claim: "so", Where: []string{"1Ki", "2Ki"}, Once: []string{"2Ki"}}
	if got := c.String(); got != "holds: so: at 1Ki, 2Ki (at 2Ki one round: differences under 2% are taken for noise)" {
		t.Error(got)
	}
}

// TestPredict says nothing of what plan's arithmetic is not for.
func TestPredict(t *testing.T) {
	model, rates := plan.Model{Layers: 2, Hidden: 64, Heads: 4, KVHeads: 2, HeadDim: 16, FFN: 128, Vocab: 100, ElementBytes: 2}, plan.Rates{CopyIn: 1e9, CopyOut: 1e9, Linear: 1e12, Attention: 1e12, Read: 1e11}
	for _, c := range []struct {
		facts rowFacts
		want  bool
	}{
		{rowFacts{}, true}, {rowFacts{Partial: true}, false}, {rowFacts{How: plan.Method{Pageable: true}}, false},
	} {
		c.facts.Model = model
		if p := predict(&c.facts, rates, 1000, false); (p != nil) != c.want {
			t.Errorf("%+v: %+v", c.facts, p)
		}
	}
}

// TestLasting keeps only refusals that would be the same again.
func TestLasting(t *testing.T) {
	budget, driver := &kernels.BudgetError{What: "tiles"}, &kernels.RefusedError{What: "tiles", Err: errors.New("out of memory")}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("a row: %w", budget), true}, {driver, false}, {fmt.Errorf("%w: %w", errShortWeights, driver), false},
		{&stages.HeadsError{Err: budget}, false}, {&stages.HeadsError{Err: errors.New("no such file")}, false},
		{transfer.ErrHostMemory, false}, {errPastModel, true}, {errors.ErrUnsupported, true}, {errors.New("anything"), false},
	} {
		if got := lasting(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

// TestSampleKeys: a sample is no longer one when its file of heads says something else, or
// the program is another.
func TestSampleKeys(t *testing.T) {
	dir := t.TempDir()
	heads := filepath.Join(dir, "heads.tsv")
	write(t, heads, "1\t0\n")
	p, err := (&overrides{sets: []string{"heads.attention.recent=1Ki", setHeads(heads)}}).loadMethod("adaptive")
	if err != nil {
		t.Fatal(err)
	}
	first := headsHash(p.Pipeline)
	write(t, heads, "0\t1\n")
	if second := headsHash(p.Pipeline); first == "" || second == first {
		t.Errorf("%q and then %q", first, second)
	}
	exact, err := (&overrides{}).loadMethod("adaptive")
	if err != nil {
		t.Fatal(err)
	}
	if text := headsHash(exact.Pipeline); text != "" {
		t.Errorf("without such a file: %q", text)
	}
	revision, modified := debug.BuildSetting{Key: "vcs.revision", Value: "1234"}, debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for _, c := range []struct {
		settings []debug.BuildSetting
		want     bool
	}{
		{nil, false}, {[]debug.BuildSetting{revision}, true}, {[]debug.BuildSetting{revision, modified}, false},
		{[]debug.BuildSetting{revision, {Key: "vcs.modified", Value: "false"}}, true},
	} {
		if got := isRevision(c.settings); got != c.want {
			t.Errorf("%v: %v", c.settings, got)
		}
	}
	if a, b := executableHash(), executableHash(); a != b || len(a) != 16 {
		t.Errorf("%q, %q", a, b)
	}
}

// TestSamplesAreOneCalls: a folder that is written to is nobody else's, whatever they ask.
func TestSamplesAreOneCalls(t *testing.T) {
	dir := t.TempDir()
	s, err := openSamples(dir, false, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.add(&ablateSample{Key: "a"}); err != nil {
		t.Fatal(err)
	}
	for _, restart := range []bool{false, true} {
		var usage *exitError
		if _, err := openSamples(dir, restart, zerolog.Nop()); !errors.As(err, &usage) || usage.code != exitUsage || !strings.Contains(err.Error(), "another headinfer ablate is writing to "+dir) {
			t.Fatalf("%v", err)
		}
	}
	if err := errors.Join(s.add(&ablateSample{Key: "b"}), s.close()); err != nil {
		t.Fatal(err)
	}
	for _, restart := range []bool{false, true} {
		s, err := openSamples(dir, restart, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(s.byKey); restart != (n == 0) || !restart && n != 2 {
			t.Errorf("restart %v: %d samples", restart, n)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFailsLater: a row that fails in a later round has the figures of those before, and
// says of how many.
func TestFailsLater(t *testing.T) {
	p, err := (&overrides{sets: []string{"model.path=random:tiny"}}).loadMethod("adaptive")
	if err != nil {
		t.Fatal(err)
	}
	c, err := model.Open("random:tiny")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	row := &ablateRowState{Row: matrix.Row{Name: "full"}, pipeline: p, failed: map[string]string{}}
	m := &matrix.Matrix{Contexts: []int{100}}
	m.Repeats, m.Measures = 3, []string{matrix.Prefill}
	a := &ablation{ablateOptions: &ablateOptions{}, matrix: m, rows: []*ablateRowState{row}, store: &sampleStore{
		byKey: map[string]*ablateSample{}, fingerprints: map[string]string{p.Model.Path: "x"},
	}}
	a.plan()
	facts := &rowFacts{Model: stages.PlanConfig(c.Config, c.WeightBytes(), kernels.BF16), Bench: benchRow{Context: 100, Memory: &kernels.Usage{}}}
	a.store.byKey[a.key(a.units[0], "x")] = &ablateSample{Prefill: 1, Steps: []float64{1}, Facts: facts}
	row.failed[a.units[1].place()] = "the host is full"
	r := a.report()
	if cell := r.Rows[0].Cells[0]; cell.Error != "" || cell.Prefill == nil || cell.Note != "1 of 3 rounds, and then: the host is full" {
		t.Errorf("%+v", cell)
	}
	s := r.sheets(false)[0]
	if s.rows[0][0] != "full [1]" || !slices.Equal(s.notes, []string{"[1] full: 1 of 3 rounds, and then: the host is full"}) || s.ofRounds() != " (one round)" {
		t.Errorf("%+v", s)
	}
}

// TestFootnotes has a mark of its own for each.
func TestFootnotes(t *testing.T) {
	if got := footnote(0) + footnote(6) + footnote(11); got != "¹⁷¹²" {
		t.Error(got)
	}
}
