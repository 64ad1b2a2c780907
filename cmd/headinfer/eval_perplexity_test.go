package main

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"headinfer/eval"
	"headinfer/model"
)

// runPerplexity runs the verb and reads what it prints with --json, and what it
// wrote.
func runPerplexity(t *testing.T, args ...string) (r forcedReport, lines []forcedRecord) {
	t.Helper()
	dir := t.TempDir()
	stdout, stderr, code := headinfer(t, dir, append([]string{"eval", "--task", "perplexity", "--json", "--device", "cpu", "--out", "out"}, args...)...)
	if code != 0 {
		t.Fatalf("%q: exit code %d: %s", args, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%q: %v in %s", args, err, stdout)
	}
	data, err := os.ReadFile(filepath.Join(dir, "out", "samples.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var one forcedRecord
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		lines = append(lines, one)
	}
	return r, lines
}

// TestPerplexity has rows that are the means of their texts, and the second
// method's beside the first's.
func TestPerplexity(t *testing.T) {
	t.Parallel()
	r, lines := runPerplexity(t, "--method", "adaptive,layer-wise", "--context", "400,300", "--forced", "40", "--samples", "2")
	if len(r.Rows) != 4 || len(lines) != 8 || r.Model != "builtin" || r.Forced != 40 || len(r.Methods) != 2 {
		t.Fatalf("%d rows, %d texts of %d tokens of %s", len(r.Rows), len(lines), r.Forced, r.Model)
	}
	for i, row := range r.Rows {
		if row.Texts != 2 || row.ForcedTokens != 80 || row.AnswerTokens < 15 || row.AnswerTokens > 65 || row.Error != "" || row.Seconds <= 0 ||
			row.Method != r.Methods[i/2].Name || row.Tokens != []int{300, 400}[i%2] || (row.Against != nil) != (i >= 2) {
			t.Errorf("row %d is %+v", i, row)
		}
		loss := 0.0
		for _, l := range lines[2*i : 2*i+2] {
			if l.Method != row.Method || l.Tokens != row.Tokens || l.TextTokens*100 < row.Tokens*99 || l.TextTokens*100 > row.Tokens*101 || l.ForcedTokens != 40 {
				t.Errorf("text %+v", l)
			}
			loss += math.Log(*l.Perplexity) / 2
		}
		if d := loss - math.Log(*row.Perplexity); math.Abs(d) > 1e-9 {
			t.Errorf("%+v: the texts' mean loss is %g more", row, d)
		}
		// The built-in model finds what it is asked for.
		if *row.AnswerPerplexity > 1.5 || *row.AnswerPerplexity >= *row.Perplexity {
			t.Errorf("%s: perplexity %g of answers, %g of all", row.Method, *row.AnswerPerplexity, *row.Perplexity)
		}
	}
}

// TestPerplexityShowsWhatIsLost measures the same model with tiles of other
// shapes, which lose nothing, and with a window.
func TestPerplexityShowsWhatIsLost(t *testing.T) {
	t.Parallel()
	seed := random(t).Uint64()
	file, err := createEvalOutput(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	run := forcedRun{report: &forcedReport{}, file: file, compares: true, log: zerolog.Nop()}
	task, _ := eval.Find(forcedTask)
	for i, sets := range [][]string{
		nil,
		{"heads.attention.span=67", "heads.attention.group=3", "documents.chunked-prefill.chunk=111"},
		{"heads.attention.recent=64", "documents.chunked-prefill.chunk=64"},
	} {
		o := evalOptions{overrides: overrides{sets: sets, device: "cpu"}, tasks: []eval.Task{task}, forcedOptions: forcedOptions{forced: 110}}
		m, err := o.loadTasks("adaptive", false)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			checkpoint := openBuiltin(t)
			text, err := o.forcedText(checkpoint, 600, seed)
			if err != nil {
				t.Fatal(err)
			}
			run.texts = []forcedText{text}
		}
		if err := run.measure(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.samples.Close(); err != nil {
		t.Error(err)
	}
	methods, rows := run.report.Methods, run.report.Rows
	if len(rows) != 3 || len(methods[0].Lossy)+len(methods[1].Lossy) != 0 || len(methods[2].Lossy) == 0 {
		t.Fatalf("%+v of %+v", rows, methods)
	}
	whole, tiles, window := rows[0], rows[1], rows[2]
	if a := tiles.Against; a.Divergence > 1e-6 || *a.LogitError > 1e-4 || *a.LogitError == 0 || a.SameToken != 1 || math.Abs(*tiles.Perplexity / *whole.Perplexity - 1) > 1e-5 {
		t.Errorf("tiles lose: %+v beside %+v", a, whole)
	}
	if a := window.Against; a.Divergence < 0.01 || *a.LogitError < 0.1 || a.SameToken == 1 || *window.AnswerPerplexity < 1.1**whole.AnswerPerplexity {
		t.Errorf("a window loses nothing: %+v beside %+v", a, whole)
	}
}

// openBuiltin opens the built-in model for as long as the test runs.
func openBuiltin(t *testing.T) *model.Checkpoint {
	t.Helper()
	checkpoint, err := model.Open("builtin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := checkpoint.Close(); err != nil {
			t.Error(err)
		}
	})
	return checkpoint
}

// TestOneMethodKeepsNothing keeps logits only to compare with.
func TestOneMethodKeepsNothing(t *testing.T) {
	t.Parallel()
	checkpoint := openBuiltin(t)
	for _, compares := range []bool{false, true} {
		file, err := createEvalOutput(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		task, _ := eval.Find(forcedTask)
		o := evalOptions{overrides: overrides{device: "cpu"}, tasks: []eval.Task{task}, forcedOptions: forcedOptions{forced: 3}}
		m, err := o.loadTasks("adaptive", false)
		if err != nil {
			t.Fatal(err)
		}
		text, err := o.forcedText(checkpoint, 300, 1)
		if err != nil {
			t.Fatal(err)
		}
		run := forcedRun{texts: []forcedText{text}, report: &forcedReport{}, file: file, compares: compares, log: zerolog.Nop()}
		if err := errors.Join(run.measure(t.Context(), m), file.samples.Close()); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: 3}[compares]; len(run.first[0]) != want || run.report.Rows[0].ForcedTokens != 3 {
			t.Errorf("comparing is %v: logits of %d steps are kept; %+v", compares, len(run.first[0]), run.report.Rows)
		}
	}
}

// TestPerplexityWithoutRoom has a reason where there are no figures.
func TestPerplexityWithoutRoom(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := headinfer(t, t.TempDir(), "eval", "--task", "perplexity", "--model", "random:tiny", "--device", "cpu", "--device-memory", "16MiB",
		"--method", "standard,tiled", "--context", "90,600,9k", "--samples", "1", "--forced", "4")
	for _, want := range []string{
		"standard at 90 tokens: eval: task niah_multiquery: too few tokens", "standard at 9000 tokens: ", "is left",
		"divergence, logit error and same token: beside standard\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, printed %s\nwithout %q; on stderr %s", code, stdout, want, stderr)
		}
	}
	if code != 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// TestPerplexityMistakes ends with the exit code of usage.
func TestPerplexityMistakes(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"--task perplexity is measured by itself; ": {"--task", "perplexity,vt"},
		"--forced is 0; expected 1 or more":         {"--task", "perplexity", "--forced", "0"},
		"makes its own texts; leave --data out":     {"--task", "perplexity", "--data", "qa=nowhere.json"},
		`no method "adaptiv"`:                       {"--task", "perplexity", "--method", "adaptiv"},
		"nothing at \"nowhere\"":                    {"--task", "perplexity", "--model", "nowhere"},
		"--context: a prompt of 0 tokens":           {"--task", "perplexity", "--context", "0"},
	} {
		stdout, stderr, code := headinfer(t, t.TempDir(), append([]string{"eval"}, args...)...)
		if code != exitUsage || !strings.Contains(stderr, want) || stdout != "" {
			t.Errorf("%q: exit code %d, %q on stdout, on stderr %s", args, code, stdout, stderr)
		}
	}
}

