package stages

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"headinfer/config"
	"headinfer/transfer"
)

// TestBranchesAnswerAsIfAlone continues one text in three ways, all in the same
// passes, and compares each with a text of its own.
func TestBranchesAnswerAsIfAlone(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for i, c := range []struct{ method, model string }{
		{"standard", tinyLlama}, {"layer-wise", tinyLlama}, {"headinfer-1", tinyLlama}, {"tiled", tinyLlama}, {"adaptive", tinyLlama},
		{"int8", "random:tiny"}, {"int4", "random:tiny"},
		{"standard", architecture(t, "mistral")}, {"tiled", architecture(t, "gemma3")}, {"headinfer-1", architecture(t, "gemma2")},
	} {
		t.Run(fmt.Sprint(i, " ", c.method), func(t *testing.T) {
			e := openMethod(t, c.method, c.model, small[c.method]...)
			ids := func(n int) []int32 {
				out := make([]int32, n)
				for i := range out {
					out[i] = r.Int32N(int32(min(e.Checkpoint.Config.Vocab, 256)))
				}
				return out
			}
			const steps = 3
			shared, tails := ids(90+r.IntN(20)), [][]int32{ids(1), ids(17), ids(5)}
			var want [][]float32
			for _, tail := range tails {
				want = append(want, alone(t, e, slices.Concat(shared, tail), steps)...)
			}
			e.slots = make(chan struct{}, 4)
			base := admit(t, e)
			if _, err := base.Prefill(t.Context(), shared, 30, 0); err != nil {
				t.Fatal(err)
			}
			var batch []reading
			for i, tail := range tails {
				if _, err := e.enter(t.Context(), false); err != nil {
					t.Fatal(err)
				}
				branch, err := base.branch(fmt.Sprint(i), len(tail), steps, len(tail))
				if err != nil {
					t.Fatal(err)
				}
				defer branch.Release()
				batch = append(batch, reading{branch, tail})
			}
			base.Release() // its memory stays for the branches
			for i := range steps + 1 {
				logits, err := e.read(t.Context(), transfer.Decode, batch, true)
				if err != nil {
					t.Fatal(err)
				}
				for j := range batch {
					// A cache in codes rounds what a branch keeps as it is.
					bound := map[string]float64{"int8": 0.05, "int4": 0.5}[c.method] + tolerance
					if d := distance(logits[j], wide(want[j*(steps+1)+i])); d > bound {
						t.Errorf("branch %d, after step %d: off by %g", j, i, d)
					}
					batch[j].tokens = []int32{int32(i + 1)}
				}
			}
		})
	}
}

// alone returns the logits after a prompt and after each of some steps.
func alone(t *testing.T, e *Engine, prompt []int32, steps int) [][]float32 {
	t.Helper()
	text := admit(t, e)
	defer text.Release()
	logits, err := text.Prefill(t.Context(), prompt, 0, steps)
	if err != nil {
		t.Fatal(err)
	}
	all := [][]float32{logits}
	for i := range steps {
		if logits, err = text.Step(t.Context(), int32(i+1)); err != nil {
			t.Fatal(err)
		}
		all = append(all, logits)
	}
	return all
}

// ask runs a pipeline's documents level over records, and returns the answers by id.
func ask(t *testing.T, p *config.Pipeline, path string, records []map[string]any) map[string]string {
	t.Helper()
	got, _ := askIn(t, p, path, records)
	return got
}

