package stages

import (
	"context"
	"fmt"
	"time"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/kernels"
)

type prefillOptions struct {
	Chunk config.Choice `yaml:"chunk" default:"auto" words:"auto,none" min:"1" unit:"tokens" doc:"Tokens read at a time. Smaller chunks take less memory for activations; each chunk passes over the whole cache. auto is the device's choice, none reads the prompt in one piece." example:"2048"`
}

type prefill struct {
	engine *Engine
	chunk  int
}

func newPrefill(e *Engine, o *prefillOptions) (graph.Stage[*Prompt, *Prefilled], error) {
	return &prefill{engine: e, chunk: o.chunk(e.Device)}, nil
}

// Process reads a prompt, unless it is longer than the model's context.
func (p *prefill) Process(ctx context.Context, in *Prompt, emit func(*Prefilled) error) error {
	limit := p.engine.Checkpoint.Config.Context
	if len(in.Tokens) >= limit {
		return &graph.DocumentError{ID: in.ID, Err: fmt.Errorf(
			"the prompt has %d tokens, and the model's context of %d must hold them and the answer; shorten the document", len(in.Tokens), limit)}
	}
	text, err := p.engine.Admit(ctx, in.ID)
	if err != nil {
		return err
	}
	read := false
	defer func() {
		if !read {
			text.Release()
		}
	}()
	start := time.Now()
	logits, err := text.Prefill(ctx, in.Tokens, p.chunk, min(p.engine.answer, limit-len(in.Tokens)))
	if err != nil {
		return err
	}
	read = true // from here on the item owns the text
	return emit(&Prefilled{Prompt: in, Cache: text, Logits: logits, Seconds: seconds(start)})
}

// ChunkOf returns the tokens of a pass that a pipeline's chunked-prefill stage
// asks for on a device, 0 meaning the whole prompt.
func ChunkOf(documents []config.Entry, dev kernels.Device) int {
	for _, e := range documents {
		if o, ok := e.Options.(*prefillOptions); ok {
			return o.chunk(dev)
		}
	}
	return dev.Info().Chunk
}

func (o *prefillOptions) chunk(dev kernels.Device) int {
	if o.Chunk.Is("auto") {
		return dev.Info().Chunk
	}
	return o.Chunk.N
}
