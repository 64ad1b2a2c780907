package stages

import (
	"slices"
	"strconv"

	"headinfer/config"
	"headinfer/kernels"
	"headinfer/plan"
)

// Choice is a size that a pipeline left to the program.
type Choice struct {
	Option string `json:"option"`
	Tokens int    `json:"tokens"` // 0: all
	Why    string `json:"why"`
}

// Value is the size as the option takes it.
func (c Choice) Value() string {
	if c.Tokens == 0 {
		return "all"
	}
	return strconv.Itoa(c.Tokens)
}

// String says it in a line.
func (c Choice) String() string { return c.Option + "=" + c.Value() + ": " + c.Why }

// autoSizes are what an engine has chosen for its pipeline.
type autoSizes struct {
	span  []Choice // if the heads level leaves it open
	chunk Choice   // whether the documents level does or not
}

// The options that may be auto.
const (
	ChunkOption = "documents.chunked-prefill.chunk"
	SpanOption  = "heads.attention.span"
)

// PlanMachine describes a device with some budget for plan's choices.
func PlanMachine(info kernels.Info, budget int64) plan.Machine {
	n := info.Nominal
	return plan.Machine{
		Rates:  plan.Rates{CopyIn: n.CopyIn, Linear: n.Linear, Attention: n.Attention},
		Blocks: n.Blocks, BlockRows: n.BlockRows, Chunk: info.Chunk, Memory: budget,
	}
}

// choose sets what heads' options leave open. It comes after the weights, because what
// they leave of the memory counts, and before the first pass.
func (e *Engine) choose() {
	m, machine := PlanModel(e), PlanMachine(e.Device.Info(), e.Device.Ledger().Usage().Budget)
	how := e.Method(0)
	how.Group = e.loop.grouping.Heads // 0, all, where it is chosen by pass
	if e.loop.autoSpan {
		span := m.ChooseSpan(how, machine)
		e.loop.cut.Span, how.Span = span.Tokens, span.Tokens
		e.span = append(e.span, Choice{SpanOption, span.Tokens, span.Why})
	}
	chunk := plan.Chosen{Tokens: machine.Chunk, Why: "the device's own, because what a lossy method loses depends on it"}
	if len(e.loop.lossy) == 0 {
		chunk = m.ChooseChunk(how, machine, e.Checkpoint.Config.Context)
	}
	e.chunk = Choice{ChunkOption, chunk.Tokens, chunk.Why}
}

// ChunkOf returns the tokens of a pass that a pipeline's chunked-prefill stage asks
// for, 0 meaning the whole prompt.
func ChunkOf(documents []config.Entry, e *Engine) int {
	for _, entry := range documents {
		if o, ok := entry.Options.(*prefillOptions); ok {
			return o.chunk(e)
		}
	}
	return e.chunk.Tokens
}

// Choices returns the sizes that a pipeline's options leave to the program, which
// the engine has chosen.
func (e *Engine) Choices(documents []config.Entry) []Choice {
	all := slices.Clone(e.span)
	for _, entry := range documents {
		if o, ok := entry.Options.(*prefillOptions); ok && o.Chunk.Is("auto") {
			all = append([]Choice{e.chunk}, all...)
		}
	}
	return all
}

func (o *prefillOptions) chunk(e *Engine) int {
	if o.Chunk.Is("auto") {
		return e.chunk.Tokens
	}
	return o.Chunk.N
}
