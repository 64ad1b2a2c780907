package main

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headinfer/config"
	"headinfer/config/matrix"
	"headinfer/kernels"
	"headinfer/pipelines"
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
