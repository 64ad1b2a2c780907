package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/rs/zerolog"

	"headinfer/eval"
	"headinfer/graph"
	"headinfer/stages"
)

// headSample is a question that is answered right without a window, as tokens.
type headSample struct {
	prompt []int32
	answer []int32 // as it was given then, the end token included
	odds   float64 // sum of the log-odds of its tokens then, nats
}

// headFinder measures how much less sure answers are when heads have the window.
type headFinder struct {
	*evalOptions
	samples       []headSample
	whole         float64 // mean log-odds of the answers' tokens without a window
	layers, heads int     // heads are KV heads
	log           zerolog.Logger
}

// windowMatters is the fall of the log-odds, in nats, from which on a window for
// all heads is said to lose something.
const windowMatters = 0.1

// find measures every head and writes the file. The report is nil unless all were
// measured.
func (o *evalOptions) find(ctx context.Context, p headsPlan, log zerolog.Logger) (*headsReport, error) {
	f := &headFinder{evalOptions: o, log: log}
	if err := f.answer(ctx, p.whole, p.find); err != nil {
		return nil, err
	}
	r := &headsReport{Path: o.findHeads, Tokens: o.contexts[0], Samples: len(f.samples)}
	var err error
	if r.All, err = f.damage(ctx, p.window.pipeline); err != nil {
		return nil, err
	}
	if r.All < windowMatters {
		return nil, usage(fmt.Errorf("with the window for all heads the answers at %d tokens are no worse (%s nats), so it loses nothing that was asked for; "+
			"lower heads.attention.recent, or raise the shortest --context", r.Tokens, inNats(r.All)))
	}
	log.Info().Float64("damage", r.All).Msg("measured all heads at once")
	if r.Damage, err = f.singles(ctx); err != nil {
		return nil, err
	}
	r.Scores, r.Streaming = scoresOf(r.Damage, o.streaming)
	if err := os.WriteFile(o.findHeads, []byte(headLines(r.Scores)), 0o644); err != nil {
		return r, usage(fmt.Errorf("--find-heads: %w", err))
	}
	return r, nil
}

