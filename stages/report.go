package stages

import (
	"time"

	"headinfer/kernels"
	"headinfer/model"
	"headinfer/plan"
)

// Report is what a run did and what it took.
type Report struct {
	Model string `json:"model"`
	// Lossy says which options make the results inexact.
	Lossy []string `json:"lossy,omitempty"`
	// RandomWeights says that the answers mean nothing; the times and sizes do.
	RandomWeights bool          `json:"random_weights"`
	Device        string        `json:"device"`
	PromptTokens  int64         `json:"prompt_tokens"`
	Answers       int64         `json:"answers"`
	AnswerTokens  int64         `json:"answer_tokens"`
	DecodeSteps   int64         `json:"decode_steps"` // the first token of an answer takes none
	Prefill       time.Duration `json:"prefill_ns"`
	Decode        time.Duration `json:"decode_ns"`
	DecodeHost    time.Duration `json:"decode_host_ns"` // of that, without waiting for the device
	Longest       int           `json:"longest_tokens"`
	Memory        kernels.Usage `json:"device_memory"`
	// Standard is what the longest text would take on the device with the
	// usual method: computed, not measured.
	Standard    plan.Memory   `json:"standard_computed"`
	MovedIn     int64         `json:"moved_in_bytes"`
	MovedOut    int64         `json:"moved_out_bytes"`
	Copying     time.Duration `json:"copying_ns"`
	HiddenShare float64       `json:"copying_hidden_share"`
}

// StandardDevice returns what the usual method would take on the device, with
// the workspace that this run took: operators need some whatever the method.
func (r Report) StandardDevice() int64 {
	return r.Standard.Device() + r.Memory.AtPeak[kernels.Workspace]
}

// Report sums up the engine's work so far.
func (e *Engine) Report() Report {
	c, usage, overlap := e.Checkpoint.Config, e.Device.Ledger().Usage(), e.timeline.Overlap()
	longest := int(e.counts.longest.Load())
	m := PlanModel(e)
	return Report{
		Model: c.Name, Lossy: e.loop.lossy, RandomWeights: e.Checkpoint.Random, Device: e.Device.Info().Name,
		PromptTokens: e.counts.prefillTokens.Load(), DecodeSteps: e.counts.decodeTokens.Load(),
		Answers: e.counts.answers.Load(), AnswerTokens: e.counts.answerTokens.Load(),
		Prefill: time.Duration(e.counts.prefill.Load()), Decode: time.Duration(e.counts.decode.Load()),
		DecodeHost: time.Duration(e.counts.decodeHost.Load()),
		Longest:    longest, Memory: usage,
		Standard: m.Memory(plan.Standard(), longest, longest),
		MovedIn:  e.loop.moved.In.Load(), MovedOut: e.loop.moved.Out.Load(),
		Copying: overlap.Copy, HiddenShare: overlap.HiddenShare(),
	}
}

// PlanModel describes the engine's model for plan's arithmetic.
func PlanModel(e *Engine) plan.Model {
	return PlanConfig(e.Checkpoint.Config, e.Device.Ledger().Usage().Now[kernels.Weights], e.Device.Info().Activations)
}

// PlanConfig describes a model whose weights take some bytes for plan's
// arithmetic, with activations of a type.
func PlanConfig(c model.Config, weights int64, activations kernels.DType) plan.Model {
	m := plan.Model{
		Layers: c.Layers, Hidden: c.Hidden, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, FFN: c.FFN, Vocab: c.Vocab,
		WeightBytes: weights, ElementBytes: int64(activations.BlockBytes()), Tied: c.Tied, Rotary: c.Rope.Dim, Window: c.Window,
	}
	if c.LocalRope != nil {
		m.Rotary += c.LocalRope.Dim
	}
	for l := range c.Sliding {
		if c.Sliding[l] {
			m.Local++
			m.LocalLast = l == c.Layers-1
		}
	}
	return m
}
