package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"headinfer/eval"
)

// evalRecord is a line of samples.jsonl.
type evalRecord struct {
	Method       string   `json:"method"`
	Task         string   `json:"task"`
	ID           string   `json:"id,omitempty"` // of a question of --data
	Tokens       int      `json:"tokens"`       // asked for, or the most that were allowed
	PromptTokens int      `json:"prompt_tokens"`
	Depth        *float64 `json:"depth"` // null for a task without
	Seed         uint64   `json:"seed"`
	Question     string   `json:"question"`
	Expected     []string `json:"expected"`
	Answer       string   `json:"answer"`
	Stop         string   `json:"stop"`
	AnswerTokens int      `json:"answer_tokens"`
	Score        float64  `json:"score"`
	F1           *float64 `json:"f1,omitempty"` // of answers in words
	Seconds      float64  `json:"seconds"`
}

// errEvalOutput says that the folder of --out could not be written.
var errEvalOutput = errors.New("writing answers")

// evalOutput is the folder of --out.
type evalOutput struct {
	dir     string
	samples *os.File
	lines   *json.Encoder
	answers []evalRecord // of tasks with a depth, without texts
}

// createEvalOutput makes the folder and an empty samples.jsonl, in place of an
// earlier one. An error is one of usage.
func createEvalOutput(dir string) (*evalOutput, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, usage(fmt.Errorf("--out: %w", err))
	}
	file, err := os.Create(filepath.Join(dir, "samples.jsonl"))
	if err != nil {
		return nil, usage(fmt.Errorf("--out: %w", err))
	}
	o := &evalOutput{dir: dir, samples: file, lines: json.NewEncoder(file)}
	o.lines.SetEscapeHTML(false)
	return o, nil
}

// discardedEval takes answers that only their scores are wanted of.
func discardedEval() *evalOutput { return &evalOutput{lines: json.NewEncoder(io.Discard)} }

// add writes an answer, whole, at once: an interrupt loses none.
func (o *evalOutput) add(r evalRecord) error {
	if err := o.line(r); err != nil {
		return err
	}
	if r.Depth != nil {
		o.answers = append(o.answers, evalRecord{Method: r.Method, Task: r.Task, Tokens: r.Tokens, Depth: r.Depth, Score: r.Score})
	}
	return nil
}

// line writes a record, whole.
func (o *evalOutput) line(r any) error {
	if err := o.lines.Encode(r); err != nil {
		return fmt.Errorf("%w: %w", errEvalOutput, err)
	}
	return nil
}

// finish closes the answers and draws the heat maps of what there is. It
// returns the files, and cause with what went wrong.
func (o *evalOutput) finish(report *evalReport, cause error) ([]string, error) {
	cause = errors.Join(cause, o.samples.Close())
	files := []string{o.samples.Name()}
	for _, m := range report.Methods {
		for _, task := range tasksWithDepth() {
			heat, any := o.heatMap(report, m.Name, task)
			if !any {
				continue
			}
			for extension, draw := range map[string]func(io.Writer) error{".svg": heat.SVG, ".png": heat.PNG} {
				path := filepath.Join(o.dir, task+"-"+m.Name+extension)
				cause = errors.Join(cause, writeFile(path, draw))
				files = append(files, path)
			}
		}
	}
	slices.Sort(files[1:])
	return files, cause
}

// heatMap gathers the scores of a method's task; any is false if there are none.
func (o *evalOutput) heatMap(report *evalReport, method, task string) (h eval.HeatMap, any bool) {
	h.Title = task + ", " + method + ", " + filepath.Base(report.Model)
	h.Depths = report.Depths
	for _, c := range report.Cells {
		if c.Task == task && !slices.Contains(h.Lengths, c.Tokens) {
			h.Lengths = append(h.Lengths, c.Tokens)
		}
	}
	slices.Sort(h.Lengths)
	for _, depth := range h.Depths {
		row := make([]float64, len(h.Lengths))
		for j, tokens := range h.Lengths {
			sum, n := 0.0, 0
			for _, r := range o.answers {
				if r.Method == method && r.Task == task && r.Tokens == tokens && *r.Depth == depth {
					sum += r.Score
					n++
				}
			}
			row[j] = math.NaN()
			if n > 0 {
				row[j], any = sum/float64(n), true
			}
		}
		h.Scores = append(h.Scores, row)
	}
	return h, any
}

// writeFile makes a file of what write writes.
func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
