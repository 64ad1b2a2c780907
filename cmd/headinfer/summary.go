package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"headinfer/graph"
	"headinfer/kernels"
	"headinfer/plan"
	"headinfer/stages"
	"headinfer/stages/journal"
)

// summary is what `run` prints at the end.
type summary struct {
	stages.Report
	Auto        []stages.Choice  `json:"auto,omitempty"` // what options left to the program
	Outputs     []journal.Status `json:"outputs"`        // those that can be gone on with
	Took        time.Duration    `json:"took_ns"`        // from the first stage's start to the last one's end
	Stages      []graph.Stats    `json:"stages"`
	Heads       []graph.Stats    `json:"heads"` // of the heads level
	DeadLetters int              `json:"dead_letters"`
	Trace       *traceFigures    `json:"trace,omitempty"`
}

func (s *summary) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	if s.RandomWeights {
		row("model", "%s; its answers mean nothing", s.Model)
	}
	for _, why := range s.Lossy {
		row("lossy", "%s", why)
	}
	row("documents", "%d answered, %d in the dead letters", s.Answers, s.DeadLetters)
	for _, o := range s.Outputs {
		if o.Session.Before > 0 {
			row("  "+o.Path, "%d records, %d of them by earlier runs", o.Records, o.Session.Before)
		}
	}
	row("prefill", "%d tokens, %s", s.PromptTokens, rate(s.PromptTokens, s.Prefill))
	row("decode", "%d tokens, %s", s.AnswerTokens, rate(s.DecodeSteps, s.Decode))
	row("device memory", "%s at its peak, of a budget of %s", kernels.FormatBytes(s.Memory.Peak), kernels.FormatBytes(s.Memory.Budget))
	for _, p := range kernels.Purposes() {
		row("  "+string(p), "%s%s", kernels.FormatBytes(s.Memory.AtPeak[p]), against(p, s.Standard))
	}
	row("  standard would take", "%s (computed, for the longest text of %d tokens)", kernels.FormatBytes(s.StandardDevice()), s.Longest)
	row("moved", "%s to the device, %s to the host", kernels.FormatBytes(s.MovedIn), kernels.FormatBytes(s.MovedOut))
	if s.Copying > 0 {
		row("copying", "%s, %.0f%% of it hidden behind compute", s.Copying.Round(time.Millisecond), 100*s.HiddenShare)
	}
	for _, c := range s.Auto {
		row("auto", "%s", c)
	}
	if s.Trace != nil {
		s.Trace.print(row)
	}
	return t.Flush()
}

// against says what the standard method would take for a purpose.
func against(p kernels.Purpose, standard plan.Memory) string {
	computed, ok := map[kernels.Purpose]int64{
		kernels.KVCache: standard.KV, kernels.Activations: standard.Activations,
	}[p]
	if !ok {
		return ""
	}
	return fmt.Sprintf("  (standard: %s)", kernels.FormatBytes(computed))
}

func rate(tokens int64, in time.Duration) string {
	if tokens == 0 || in <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f tokens/s", float64(tokens)/in.Seconds())
}
