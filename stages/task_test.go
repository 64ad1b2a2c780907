package stages

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headinfer/config"
	"headinfer/eval"
	"headinfer/model/tokenizer"
)

// TestTaskNames holds the option's words to the tasks that there are.
func TestTaskNames(t *testing.T) {
	for _, f := range config.Fields(new(taskOptions)) {
		words := strings.FieldsFunc(f.Allowed, func(r rune) bool { return r == ',' || r == ' ' })
		words = slices.DeleteFunc(words, func(w string) bool { return w == "or" })
		if f.Name == "name" && !slices.Equal(words, eval.Names()) {
			t.Errorf("the option lists %q, there are %q", words, eval.Names())
		}
	}
}

const taskFile = `
model:  { path: builtin }
device: { kind: cpu }
documents:
  - task:            { name: niah_multikey, tokens: 700, depth: 0.3, samples: 3, seed: 5 }
  - tokenize:        { prompt: "{{.Text}}\n\nQuestion: {{.Question}}", chat: true }
  - chunked-prefill
  - decode
  - jsonl:           { path: %q }
heads: [prefetch, attention, offload]
`

// TestTask runs an evaluation as a pipeline: texts of the asked length, and
// answers with their grades in the output.
func TestTask(t *testing.T) {
	path := filepath.Join(t.TempDir(), "answers.jsonl")
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	quoted, _ := json.Marshal(path)
	p, err := config.Load("task.yaml", []byte(strings.Replace(taskFile, "%q", string(quoted), 1)), registry, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	documents, _, err := Graphs(registry, p)
	if err != nil {
		t.Fatal(err)
	}
	e, err := tryEngine(t, p, p.Model.Path)
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
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	task, _ := eval.Find("niah_multikey")
	n, sum := 0, 0.0
	for line := range strings.Lines(string(data)) {
		var a Answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		if a.Grade == nil || len(a.Expected) != 1 || a.Score != eval.Score(task, a.Answer, a.Expected) || a.ID != "niah_multikey-"+string(rune('5'+n)) {
			t.Errorf("answer %s", line)
		}
		n, sum = n+1, sum+a.Score
	}
	if n != 3 || sum < 2 {
		t.Errorf("%d answers, of which %g are right", n, sum)
	}
}

// TestTaskDocuments looks at the texts, and at one that is too short.
func TestTaskDocuments(t *testing.T) {
	p := load(t, "adaptive", "device.kind=cpu")
	e, err := tryEngine(t, p, tinyLlama)
	if err != nil {
		t.Fatal(err)
	}
	source, err := newTask(e, &taskOptions{Name: "vt", Tokens: 3001, Samples: 2, Seed: 9})
	if err != nil {
		t.Fatal(err)
	}
	var all []*Document
	if err := source.Produce(t.Context(), func(d *Document) error { all = append(all, d); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].Text == all[1].Text {
		t.Fatalf("%d documents", len(all))
	}
	for _, d := range all {
		ids, err := e.Checkpoint.Tokenizer.Encode(d.Text, tokenizer.EncodeOptions{})
		if err != nil || math.Abs(float64(len(ids)-3001)) > 30 {
			t.Errorf("%d tokens, %v", len(ids), err)
		}
		if g := d.Grade("nothing"); g.Score != 0 || len(g.Expected) != 5 {
			t.Errorf("grade %+v", g)
		}
	}
	if _, err := newTask(e, &taskOptions{Name: "qa", Data: filepath.Join(t.TempDir(), "none")}); err == nil || !strings.HasPrefix(err.Error(), "option data: ") {
		t.Errorf("error %v", err)
	}
	for _, o := range []*taskOptions{{Name: "qa"}, {Name: "vt", Data: "x"}, {Name: "scbench_kv"}} {
		if bad := o.Check(); len(bad) != 1 || bad[0].Option != "data" {
			t.Errorf("%+v: %+v", o, bad)
		}
	}
	if bad := (&taskOptions{Name: "longbench-v2", Data: "x"}).Check(); bad != nil {
		t.Errorf("%+v", bad)
	}
}

// TestTaskGiven takes the questions of a file, and leaves out the text that is too long.
func TestTaskGiven(t *testing.T) {
	p := load(t, "adaptive", "device.kind=cpu")
	e, err := tryEngine(t, p, tinyLlama)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "scbench_qa_eng.jsonl")
	turns := `"multi_turns": [{"input": "Who?", "answer": "Tam"}, {"input": "Where?", "answer": "Orrin"}]}` + "\n"
	file := `{"context": "Tam lives at Orrin.", ` + turns + `{"context": "` + strings.Repeat("word ", 300) + `", ` + turns
	if err := os.WriteFile(path, []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	source, err := newTask(e, &taskOptions{Name: "scbench_qa_eng", Tokens: 100, Samples: 3, Data: path})
	if err != nil {
		t.Fatal(err)
	}
	var all []*Document
	emit := func(d *Document) error { all = append(all, d); return nil }
	if err := source.Produce(t.Context(), emit); err == nil || !strings.Contains(err.Error(), `document "scbench_qa_eng, record 2, turn 1": the text is too long: `) {
		t.Errorf("without dead letters: %v", err)
	}
	if len(all) != 2 || all[1].ID != "scbench_qa_eng, record 1, turn 2" || all[0].Text != "Tam lives at Orrin." {
		t.Fatalf("documents %+v", all)
	}
	if g := all[1].Grade("At orrin."); g.Score != 1 || !slices.Equal(g.Expected, []string{"Orrin"}) {
		t.Errorf("grade %+v", g)
	}
	if _, err := newTask(e, &taskOptions{Name: "scbench_kv", Data: path + "x"}); err == nil || !strings.HasPrefix(err.Error(), "option data: scbench_kv: ") {
		t.Errorf("error %v", err)
	}
}