// TestForcedText has facts, then questions and the answers that the text gives.
func TestForcedText(t *testing.T) {
	r := random(t)
	checkpoint := openBuiltin(t)
	task, _ := eval.Find(forcedTask)
	for range 5 {
		o := evalOptions{tasks: []eval.Task{task}, forcedOptions: forcedOptions{forced: 1 + r.IntN(200)}}
		tokens, seed := 500+r.IntN(2000), r.Uint64()
		text, err := o.forcedText(checkpoint, tokens, seed)
		if err != nil {
			t.Fatalf("%d tokens of which %d forced, seed %d: %v", tokens, o.forced, seed, err)
		}
		if n := len(text.ids); n*100 < tokens*99 || n*100 > tokens*101 || len(text.answer) != o.forced {
			t.Errorf("%d tokens with %d forced; asked for %d with %d", n, len(text.answer), tokens, o.forced)
		}
		again, err := o.forcedText(checkpoint, tokens, seed)
		if err != nil || !slices.Equal(again.ids, text.ids) {
			t.Errorf("the same again is another text; error %v", err)
		}
		ids, forced := text.split()
		read := checkpoint.Tokenizer.Decode(ids)
		if strings.Contains(read, "Question:") || !strings.HasPrefix(checkpoint.Tokenizer.Decode(forced), "\n\nQuestion: What is the "[:min(o.forced, 2)]) {
			t.Errorf("%q is read before %q", read[max(0, len(read)-40):], checkpoint.Tokenizer.Decode(forced))
		}
		// Whole answers, those marked, are sentences of what was read.
		for i := 0; i < len(forced); {
			j := i
			for j < len(forced) && text.answer[j] == text.answer[i] {
				j++
			}
			part := checkpoint.Tokenizer.Decode(forced[i:j])
			whole := j < len(forced)
			if text.answer[i] && whole && !strings.Contains(read, strings.TrimPrefix(part, " ")) {
				t.Errorf("%q is an answer that the text does not give", part)
			}
			if !text.answer[i] && whole && !(strings.HasPrefix(part, "\n\nQuestion: What is the ") && strings.HasSuffix(part, "?\nAnswer:")) {
				t.Errorf("%q is no question", part)
			}
			i = j
		}
	}
}