// askIn also returns the most device memory that it took.
func askIn(t *testing.T, p *config.Pipeline, path string, records []map[string]any) (map[string]string, int64) {
	t.Helper()
	var in bytes.Buffer
	for _, record := range records {
		if err := json.NewEncoder(&in).Encode(record); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	questions, answers := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	if err := os.WriteFile(questions, in.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	p = withEnds(t, p, questions, answers)
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	documents, _, err := Graphs(registry, p)
	if err != nil {
		t.Fatal(err)
	}
	e, err := tryEngine(t, p, path)
	if err != nil {
		t.Fatal(err)
	}
	run, err := documents.Build(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(answers)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var a Answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		if _, twice := got[a.ID]; twice {
			t.Errorf("two answers have the id %s", a.ID)
		}
		got[a.ID] = a.Answer
	}
	if n := e.InFlight(); n != 0 {
		t.Errorf("%d texts are still in flight", n)
	}
	if n := len(e.slots); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
	return got, e.Device.Ledger().Usage().Peak
}

// withEnds is a pipeline with another source and sink.
func withEnds(t *testing.T, p *config.Pipeline, in, out string) *config.Pipeline {
	t.Helper()
	text := fmt.Sprintf(`model: { path: builtin }
device: { kind: cpu, memory: %d }
documents:
  - read-jsonl: { path: %q }
  - tokenize: { prompt: "{{.Text}} {{.Question}}" }
  - chunked-prefill: { chunk: 64 }
  - decode: { max_tokens: 7 }
  - jsonl: { path: %q }
`, int64(p.Device.Memory), in, out)
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pipeline.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ends, err := config.LoadFile(file, registry, nil)
	if err != nil {
		t.Fatal(err)
	}
	ends.Heads = p.Heads
	for _, entry := range ends.Documents {
		if o, ok := entry.Options.(*prefillOptions); ok {
			for _, old := range p.Documents {
				if was, ok := old.Options.(*prefillOptions); ok {
					o.Batch = was.Batch
				}
			}
		}
	}
	return ends
}

// TestBatchesAnswerAsOneByOne asks several questions about texts of many lengths,
// and the same one by one.
func TestBatchesAnswerAsOneByOne(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	words := strings.Fields("the a tower river king stone walks under over quietly red seven lamp and of in")
	text := func(n int) string {
		var out []string
		for range n {
			out = append(out, words[r.IntN(len(words))])
		}
		return strings.Join(out, " ")
	}
	var together, apart []map[string]any
	for i := range 14 {
		id, body := fmt.Sprint("doc", i), text(1+r.IntN(150))
		if i%3 > 0 {
			record := map[string]any{"id": id, "text": body, "question": text(3)}
			together, apart = append(together, record), append(apart, record)
			continue
		}
		var questions []string
		for j := range 1 + r.IntN(6) {
			questions = append(questions, text(1+r.IntN(12)))
			apart = append(apart, map[string]any{"id": fmt.Sprintf("%s#%d", id, j+1), "text": body, "question": questions[j]})
		}
		together = append(together, map[string]any{"id": id, "text": body, "questions": questions})
	}
	for _, method := range []string{"standard", "headinfer-1", "adaptive", "tiled", "streaming-llm", "h2o"} {
		t.Run(method, func(t *testing.T) {
			sets := append([]string{"documents.chunked-prefill.batch=1"}, small[method]...)
			want := ask(t, load(t, method, sets...), tinyLlama, apart)
			for _, batch := range []int{1, 3, 16} {
				sets[0] = fmt.Sprintf("documents.chunked-prefill.batch=%d", batch)
				got := ask(t, load(t, method, sets...), tinyLlama, together)
				if len(got) != len(want) {
					t.Errorf("batch %d: %d answers, one by one %d", batch, len(got), len(want))
				}
				for id, answer := range want {
					if got[id] != answer {
						t.Errorf("batch %d, %s: %q, one by one %q", batch, id, got[id], answer)
					}
				}
			}
		})
	}
}

// TestTextsWaitForMemory runs several texts at a time in what one at a time takes at
// most, and a little more: no run may fail, and no answer change.
func TestTextsWaitForMemory(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	text := func(n int) string {
		out := make([]byte, n)
		for i := range out {
			out[i] = "abcdefgh  "[r.IntN(10)]
		}
		return string(out)
	}
	short := func(n int) (records []map[string]any) {
		for i := range n {
			records = append(records, map[string]any{"id": fmt.Sprint("short", i), "text": "x" + text(20+r.IntN(60)), "question": text(4)})
		}
		return records
	}
	asked := map[string]any{"id": "asked", "text": "x" + text(150), "questions": []string{text(5), text(9), text(14)}}
	long := map[string]any{"id": "long", "text": "x" + text(190), "question": "y"}
	for _, c := range []struct {
		name, method, model string
		records             []map[string]any
	}{
		{"on the device", "standard", tinyLlama, append(short(30), long)},
		{"on the host", "adaptive", tinyLlama, append([]map[string]any{long}, short(20)...)},
		{"questions", "headinfer-1", tinyLlama, []map[string]any{asked}},
		{"questions beside others", "headinfer-1", tinyLlama, append([]map[string]any{asked, long}, short(5)...)},
		{"others beside questions", "tiled", tinyLlama, append(short(5), asked, long)},
		{"windows", "adaptive", architecture(t, "gemma3"), append([]map[string]any{long}, short(20)...)},
		{"in codes", "int8", "random:tiny", append([]map[string]any{long}, short(10)...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := func(batch int, budget int64) []string {
				return append([]string{fmt.Sprint("documents.chunked-prefill.batch=", batch), fmt.Sprint("device.memory=", budget)}, small[c.method]...)
			}
			want, peak := askIn(t, load(t, c.method, set(1, 64<<20)...), c.model, c.records)
			for _, slack := range []int64{0, r.Int64N(5_000), r.Int64N(60_000), r.Int64N(600_000)} {
				for _, batch := range []int{2, 16} {
					got, _ := askIn(t, load(t, c.method, set(batch, peak+slack)...), c.model, c.records)
					for id, answer := range want {
						if got[id] != answer {
							t.Errorf("batch %d in %d bytes and %d: %s: %q, one by one %q", batch, peak, slack, id, got[id], answer)
						}
					}
				}
			}
		})
	}
}

// TestBatchesEndEarly cancels runs at random instants: whatever had begun gives all
// of its memory and its place back.
func TestBatchesEndEarly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var in bytes.Buffer
	for i := range 40 {
		record := map[string]any{"id": fmt.Sprint(i), "text": strings.Repeat("word ", 1+r.IntN(60)), "questions": []string{"one", "two", "three"}[:1+i%3]}
		if err := json.NewEncoder(&in).Encode(record); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	questions := filepath.Join(dir, "in.jsonl")
	if err := os.WriteFile(questions, in.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		p := withEnds(t, load(t, "adaptive"), questions, filepath.Join(dir, fmt.Sprint(i, ".jsonl")))
		documents, _, err := Graphs(registry, p)
		if err != nil {
			t.Fatal(err)
		}
		e, err := tryEngine(t, p, tinyLlama)
		if err != nil {
			t.Fatal(err)
		}
		run, err := documents.Build(e)
		if err != nil {
			t.Fatal(err)
		}
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(time.Duration(r.IntN(300))*time.Millisecond, func() { cancel(stop) })
		if err := run.Run(ctx); err != nil && !errors.Is(err, stop) {
			t.Error(err)
		}
		timer.Stop()
		cancel(nil)
		if n := e.InFlight(); n != 0 {
			t.Errorf("%d texts are still in flight", n)
		}
		if n := len(e.slots); n != 0 {
			t.Errorf("%d places are still taken", n)
		}
	}
}
