package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"headinfer/config"
	"headinfer/eval"
)

// TestScoresOf numbers random damages: as many heads stream as were asked for,
// and those with the least damage.
func TestScoresOf(t *testing.T) {
	r := random(t)
	for range 50 {
		layers, heads, share := 1+r.IntN(40), 1+r.IntN(9), r.Float64()
		var damage [][]float64
		for range layers {
			var row []float64
			for range heads {
				row = append(row, math.Round(8*r.NormFloat64())/4) // some alike
			}
			damage = append(damage, row)
		}
		scores, streaming := scoresOf(damage, share)
		if want := int(share * float64(layers*heads)); streaming != want {
			t.Fatalf("%d of %d×%d heads stream; %g was asked for", streaming, layers, heads, share)
		}
		type head struct{ damage, score float64 }
		var all []head
		for l := range scores {
			for h, s := range scores[l] {
				if s < 0 || s > 1 {
					t.Fatalf("score %g", s)
				}
				all = append(all, head{damage[l][h], s})
			}
		}
		slices.SortFunc(all, func(a, b head) int { return cmp.Compare(a.score, b.score) })
		for i, one := range all {
			if (one.score < 0.5) != (i < streaming) || i > 0 && one.damage < all[i-1].damage {
				t.Fatalf("head %d of %d, of which %d stream: %+v after %+v", i, len(all), streaming, one, all[max(i-1, 0)])
			}
		}
		lines := strings.Split(strings.TrimSuffix(headLines(scores), "\n"), "\n")
		if len(lines) != layers {
			t.Fatalf("%d lines for %d layers", len(lines), layers)
		}
		for l, line := range lines {
			for h, field := range strings.Split(line, "\t") {
				if got, err := strconv.ParseFloat(field, 64); err != nil || got != scores[l][h] {
					t.Fatalf("%q for %g, error %v", field, scores[l][h], err)
				}
			}
		}
	}
	if _, n := scoresOf([][]float64{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}}, 0.7); n != 7 {
		t.Errorf("%d of ten heads are 0.7 of them", n)
	}
	if s, n := scoresOf([][]float64{{2, 1}}, 1); n != 2 || s[0][0] >= 0.5 {
		t.Errorf("%d of two heads are all of them: %v", n, s)
	}
	if s, n := scoresOf([][]float64{{2, 1}}, 0.1); n != 0 || s[0][1] < 0.5 || s[0][0] != 1 {
		t.Errorf("%d of two heads are a tenth of them: %v", n, s)
	}
}

// TestFindHeads lets half of the built-in model's heads stream and finds what
// all streaming heads lose.
func TestFindHeads(t *testing.T) {
	t.Parallel()
	if testing.Short() || raceDetector {
		t.Skip("35 engines read texts, which takes a minute with the race detector")
	}
	dir := t.TempDir()
	stdout, stderr, code := headinfer(t, dir, "eval", "--find-heads", "found/heads ${HOME", "--json", "--device", "cpu", "--out", "out",
		"--task", "niah_multikey", "--context", "400", "--depths", "3", "--set", "heads.attention.recent=96",
		"--set", "documents.chunked-prefill.chunk=128")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var r headsReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if len(r.Damage) != 4 || len(r.Damage[3]) != 8 || r.Streaming != 16 || r.Tokens != 400 || r.Samples < 1 || r.All < 1 {
		t.Fatalf("%+v", r)
	}
	text, err := os.ReadFile(filepath.Join(dir, "found", "heads ${HOME"))
	if err != nil || string(text) != headLines(r.Scores) {
		t.Errorf("the file holds %q, error %v", text, err)
	}
	v := r.Verification
	if v == nil || len(v.Cells) != 3 || len(v.Methods) != 3 || len(v.Methods[0].Lossy) != 0 ||
		!strings.Contains(v.Methods[1].Lossy[0], "by 16 of 32 KV heads (found/heads ${HOME)") || len(v.Methods[2].Lossy) == 0 {
		t.Fatalf("checked by %+v", v)
	}
	if exact, found, all := v.Cells[0], v.Cells[1], v.Cells[2]; exact.Samples != 3 || found.Score < exact.Score || all.Score >= exact.Score {
		t.Errorf("scores of %g exactly, %g with the heads found, %g with all streaming", exact.Score, found.Score, all.Score)
	}
}

