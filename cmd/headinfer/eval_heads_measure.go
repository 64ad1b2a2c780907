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
	id     string
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

// find measures every head and writes the file. With an error, the report has the
// heads that were measured before it; it is nil if none was begun.
func (o *evalOptions) find(ctx context.Context, p headsPlan, log zerolog.Logger) (*headsReport, error) {
	f := &headFinder{evalOptions: o, log: log}
	if err := f.answer(ctx, p.whole, p.find); err != nil {
		return nil, err
	}
	r := &headsReport{Tokens: o.contexts[0], Samples: len(f.samples), heads: f.layers * f.heads}
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
		return r, err
	}
	r.Scores, r.Streaming = scoresOf(r.Damage, o.streaming)
	if err := p.file.write(headLines(r.Scores)); err != nil {
		return r, fmt.Errorf("--find-heads: %w", err)
	}
	r.Path = o.findHeads
	return r, nil
}

// singles returns the damage of each head, [layers, KV heads]; with an error, of
// those that were measured before it.
func (f *headFinder) singles(ctx context.Context) (damage [][]float64, err error) {
	dir, err := os.MkdirTemp("", "headinfer-heads-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "head.tsv")
	for layer := range f.layers {
		for head := range f.heads {
			p, err := f.single(path, layer, head)
			if err != nil {
				return damage, err
			}
			one, err := f.damage(ctx, p)
			if err != nil {
				return damage, fmt.Errorf("layer %d, head %d: %w", layer, head, err)
			}
			if head == 0 {
				damage = append(damage, nil)
			}
			damage[layer] = append(damage[layer], one)
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
	with := overrides{sets: append(slices.Clone(f.sets), setHeads(path)), device: f.device}
	return with.loadMethod(f.methods[0])
}

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
		chunk := stages.ChunkOf(m.Documents, e)
		for _, c := range cases {
			for _, s := range c.samples {
				asked++
				one, err := answerOf(ctx, e, tokenize, c.task, s, chunk)
				if err != nil {
					return fmt.Errorf("method %s without a window: %s: %w", f.methods[0], one.id, err)
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
	one := headSample{id: fmt.Sprintf("%s at %d tokens, seed %d", s.Task, s.Tokens, s.Seed)}
	prompt, err := askOf[*stages.Prompt](ctx, tokenize, e, &stages.Document{ID: one.id, Text: s.Text, Question: s.Question})
	if err != nil {
		return one, err
	}
	one.prompt = prompt.Tokens
	text, err := e.Admit(ctx, one.id)
	if err != nil {
		return one, err
	}
	defer text.Release()
	logits, err := text.Prefill(ctx, one.prompt, chunk, task.AnswerTokens)
	ends := e.Checkpoint.Tokenizer.EndTokens()
	for err == nil {
		if !areFinite(logits) {
			return one, errNotFinite
		}
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
		chunk := stages.ChunkOf(p.Documents, e)
		for _, s := range f.samples {
			odds, err := forcedOdds(ctx, e, s, chunk)
			if err != nil {
				return fmt.Errorf("method %s: %s: %w", f.methods[0], s.id, err)
			}
			sum += odds
		}
		return nil
	})
	return f.whole - f.perToken(sum), err
}

// forcedOdds reads a prompt, is told its answer, and returns the sum of the
// answer's log-odds.
func forcedOdds(ctx context.Context, e *stages.Engine, s headSample, chunk int) (odds float64, err error) {
	text, err := e.Admit(ctx, s.id)
	if err != nil {
		return 0, err
	}
	defer text.Release()
	logits, err := text.Prefill(ctx, s.prompt, chunk, len(s.answer))
	if err != nil {
		return 0, err
	}
	err = text.Force(ctx, s.answer, logits, func(i int, logits []float32) error {
		if !areFinite(logits) {
			return errNotFinite
		}
		odds += oddsOf(logits, s.answer[i])
		return nil
	})
	return odds, err
}
