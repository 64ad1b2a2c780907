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

type decode struct {
	engine  *Engine
	options *decodeOptions
	ends    []int32
}

func newDecode(e *Engine, o *decodeOptions) (graph.Stage[*Prefilled, *Answer], error) {
	e.answer = max(e.answer, int(o.MaxTokens))
	return &decode{engine: e, options: o, ends: e.Checkpoint.Tokenizer.EndTokens()}, nil
}

// Process writes the answer token by token.
func (d *decode) Process(ctx context.Context, in *Prefilled, emit func(*Answer) error) error {
	defer in.Release()
	start := time.Now()
	text, stop, n, err := d.write(ctx, in)
	if err != nil {
		return err
	}
	text = strings.TrimSpace(text)
	var grade *Grade
	if in.Grade != nil {
		grade = in.Grade(text)
	}
	err = emit(&Answer{
		ID: in.ID, Question: in.Question, Answer: text, Stop: stop, Grade: grade,
		PromptTokens: len(in.Tokens), AnswerTokens: n,
		PrefillSeconds: in.Seconds, DecodeSeconds: seconds(start),
	})
	if err == nil {
		d.engine.counts.answers.Add(1)
		d.engine.counts.answerTokens.Add(int64(n))
	}
	return err
}

func (d *decode) write(ctx context.Context, in *Prefilled) (text, stop string, n int, err error) {
	o := d.options
	most := min(int(o.MaxTokens), d.engine.Checkpoint.Config.Context-len(in.Tokens))
	// All at once: growing step by step would leave a chain of tiny blocks.
	if err := d.engine.reserve(in.Cache, len(in.Tokens)+most, 1); err != nil {
		return "", "", 0, err
	}
	sampler := sampling.New(sampling.Options{
		RepetitionPenalty: o.RepetitionPenalty, Temperature: o.Temperature,
		TopK: int(o.TopK), TopP: o.TopP, MinP: o.MinP,
	}, uint64(o.Seed), hash(in.ID))
	out := newStopper(o.Stop, func(s string) {
		if d.engine.Observer != nil {
			d.engine.Observer.Text(in.ID, s)
		}
	})
	stream := d.engine.Checkpoint.Tokenizer.NewStream()
	seen := slices.Clone(in.Tokens)
	logits := in.Logits
	stop = "max_tokens"
	if most < int(o.MaxTokens) {
		stop = "context"
	}
	for n < most {
		token, err := sampler.Next(logits, seen)
		if err != nil {
			return "", "", 0, fmt.Errorf("document %q, token %d of the answer: %w", in.ID, n, err)
		}
		n++
		if slices.Contains(d.ends, token) {
			stop = "end"
			break
		}
		seen = append(seen, token)
		if out.push(stream.Push(token)) {
			return out.text(), "stop", n, nil
		}
		if n == most {
			break
		}
		if logits, err = in.Cache.Step(ctx, token); err != nil {
			return "", "", 0, err
		}
	}
	if out.push(stream.Flush()) {
		stop = "stop"
	}
	return out.finish(), stop, n, nil
}

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}
