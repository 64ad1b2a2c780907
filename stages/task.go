package stages

import (
	"context"
	"errors"
	"fmt"

	"headinfer/config"
	"headinfer/eval"
	"headinfer/graph"
	"headinfer/model/tokenizer"
)

type taskOptions struct {
	Name    string       `yaml:"name" default:"niah_single" enum:"niah_single,niah_multikey,niah_multivalue,niah_multiquery,vt,cwe,fwe,qa,longbench-v2,scbench_kv,scbench_prefix_suffix,scbench_vt,scbench_qa_eng,scbench_qa_chn,scbench_choice_eng,scbench_many_shot" doc:"The task. By RULER's names: a fact in a long text (niah_single), one among others of its kind (niah_multikey), several values or several facts (niah_multivalue, niah_multiquery), variable tracking (vt), common and frequent words (cwe, fwe), or a question about a paragraph of a file (qa). Or a benchmark's questions from its file: longbench-v2, or one of SCBench, whose turns become questions of their own." example:"qa"`
	Tokens  config.Count `yaml:"tokens" default:"4Ki" min:"1" unit:"tokens" doc:"Length of each text, without the question, within 1%. A benchmark's text that is longer goes to the dead letters." example:"16Ki"`
	Depth   float64      `yaml:"depth" default:"0.5" min:"0" max:"1" doc:"Where the fact stands, 0 for the beginning and 1 for the end; tasks with several facts spread them." example:"0.25"`
	Samples config.Count `yaml:"samples" default:"10" min:"1" doc:"How many texts, each with a question of its own; of a benchmark, how many questions from its file's beginning." example:"100"`
	Seed    int64        `yaml:"seed" default:"1" min:"0" doc:"Seed of the first text; the others have those that follow. The same seed gives the same texts." example:"7"`
	Data    string       `yaml:"data" default:"" doc:"The file of qa (SQuAD's format), longbench-v2 or SCBench: JSON, an array or a record a line." example:"dev-v1.1.json"`
}

// Check refuses a task without the file that it needs, and a file for one that needs none.
func (o *taskOptions) Check() []config.OptionError {
	switch t, _ := eval.Find(o.Name); {
	case t.Data != "" && o.Data == "":
		return []config.OptionError{{Option: "data", What: "is empty", Want: t.Data + ", which name: " + o.Name + " needs"}}
	case t.Data == "" && o.Data != "":
		return []config.OptionError{{Option: "data", What: "is for tasks that need a file", Want: "no data with name: " + o.Name}}
	}
	return nil
}

// task makes or reads documents whose right answers are known.
type task struct {
	options   *taskOptions
	task      eval.Task
	generator *eval.Generator
	given     []eval.Sample
}

func newTask(e *Engine, o *taskOptions) (graph.Source[*Document], error) {
	t := &task{options: o, generator: &eval.Generator{
		Count: func(text string) int {
			// Texts of words and figures can be read by every tokenizer; what cannot be is refused by tokenize.
			ids, _ := e.Checkpoint.Tokenizer.Encode(text, tokenizer.EncodeOptions{})
			return len(ids)
		},
	}}
	var ok bool
	if t.task, ok = eval.Find(o.Name); !ok {
		return nil, fmt.Errorf("option name: no task %q", o.Name)
	}
	var err error
	switch {
	case t.task.Given():
		t.given, err = eval.Read(t.task, o.Data)
	case o.Data != "":
		t.generator.QA, err = eval.ReadQA(o.Data)
	}
	if err != nil {
		return nil, fmt.Errorf("option data: %w", err)
	}
	return t, nil
}

// Produce makes the samples one by one, or takes those of the file. A text that is too short for the task, or too
// long, goes to the dead letters.
func (t *task) Produce(ctx context.Context, emit func(*Document) error) error {
	count := int(t.options.Samples)
	if t.task.Given() {
		count = min(count, len(t.given))
	}
	for i := range count {
		id, s, err := t.sample(i)
		switch {
		case errors.Is(err, eval.ErrShort), errors.Is(err, errLongText):
			err = graph.Drop(ctx, &graph.DocumentError{ID: id, Err: err})
		case err == nil:
			err = emit(t.document(id, s))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errLongText says that a text of a file takes more tokens than were allowed.
var errLongText = errors.New("the text is too long")

func (t *task) sample(i int) (id string, s eval.Sample, err error) {
	tokens := int(t.options.Tokens)
	if !t.task.Given() {
		seed := uint64(t.options.Seed) + uint64(i)
		s, err = t.generator.Sample(t.task, tokens, t.options.Depth, seed)
		return fmt.Sprintf("%s-%d", t.task.Name, seed), s, err
	}
	s = t.given[i]
	if n := t.generator.Count(s.Text); n > tokens {
		err = fmt.Errorf("%w: %d tokens, and tokens allows %d", errLongText, n, tokens)
	}
	return t.task.Name + ", " + s.ID, s, err
}

// document is a sample with what grades its answer.
func (t *task) document(id string, s eval.Sample) *Document {
	return &Document{ID: id, Text: s.Text, Question: s.Question, Grade: func(answer string) *Grade {
		return &Grade{Expected: s.Expected, Score: eval.Score(t.task, answer, s.Expected)}
	}}
}
