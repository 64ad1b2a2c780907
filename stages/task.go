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
	Name      string       `yaml:"name" default:"niah_single" enum:"niah_single,niah_multikey,niah_multivalue,niah_multiquery,vt,cwe,fwe,qa" doc:"The task, by RULER's names: a fact in a long text (niah_single), one among others of its kind (niah_multikey), several values or several facts (niah_multivalue, niah_multiquery), variable tracking (vt), common and frequent words (cwe, fwe), or a question about a paragraph of a file (qa)." example:"qa"`
	Tokens    config.Count `yaml:"tokens" default:"4Ki" min:"1" unit:"tokens" doc:"Length of each text, without the question, within 1%." example:"16Ki"`
	Depth     float64      `yaml:"depth" default:"0.5" min:"0" max:"1" doc:"Where the fact stands, 0 for the beginning and 1 for the end; tasks with several facts spread them." example:"0.25"`
	Samples   config.Count `yaml:"samples" default:"10" min:"1" doc:"How many texts, each with a question of its own." example:"100"`
	Seed      int64        `yaml:"seed" default:"1" min:"0" doc:"Seed of the first text; the others have those that follow. The same seed gives the same texts." example:"7"`
	Questions string       `yaml:"questions" default:"" doc:"For qa, a file in SQuAD's format." example:"dev-v1.1.json"`
}

// Check refuses qa without questions, and questions without qa.
func (o *taskOptions) Check() []config.OptionError {
	switch {
	case o.Name == "qa" && o.Questions == "":
		return []config.OptionError{{Option: "questions", What: "is empty", Want: "a file in SQuAD's format, which name: qa needs"}}
	case o.Name != "qa" && o.Questions != "":
		return []config.OptionError{{Option: "questions", What: "is for name: qa alone", Want: "no questions"}}
	}
	return nil
}

// task makes documents whose right answers are known.
type task struct {
	options   *taskOptions
	task      eval.Task
	generator *eval.Generator
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
	if o.Questions != "" {
		var err error
		if t.generator.QA, err = eval.ReadQA(o.Questions); err != nil {
			return nil, fmt.Errorf("option questions: %w", err)
		}
	}
	return t, nil
}

// Produce makes the samples one by one. A text that is too short for the task
// goes to the dead letters.
func (t *task) Produce(ctx context.Context, emit func(*Document) error) error {
	for i := range int(t.options.Samples) {
		seed := uint64(t.options.Seed) + uint64(i)
		id := fmt.Sprintf("%s-%d", t.task.Name, seed)
		s, err := t.generator.Sample(t.task, int(t.options.Tokens), t.options.Depth, seed)
		switch {
		case errors.Is(err, eval.ErrShort):
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

// document is a sample with what grades its answer.
func (t *task) document(id string, s eval.Sample) *Document {
	return &Document{ID: id, Text: s.Text, Question: s.Question, Grade: func(answer string) *Grade {
		return &Grade{Expected: s.Expected, Score: eval.Score(t.task, answer, s.Expected)}
	}}
}
