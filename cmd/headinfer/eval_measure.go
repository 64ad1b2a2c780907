package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"headinfer/eval"
	"headinfer/kernels"
	"headinfer/stages"
)

// measureMethod asks a method everything, with its model loaded once, and adds
// to the report. Of what does not fit in memory only the reason is noted.
func (o *evalOptions) measureMethod(ctx context.Context, m evalMethod, cases []evalCase, report *evalReport, out *evalOutput, log zerolog.Logger) (err error) {
	report.Methods = append(report.Methods, evalMethodName{Name: m.name, Lossy: m.lossy})
	dev, err := openDevice(m.Device, log)
	if err != nil {
		return err
	}
	report.Device = dev.Info().Name
	engine, done, err := startEngine(m.pipeline, dev, log)
	short, tooLong := "", 0 // why no more is tried, from which length on
	if errors.Is(err, kernels.ErrBudget) {
		short, err = err.Error(), nil
	}
	if err != nil {
		return err
	}
	if engine != nil {
		defer func() { err = errors.Join(err, done()) }()
		report.Model, report.Random = engine.Checkpoint.Config.Name, engine.Checkpoint.Random
		report.lossy(engine.Report().Lossy)
	}
	trimmed := 0 // the length that memory was made free for
	for i := range cases {
		c := &cases[i]
		cell := newEvalCell(m.name, c, i)
		switch {
		case c.err != nil:
			cell.Error = c.err.Error()
		case short != "" && c.promptOf(0) >= tooLong:
			cell.Error = short
		default:
			if c.tokens != trimmed {
				engine.Trim()
				trimmed = c.tokens
			}
			err = o.measureCase(ctx, m, engine, c, &cell, out)
		}
		if err != nil {
			if ctx.Err() == nil && dev.Err() == nil {
				cell.Error = err.Error()
			}
			if isShort(err) {
				tooLong = c.promptOf(cell.Samples)
				short = fmt.Sprintf("not tried: %d tokens did not fit", tooLong)
			}
		}
		if cell.Samples > 0 || cell.Error != "" {
			report.Cells = append(report.Cells, cell)
			logCell(log, cell)
		}
		if err != nil && (ctx.Err() != nil || dev.Err() != nil || errors.Is(err, errEvalOutput)) {
			return err
		}
		err = nil
	}
	return nil
}

// measureCase asks the samples of a case and fills its cell in.
func (o *evalOptions) measureCase(ctx context.Context, m evalMethod, e *stages.Engine, c *evalCase, cell *evalCell, out *evalOutput) error {
	total, start := 0.0, time.Now()
	for i := range c.samples {
		s := &c.samples[i]
		asked := time.Now()
		id := fmt.Sprintf("%s at %d tokens, sample %d", s.Task, s.Tokens, i)
		answer, err := askOf[*stages.Answer](ctx, m.tasks[s.Task], e, &stages.Document{ID: id, Text: s.Text, Question: s.Question})
		if err != nil {
			return err
		}
		r := evalRecord{
			Method: m.name, Task: s.Task, ID: s.ID, Tokens: s.Tokens, PromptTokens: answer.PromptTokens, Seed: s.Seed,
			Question: s.Question, Expected: s.Expected, Answer: answer.Answer, Stop: answer.Stop, AnswerTokens: answer.AnswerTokens,
			Score: eval.Score(c.task, answer.Answer, s.Expected), Seconds: time.Since(asked).Seconds(),
		}
		if c.task.Depth {
			r.Depth = &s.Depth
		}
		if c.task.Words {
			f1 := eval.F1(r.Answer, r.Expected)
			r.F1 = &f1
		}
		if err := out.add(r); err != nil {
			return err
		}
		total += r.Score
		cell.Samples++
		cell.count(r, s.Groups)
		cell.answers = append(cell.answers, r.Answer)
		cell.scores = append(cell.scores, r.Score)
		cell.Score = total / float64(cell.Samples)
		cell.Seconds = time.Since(start).Seconds()
	}
	return nil
}

// logCell tells a person who waits how far the evaluation is.
func logCell(log zerolog.Logger, c evalCell) {
	e := log.Info().Str("method", c.Method).Str("task", c.Task).Int("tokens", c.Tokens)
	if c.Error != "" {
		e.Str("error", c.Error).Msg("not measured")
		return
	}
	e.Int("samples", c.Samples).Float64("score", c.Score).Float64("s", c.Seconds).Msg("measured")
}