// TestFindHeadsMistakes ends with the exit code of usage, or says that the model
// knows no answer.
func TestFindHeadsMistakes(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct {
		code int
		args []string
	}{
		"--streaming is 0; expected":                  {exitUsage, []string{"--streaming", "0"}},
		"--streaming is 1.5; expected":                {exitUsage, []string{"--streaming", "1.5"}},
		"leave --data out":                            {exitUsage, []string{"--data", "qa=squad.json"}},
		"--find-heads takes one method, ":             {exitUsage, []string{"--method", "adaptive,tiled"}},
		"--task perplexity has none":                  {exitUsage, []string{"--task", "perplexity"}},
		"the answers at 600 tokens are no worse":      {exitUsage, []string{"--context", "600"}},
		"task niah_multikey at 60 tokens: ":           {exitUsage, []string{"--context", "60"}},
		"answers none of 2 questions right, so there": {exitFailed, []string{"--model", "random:tiny", "--task", "niah_single", "--context", "400", "--set", "heads.attention.recent=100"}},
		"--find-heads: mkdir file":                    {exitUsage, []string{"--find-heads", "file/heads.tsv"}},
		"is a directory; name a file, such as":        {exitUsage, []string{"--find-heads", "."}},
		"method adaptive has no window":               {exitUsage, []string{"--method", "adaptive"}},
		"window, such as streaming-llm":               {exitUsage, []string{"--method", "h2o"}},
		"method streaming-llm has no window":          {exitUsage, []string{"--set", "heads.attention.recent=all"}},
		"--out: mkdir file":                           {exitUsage, []string{"--out", "file/out"}},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "file"), "no folder")
		write(t, filepath.Join(dir, "heads.tsv"), "of before")
		stdout, stderr, code := headinfer(t, dir, append([]string{"eval", "--find-heads", "heads.tsv", "--device", "cpu"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, want) || stdout != "" {
			t.Errorf("%q: exit code %d, %q on stdout, on stderr %s", c.args, code, stdout, stderr)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "heads.tsv")); err != nil || string(text) != "of before" {
			t.Errorf("%q: the earlier file of heads is %q, error %v", c.args, text, err)
		}
		if left, err := filepath.Glob(filepath.Join(dir, "*.partial")); err != nil || len(left) > 0 {
			t.Errorf("%q: left %q, error %v", c.args, left, err)
		}
	}
}

// TestKeepFar leaves what a window loses.
func TestKeepFar(t *testing.T) {
	var samples []eval.Sample
	for _, depth := range []float64{0, 0.25, 0.5, 1, 0} {
		samples = append(samples, eval.Sample{Depth: depth})
	}
	deep := evalCase{task: eval.Task{Depth: true}, samples: slices.Clone(samples)}
	if deep.keepFar(1); len(deep.samples) != 2 || deep.samples[1].Depth != 0.25 {
		t.Errorf("%+v", deep.samples)
	}
	for n, want := range map[int]int{2: 2, 9: 5} {
		spread := evalCase{samples: slices.Clone(samples)}
		if spread.keepFar(n); len(spread.samples) != want {
			t.Errorf("%d: %+v", n, spread.samples)
		}
	}
}