// TestPairs says what is missing in a text.
func TestPairs(t *testing.T) {
	got, err := pairs(eval.Sample{Text: "A title\n\nThe pin of the inn is 71234. It rained.\" The old code of it is 1.", Expected: []string{"1", "71234"}})
	want := []pair{{"What is the old code of it?", "The old code of it is 1."}, {"What is the pin of the inn?", "The pin of the inn is 71234."}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, error %v", got, err)
	}
	for text, want := range map[string]string{"The pin is 6.": "no sentence of the text says that something is 5", "It rained. is 5.": "says of nothing"} {
		if _, err := pairs(eval.Sample{Task: "niah", Text: text, Expected: []string{"5"}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v; expected %q", text, err, want)
		}
	}
}

// TestForcedMath compares with figures worked out by hand, and with sums over
// probabilities.
func TestForcedMath(t *testing.T) {
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-5*(1+math.Abs(want)) {
			t.Errorf("%s is %g; expected %g", what, got, want)
		}
	}
	// Probabilities 1/2, 1/4, 1/4, and 1/4, 1/2, 1/4.
	a := []float32{float32(math.Log(2)) + 300, 300, 300}
	b := []float32{-300, float32(math.Log(2)) - 300, -300}
	near("the sum's logarithm", logSum(a), 300+math.Log(4))
	near("a likely token's loss", lossOf(a, 0), math.Log(2))
	near("another's", lossOf(a, 2), math.Log(4))
	near("even odds", oddsOf(a, 0), 0)
	near("odds of one to three", oddsOf(a, 1), -math.Log(3))
	near("odds of what is all but sure", oddsOf([]float32{50, 0, 0}, 0), 50-math.Log(2))
	// 1/2·ln 2 + 1/4·ln(1/2) = 1/4·ln 2; float32 rounds the logits at 300.
	if got := divergence(a, b); math.Abs(got-math.Log(2)/4) > 1e-4 {
		t.Errorf("the divergence is %g; expected %g", got, math.Log(2)/4)
	}
	near("that of the same", divergence(a, a), 0)
	// The deviations are −1, 0 and 1: a variance of 2/3.
	near("the logit error", logitError([]float32{-1, 0, 1}, []float32{-1, 0.5, 0.9}), 0.5/math.Sqrt(2.0/3))
	near("that of the same", logitError([]float32{7, 7}, []float32{7, 7}), 0)
	if likeliest([]float32{1, 3, 3, 2}) != 1 {
		t.Error("the most likely token is not the first of equals")
	}
	r := random(t)
	for range 20 {
		want, got := make([]float32, 2+r.IntN(300)), []float32(nil)
		for i := range want {
			want[i] = float32(4 * r.NormFloat64())
			got = append(got, want[i]+float32(r.NormFloat64()))
		}
		share := func(logits []float32) []float64 {
			var p []float64
			sum := 0.0
			for _, l := range logits {
				p = append(p, math.Exp(float64(l)))
				sum += p[len(p)-1]
			}
			for i := range p {
				p[i] /= sum
			}
			return p
		}
		p, q := share(want), share(got)
		kl := 0.0
		for i := range p {
			kl += p[i] * math.Log(p[i]/q[i])
		}
		token := r.Int32N(int32(len(want)))
		near("the divergence", divergence(want, got), kl)
		near("the loss", lossOf(want, token), -math.Log(p[token]))
		near("the odds", oddsOf(want, token), math.Log(p[token]/(1-p[token])))
	}
}