// singles returns the damage of each head, [layers, KV heads].
func (f *headFinder) singles(ctx context.Context) (damage [][]float64, err error) {
	dir, err := os.MkdirTemp("", "headinfer-heads-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "head.tsv")
	for layer := range f.layers {
		damage = append(damage, make([]float64, f.heads))
		for head := range f.heads {
			p, err := f.single(path, layer, head)
			if err != nil {
				return nil, err
			}
			if damage[layer][head], err = f.damage(ctx, p); err != nil {
				return nil, err
			}
		}
		f.log.Info().Int("layer", layer).Int("of", f.layers).Floats64("damage", damage[layer]).Msg("measured heads")
	}
	return damage, nil
}

// single loads the method with the window for one head alone; path is a file
// that says so until the pipeline's engine is open.
func (f *headFinder) single(path string, layer, head int) (*pipeline, error) {
	full := make([][]float64, f.layers)
	for l := range full {
		full[l] = slices.Repeat([]float64{1}, f.heads)
	}
	full[layer][head] = 0
	if err := os.WriteFile(path, []byte(headLines(full)), 0o600); err != nil {
		return nil, err
	}
	with := overrides{sets: append(slices.Clone(f.sets), streamingHeads+path), device: f.device}
	return with.loadMethod(f.methods[0])
}

// streamingHeads sets the option with the file of heads.
const streamingHeads = "heads.attention.streaming_heads="

// withEngine opens a pipeline's engine for as long as do runs.
func withEngine(p *pipeline, log zerolog.Logger, do func(*stages.Engine) error) error {
	e, done, err := openEngine(p, log)
	if err != nil {
		return err
	}
	return errors.Join(do(e), done())
}

// answer answers the cases' questions without a window and keeps those that are
// answered right.
func (f *headFinder) answer(ctx context.Context, m evalMethod, cases []evalCase) error {
	registry, err := stages.Registry()
	if err != nil {
		return err
	}
	tokenize, err := between[*stages.Prompt](registry, m.Pipeline)
	if err != nil {
		return err
	}
	asked := 0
	err = withEngine(m.pipeline, f.log, func(e *stages.Engine) error {
		f.layers, f.heads = e.Checkpoint.Config.Layers, e.Checkpoint.Config.KVHeads
		chunk := stages.ChunkOf(m.Documents, e.Device)
		for _, c := range cases {
			for _, s := range c.samples {
				asked++
				one, err := answerOf(ctx, e, tokenize, c.task, s, chunk)
				if err != nil {
					return err
				}
				if text := e.Checkpoint.Tokenizer.Decode(one.answer); eval.Score(c.task, text, s.Expected) == 1 {
					f.samples = append(f.samples, one)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(f.samples) == 0 {
		return fmt.Errorf("without a window the model answers none of %d questions right, so there is nothing to find heads by; name tasks that the model can do with --task", asked)
	}
	sum := 0.0
	for _, s := range f.samples {
		sum += s.odds
	}
	f.whole = f.perToken(sum)
	f.log.Info().Int("right", len(f.samples)).Int("of", asked).Float64("log_odds", f.whole).Msg("answered without a window")
	return nil
}

// answerOf answers a question greedily.
func answerOf(ctx context.Context, e *stages.Engine, tokenize *graph.Graph, task eval.Task, s eval.Sample, chunk int) (headSample, error) {
	prompt, err := askOf[*stages.Prompt](ctx, tokenize, e, &stages.Document{ID: s.Task, Text: s.Text, Question: s.Question})
	if err != nil {
		return headSample{}, err
	}
	one := headSample{prompt: prompt.Tokens}
	text, err := e.Admit(ctx, s.Task)
	if err != nil {
		return one, err
	}
	defer text.Release()
	logits, err := text.Prefill(ctx, one.prompt, chunk, task.AnswerTokens)
	ends := e.Checkpoint.Tokenizer.EndTokens()
	for err == nil {
		token := likeliest(logits)
		one.answer = append(one.answer, token)
		one.odds += oddsOf(logits, token)
		if slices.Contains(ends, token) || len(one.answer) == task.AnswerTokens {
			break
		}
		logits, err = text.Step(ctx, token)
	}
	return one, err
}

// perToken divides a sum over the samples' answers by their tokens.
func (f *headFinder) perToken(sum float64) float64 {
	tokens := 0
	for _, s := range f.samples {
		tokens += len(s.answer)
	}
	return sum / float64(tokens)
}

// damage is by how much the mean log-odds of the answers' tokens without a window fall
// with a pipeline's window, in nats.
func (f *headFinder) damage(ctx context.Context, p *pipeline) (float64, error) {
	sum := 0.0
	err := withEngine(p, zerolog.Nop(), func(e *stages.Engine) error {
		chunk := stages.ChunkOf(p.Documents, e.Device)
		for i, s := range f.samples {
			odds, err := forcedOdds(ctx, e, fmt.Sprintf("sample %d", i), s, chunk)
			if err != nil {
				return err
			}
			sum += odds
		}
		return nil
	})
	return f.whole - f.perToken(sum), err
}

// forcedOdds reads a prompt, is told its answer, and returns the sum of the
// answer's log-odds.
func forcedOdds(ctx context.Context, e *stages.Engine, id string, s headSample, chunk int) (odds float64, err error) {
	text, err := e.Admit(ctx, id)
	if err != nil {
		return 0, err
	}
	defer text.Release()
	logits, err := text.Prefill(ctx, s.prompt, chunk, len(s.answer))
	if err != nil {
		return 0, err
	}
	err = text.Force(ctx, s.answer, logits, func(i int, logits []float32) error {
		odds += oddsOf(logits, s.answer[i])
		return nil
	})
	return odds, err
}
