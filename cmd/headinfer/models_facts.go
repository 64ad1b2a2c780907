package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"headinfer/kernels"
	"headinfer/model"
	"headinfer/stages"
)

// modelFacts are what models prints of one.
type modelFacts struct {
	Model      string           `json:"model"` // as the user named it
	Path       string           `json:"path"`  // where it lies
	Config     model.Config     `json:"config"`
	Random     bool             `json:"random_weights"`
	Parameters int64            `json:"parameters"`
	Encodings  []model.Encoding `json:"encodings"`
	Weights    int64            `json:"weight_bytes"` // on a device
	Chat       bool             `json:"chat_template"`
	Machine    fitMachine       `json:"machine"`
	KVToken    []kvToken        `json:"kv_token_bytes"` // of the layers that keep all
	Fits       []fitRow         `json:"fits"`
}

// kvToken is what one token takes in a cache.
type kvToken struct {
	Encoding string `json:"encoding"`
	Bytes    int64  `json:"bytes"`
}

func newModelFacts(name string, c *model.Checkpoint) *modelFacts {
	return &modelFacts{
		Model: name, Path: c.Path, Config: c.Config, Random: c.Random, Parameters: c.Config.Parameters(),
		Encodings: c.Encodings(), Weights: c.WeightBytes(), Chat: c.ChatTemplate != "",
	}
}

// fit adds what the model takes on a machine, and what fits there.
func (f *modelFacts) fit(machine fitMachine) {
	m := stages.PlanConfig(f.Config, f.Weights, machine.Activations)
	f.Machine = machine
	f.KVToken = []kvToken{{machine.Activations.String(), m.KV(1)}}
	for _, method := range fitMethods() {
		if how, err := method.of(m, machine.Chunk); err == nil && how.Bits > 0 {
			f.KVToken = append(f.KVToken, kvToken{method.name, m.KV(1) / m.TokenKV() * m.CachedToken(how)})
		}
	}
	f.Fits = fitRows(m, machine, f.Config.Context)
}

func (f *modelFacts) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	c := f.Config
	row("model", "%s", c.Name)
	if f.Path != f.Model {
		row("path", "%s", f.Path)
	}
	row("architecture", "%s%s", c.Architecture, textOnly(c))
	row("parameters", "%s", parameters(f.Parameters))
	row("weights", "%s on the device; %s", kernels.FormatBytes(f.Weights), f.encodings())
	row("vocabulary", "%d tokens%s", c.Vocab, f.chat())
	row("context", "%s", contextOf(c))
	row("layers", "%d, %d wide, feed-forward %d", c.Layers, c.Hidden, c.FFN)
	row("heads", "%d, %d KV heads, head_dim %d", c.Heads, c.KVHeads, c.HeadDim)
	var kv []string
	for _, k := range f.KVToken {
		kv = append(kv, fmt.Sprintf("%s %s", kernels.FormatBytes(k.Bytes), k.Encoding))
	}
	row("KV cache", "%s a token%s", strings.Join(kv, ", "), f.recent())
	if err := t.Flush(); err != nil {
		return err
	}
	m := f.Machine
	if _, err := fmt.Fprintf(w, "\nThe longest text that fits, on %s with %s, and %s for caches on the host%s:\n\n",
		m.Name, kernels.FormatBytes(m.Device), kernels.FormatBytes(m.Host), m.together()); err != nil {
		return err
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "method\ttokens\ttile\ta pass\tdevice memory\tof it the cache\thost memory")
	var notes []string
	for _, r := range f.Fits {
		fmt.Fprintln(t, r.line(c.KVHeads))
		if r.Error != "" {
			notes = append(notes, r.Method+": "+r.Error+".")
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if slices.ContainsFunc(f.Fits, func(r fitRow) bool { return r.Longest > c.Context }) {
		notes = append(notes, fmt.Sprintf("The model was trained for texts of %s.", contextOf(c)))
	}
	if len(notes) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.Join(notes, "\n"))
	return err
}

// line is the row of a table.
func (r fitRow) line(kvHeads int) string {
	name := r.Method
	if r.Lossy {
		name += " (lossy)"
	}
	if r.Error != "" {
		return name + "\t—"
	}
	group, span := fmt.Sprint(r.Group), "all"
	if r.Group == kvHeads {
		group = "all"
	}
	if r.Span > 0 {
		span = fmt.Sprint(r.Span)
	}
	tile, pass := group+" × "+span, "all"
	if r.Chunk > 0 {
		pass = fmt.Sprint(r.Chunk)
	}
	switch {
	case r.Longest == 0:
		return fmt.Sprintf("%s\tnone\t%s\t%s", name, tile, pass)
	case r.Any:
		return fmt.Sprintf("%s\tany\t%s\t%s", name, tile, pass)
	}
	return fmt.Sprintf("%s\t%d\t%s\t%s\t%s\t%s\t%s", name, r.Longest, tile, pass,
		kernels.FormatBytes(r.Memory.Device()), kernels.FormatBytes(r.Memory.KV), kernels.FormatBytes(r.Memory.HostKV))
}

// together says what two figures are parts of.
func (m fitMachine) together() string {
	if m.Both == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s together)", kernels.FormatBytes(m.Both))
}

// encodings lists what the checkpoint is encoded in.
func (f *modelFacts) encodings() string {
	if f.Random {
		return "random numbers"
	}
	var all []string
	for _, e := range f.Encodings {
		all = append(all, fmt.Sprintf("%s in %s", parameters(e.Parameters), e.Name))
	}
	return strings.Join(all, ", ")
}

// recent says which layers are not counted in what a token takes.
func (f *modelFacts) recent() string {
	c := f.Config
	if c.Window == 0 {
		return ""
	}
	sliding := 0
	for _, s := range c.Sliding {
		if s {
			sliding++
		}
	}
	return fmt.Sprintf(", in %d layers; the other %d keep the last %d tokens", c.Layers-sliding, sliding, c.Window)
}

// textOnly says what of a model is not used.
func textOnly(c model.Config) string {
	if c.TextOnly {
		return ", the language model alone: no pictures are read"
	}
	return ""
}

func (f *modelFacts) chat() string {
	if f.Chat {
		return ", a chat template"
	}
	return ""
}

// contextOf says how many tokens a model was trained for.
func contextOf(c model.Config) string {
	if c.Context == math.MaxInt32 {
		return "any"
	}
	return fmt.Sprintf("%d tokens", c.Context)
}

// parameters writes a count for a person: "134.5 million".
func parameters(n int64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "billion"}, {1e6, "million"}, {1e3, "thousand"}} {
		if float64(n) >= unit.size {
			return fmt.Sprintf("%.4g %s", float64(n)/unit.size, unit.name)
		}
	}
	return fmt.Sprint(n)
}