// TestForcedSums adds up texts, and has no figure where there is none.
func TestForcedSums(t *testing.T) {
	var all, one forcedSums
	if f := all.figures(); f.Perplexity != nil || f.AnswerPerplexity != nil || f.Against != nil {
		t.Errorf("figures of nothing: %+v", f)
	}
	even, sure := []float32{0, 0}, []float32{80, 0}
	if err := errors.Join(one.step(1, false, even, nil), one.step(0, true, sure, even)); err != nil {
		t.Fatal(err)
	}
	all.add(one)
	all.add(one)
	f := all.figures()
	if f.ForcedTokens != 4 || f.AnswerTokens != 2 || math.Abs(*f.Perplexity-math.Sqrt2) > 1e-9 || math.Abs(*f.AnswerPerplexity-1) > 1e-9 {
		t.Errorf("%+v, perplexity %g, of answers %g", f, *f.Perplexity, *f.AnswerPerplexity)
	}
	// There is no standard deviation in even logits.
	if a := f.Against; a == nil || a.LogitError != nil || a.SameToken != 1 || math.Abs(a.Divergence-(40-math.Ln2)) > 1e-9 {
		t.Errorf("%+v", a)
	}
	all.loss = math.Inf(1)
	if f := all.figures(); f.Perplexity != nil {
		t.Error("a perplexity that JSON cannot write")
	}
	for _, broken := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		before := one
		if err := one.step(0, true, []float32{1, float32(broken)}, sure); !errors.Is(err, errNotFinite) || one != before {
			t.Errorf("a logit of %g: %v, %+v", broken, err, one)
		}
	}
}

// TestForcedTable has rows by length, and dashes where nothing was measured.
func TestForcedTable(t *testing.T) {
	two, small := 2.0, 1e-7
	figures := forcedFigures{ForcedTokens: 8, Perplexity: &two, AnswerPerplexity: nil}
	against := figures
	against.Against = &forcedAgainst{Divergence: 0.5, LogitError: &small, SameToken: 0.875}
	r := forcedReport{
		Methods: []evalMethodName{{Name: "a"}, {Name: "b", Lossy: []string{"much"}}},
		Rows: []forcedRow{
			{Method: "a", Tokens: 10, Texts: 1, forcedFigures: figures}, {Method: "a", Tokens: 20, Error: "no room"},
			{Method: "b", Tokens: 10, Texts: 1, forcedFigures: against},
		},
	}
	var out strings.Builder
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"a 10 1 8 2.0000 — — — — b 10 1 8 2.0000 — 0.500 1.00e-07 87.5 a 20 0 0 — — — — — divergence, logit error and same token: beside a",
		"b is lossy: much", "a at 20 tokens: no room",
	} {
		if got := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(got, want) {
			t.Errorf("printed %s\nwithout %q", out.String(), want)
		}
	}
}
