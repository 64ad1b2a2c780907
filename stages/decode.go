package stages

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/model/sampling"
	"headinfer/model/tokenizer"
	"headinfer/transfer"
)

type decodeOptions struct {
	MaxTokens         config.Count `yaml:"max_tokens" default:"64" min:"1" unit:"tokens" doc:"Most tokens of an answer." example:"128"`
	Temperature       float64      `yaml:"temperature" default:"0" min:"0" doc:"Divides the logits before drawing; 0 takes the most likely token each time." example:"0.7"`
	TopK              config.Count `yaml:"top_k" default:"0" unit:"tokens" doc:"Draw among the k most likely tokens; 0 means all." example:"40"`
	TopP              float64      `yaml:"top_p" default:"1" min:"0" max:"1" doc:"Draw among the most likely tokens whose probabilities sum to p." example:"0.95"`
	MinP              float64      `yaml:"min_p" default:"0" min:"0" max:"1" doc:"Draw among tokens with at least this share of the most likely one's probability." example:"0.05"`
	RepetitionPenalty float64      `yaml:"repetition_penalty" default:"1" min:"0.01" doc:"Divides the logits of tokens that have occurred; 1 is off." example:"1.1"`
	Seed              int64        `yaml:"seed" default:"0" doc:"Seed of the draws; a document's draws depend on it and on the document's id alone." example:"7"`
	Stop              []string     `yaml:"stop" default:"[]" doc:"Strings that end an answer; they are not part of it." example:"[\"\\n\\n\"]"`
}

// decode writes several answers at a time.
type decode struct {
	engine  *Engine
	options *decodeOptions
	ends    []int32
	active  []*answer
}

// answer is one that is being written.
type answer struct {
	*Prefilled
	sampler *sampling.Sampler
	out     *stopper
	stream  *tokenizer.Stream
	seen    []int32
	prompt  int // tokens
	tokens  int // of the answer so far
	most    int
	logits  []float32 // of the token to come
	began   time.Time
	stop    string // why it has ended; empty while it has not
}

func newDecode(e *Engine, o *decodeOptions) (graph.Batcher[*Prefilled, *Answer], error) {
	e.answer = max(e.answer, int(o.MaxTokens))
	return &decode{engine: e, options: o, ends: e.Checkpoint.Tokenizer.EndTokens()}, nil
}

// Run writes answers, a token of each at a time.
func (d *decode) Run(ctx context.Context, in *graph.Inbox[*Prefilled], emit func(*Answer) error) error {
	defer func() {
		for _, a := range d.active {
			a.Release()
		}
	}()
	for {
		for {
			next, ok, err := in.Next(ctx, len(d.active) == 0)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			d.active = append(d.active, d.begin(next))
		}
		if len(d.active) == 0 {
			return nil
		}
		if err := d.draw(ctx); err != nil {
			return err
		}
		if err := d.finish(emit); err != nil {
			return err
		}
		if err := d.step(ctx); err != nil {
			return err
		}
	}
}

func (d *decode) begin(in *Prefilled) *answer {
	o := d.options
	a := &answer{
		Prefilled: in, prompt: len(in.Cache.Tokens), logits: in.Logits, began: time.Now(),
		seen:   slices.Clone(in.Cache.Tokens),
		stream: d.engine.Checkpoint.Tokenizer.NewStream(),
		sampler: sampling.New(sampling.Options{
			RepetitionPenalty: o.RepetitionPenalty, Temperature: o.Temperature,
			TopK: int(o.TopK), TopP: o.TopP, MinP: o.MinP,
		}, uint64(o.Seed), hash(in.ID)),
	}
	a.most = min(int(o.MaxTokens), d.engine.Checkpoint.Config.Context-a.prompt)
	a.out = newStopper(o.Stop, func(s string) {
		if d.engine.Observer != nil {
			d.engine.Observer.Text(in.ID, s)
		}
	})
	return a
}

// draw draws the next token of each answer.
func (d *decode) draw(ctx context.Context) error {
	for _, a := range slices.Clone(d.active) {
		token, err := a.sampler.Next(a.logits, a.seen)
		if err != nil {
			a.Release()
			d.active = slices.DeleteFunc(d.active, func(other *answer) bool { return other == a })
			if err := graph.Drop(ctx, &graph.DocumentError{ID: a.ID, Err: fmt.Errorf("token %d of the answer: %w", a.tokens, err)}); err != nil {
				return err
			}
			continue
		}
		a.tokens++
		if slices.Contains(d.ends, token) {
			a.stop = "end"
			continue
		}
		a.seen = append(a.seen, token)
		switch {
		case a.out.push(a.stream.Push(token)):
			a.stop = "stop"
		case a.tokens == a.most && a.most < int(d.options.MaxTokens):
			a.stop = "context"
		case a.tokens == a.most:
			a.stop = "max_tokens"
		}
	}
	return nil
}

// finish gives on the answers that have ended.
func (d *decode) finish(emit func(*Answer) error) error {
	ended := func(a *answer) bool { return a.stop != "" }
	var done []*answer
	for _, a := range d.active {
		if ended(a) {
			a.Release()
			done = append(done, a)
		}
	}
	d.active = slices.DeleteFunc(d.active, ended)
	for _, a := range done {
		if err := emit(a.result()); err != nil {
			return err
		}
		d.engine.counts.answers.Add(1)
		d.engine.counts.answerTokens.Add(int64(a.tokens))
	}
	return nil
}

// result is what has been written.
func (a *answer) result() *Answer {
	if a.stop != "stop" && a.out.push(a.stream.Flush()) {
		a.stop = "stop"
	}
	text := strings.TrimSpace(a.out.finish())
	var grade *Grade
	if a.Grade != nil {
		grade = a.Grade(text)
	}
	return &Answer{
		ID: a.ID, Index: a.Index, Question: a.Question, Answer: text, Stop: a.stop, Grade: grade,
		PromptTokens: a.prompt, AnswerTokens: a.tokens,
		PrefillSeconds: a.Seconds, DecodeSeconds: seconds(a.began),
	}
}

// step reads the token that each answer has got.
func (d *decode) step(ctx context.Context) error {
	if len(d.active) == 0 {
		return nil
	}
	together(d.active, func(a *answer) *Text { return a.Cache })
	batch := make([]reading, len(d.active))
	for i, a := range d.active {
		batch[i] = reading{a.Cache, a.seen[len(a.seen)-1:]}
	}
	start := time.Now()
	logits, err := d.engine.read(ctx, transfer.Decode, batch, true)
	if noRoom(err) && len(batch) > 1 {
		// Others may have come since each of them had room by itself.
		logits = nil
		for i := range batch {
			one, err := d.engine.read(ctx, transfer.Decode, batch[i:i+1], true)
			if err != nil {
				return err
			}
			logits = append(logits, one...)
		}
		err = nil
	}
	if err != nil {
		return err
	}
	for i, a := range d.active {
		a.logits = logits[i]
	}
	graph.Span(ctx, passName(d.active[0].ID, len(batch)), start, time.Now())
	return nil
}

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}