// TestHeadsReport marks the heads that stream.
func TestHeadsReport(t *testing.T) {
	r := headsReport{
		Path: "h.tsv", Tokens: 9, Samples: 3, All: 2, Streaming: 2, heads: 4,
		Damage: [][]float64{{0.5, -0.001}, {0, 1}}, Scores: [][]float64{{0.75, 0}, {0.25, 1}},
		Verification: &evalReport{Methods: []evalMethodName{{Name: "exact"}}},
	}
	partial := headsReport{Tokens: 9, Samples: 3, All: 2, Damage: [][]float64{{0.5, -0.001}, {0}}, heads: 4}
	for _, c := range []struct {
		report headsReport
		want   string
	}{
		{r, "layer 0 1 0 0.500 (-0.001) 1 (0.000) 1.000 all heads at once: 2.000 measured on 3 answers at 9 tokens; 2 of 4 heads stream written: h.tsv task tokens samples exact"},
		{partial, "layer 0 1 0 0.500 -0.001 1 0.000 — all heads at once: 2.000 measured on 3 answers at 9 tokens; 3 of 4 heads were measured"},
		{headsReport{All: 2, heads: 4}, "layer all heads at once: 2.000 measured on 0 answers at 0 tokens; 0 of 4 heads were measured"},
	} {
		var out strings.Builder
		if err := c.report.print(&out); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(got, c.want) || strings.Contains(got, "written") != (c.report.Path != "") {
			t.Errorf("printed %s", out.String())
		}
	}
}

// TestSetHeads sets paths that YAML and variables could be read in.
func TestSetHeads(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"heads.tsv", "[x].tsv", "${HOME}", "a$", "$$", "null", "~", `"a'b\c d:#.tsv`, " é\t世 ", "{a: b}", "*a", ""} {
		p, err := (&overrides{sets: []string{setHeads(path)}}).loadMethod(headsMethod)
		if err != nil {
			t.Errorf("%q: %v", path, err)
			continue
		}
		i := slices.IndexFunc(p.Heads, func(e config.Entry) bool { return e.Stage == "attention" })
		if got := reflect.ValueOf(p.Heads[i].Options).Elem().FieldByName("StreamingHeads").String(); got != path {
			t.Errorf("%q is read as %q", path, got)
		}
	}
}

// cancels ends a context once a text is written to it.
type cancels struct {
	strings.Builder
	text   string
	cancel context.CancelFunc
}

func (c *cancels) Write(p []byte) (int, error) {
	if strings.Contains(string(p), c.text) {
		c.cancel()
	}
	return c.Builder.Write(p)
}

// TestFindHeadsInterrupt stops after a layer: its damages are printed, and the
// file stays as it was.
func TestFindHeadsInterrupt(t *testing.T) {
	t.Parallel()
	if testing.Short() || raceDetector {
		t.Skip("10 engines read texts, which takes long with the race detector")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "heads.tsv")
	write(t, path, "of before")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := &cancels{text: `"message":"measured heads"`, cancel: cancel}
	var out strings.Builder
	c := newEval()
	c.SetArgs([]string{"--find-heads", path, "--json", "--device", "cpu", "--out", filepath.Join(dir, "out"), "--task", "niah_multikey",
		"--context", "300", "--depths", "3", "--set", "heads.attention.recent=96", "--set", "documents.chunked-prefill.chunk=128"})
	c.SetOut(&out)
	c.SetErr(log)
	c.SilenceErrors, c.SilenceUsage = true, true
	err := c.ExecuteContext(ctx)
	if exit := (*exitError)(nil); !errors.As(err, &exit) || exit.code != exitInterrupted ||
		err.Error() != "interrupted; no heads were written, and what was measured is printed" {
		t.Fatalf("error %v; on stderr %s", err, log)
	}
	var r headsReport
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil || len(r.Damage) != 1 || len(r.Damage[0]) != 8 || r.Scores != nil || r.Path != "" || r.All < 1 {
		t.Errorf("%v in %s", err, out.String())
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "of before" {
		t.Errorf("the earlier file is %q, error %v", text, err)
	}
	if _, err := os.Stat(path + ".partial"); err == nil {
		t.Error("a part of a file is left")
	}
}
