package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"headinfer/kernels"
	devicerate "headinfer/kernels/rate"
	"headinfer/plan"
	"headinfer/stages"
)

// benchReport is what bench prints. Times are in seconds, sizes in bytes.
type benchReport struct {
	Machine benchMachine `json:"machine"`
	Rates   *benchRates  `json:"rates,omitempty"` // nil: not measured
	Rows    []benchRow   `json:"rows"`
	Traces  []benchTrace `json:"traces,omitempty"` // of --trace
}

// benchTrace is what the trace of a pipeline's rows comes to.
type benchTrace struct {
	Pipeline string `json:"pipeline"`
	traceFigures
}

// benchMachine says where, with what and when the figures were measured.
type benchMachine struct {
	Processor  string    `json:"processor"`
	Processors int       `json:"processors"`
	HostMemory int64     `json:"host_memory_bytes"` // that this process may use
	Version    string    `json:"version"`
	Date       time.Time `json:"date"`
	Command    string    `json:"command"`
}

func thisMachine() benchMachine {
	h := thisHost()
	return benchMachine{h.Processor, h.Threads, h.TotalBytes, version(), time.Now().UTC().Truncate(time.Second), command()}
}

// String says it in a line.
func (m benchMachine) String() string {
	parts := []string{fmt.Sprintf("%d processors", m.Processors), m.Version, m.Date.Format(time.DateOnly)}
	if m.HostMemory > 0 {
		parts = slices.Insert(parts, 1, kernels.FormatBytes(m.HostMemory)+" of host memory")
	}
	if m.Processor != "" {
		parts = slices.Insert(parts, 0, m.Processor)
	}
	return strings.Join(parts, ", ")
}

// benchRates are what a device was measured to do.
type benchRates struct {
	Device string `json:"device"`
	devicerate.Rates
}

// plan returns what the arithmetic of limits takes.
func (r *benchRates) plan() plan.Rates {
	return plan.Rates{CopyIn: r.CopyIn, CopyOut: r.CopyOut, Linear: r.Linear, Attention: r.Attention, Read: r.Read}
}

// benchRow is one pipeline at one context: figures, or Error.
type benchRow struct {
	Pipeline string         `json:"pipeline"`
	Context  int            `json:"context_tokens"`
	Error    string         `json:"error,omitempty"` // why there are no figures
	Model    string         `json:"model,omitempty"`
	Random   bool           `json:"random_weights"`
	Weights  string         `json:"weights,omitempty"`                // their encoding, with --weights
	Read     int64          `json:"weights_read_per_token,omitempty"` // bytes; without the embedding, unless it is the output too
	Lossy    []string       `json:"lossy,omitempty"`                  // which options make the method inexact
	Partial  bool           `json:"partial,omitempty"`                // attention leaves tokens out: less is computed and moved than for the whole context
	Filled   bool           `json:"kv_filled"`                        // random keys and values; no prompt was read
	Device   string         `json:"device,omitempty"`
	Chunk    int            `json:"chunk_tokens"`   // of a prefill's passes; 0: there was none
	Group    int            `json:"group_kv_heads"` // of the last pass's tiles
	Span     int            `json:"span_tokens"`    // the most of a tile
	Repeats  int            `json:"repeats"`
	Prefill  *benchPhase    `json:"prefill,omitempty"`
	Decode   *benchPhase    `json:"decode,omitempty"`
	Memory   *kernels.Usage `json:"device_memory,omitempty"`
	Planned  *plan.Memory   `json:"planned,omitempty"`      // what plan computes, without workspace
	InUse    *benchInUse    `json:"in_use_bytes,omitempty"` // nil where the driver does not count
	HostKV   int64          `json:"host_kv_bytes"`

	model plan.Model  // for the lines of the limits
	how   plan.Method // as it was done
}

// benchPhase is a prefill, or one token of a decode.
type benchPhase struct {
	Seconds float64 `json:"seconds"` // median
	Slowest float64 `json:"slowest_seconds"`
	Tokens  float64 `json:"tokens_per_second"`
	In      int64   `json:"in_bytes"` // moved to the device
	Out     int64   `json:"out_bytes"`
	InRate  float64 `json:"in_bytes_per_second"`
	// Copying is how long the copies of a cache on the host ran, to and from the host
	// or within the device; without --trace, 0 for one on the device. Hidden is which
	// part of that the device computed meanwhile; nil if nothing was moved to or from
	// the host.
	Copying float64  `json:"copying_seconds"`
	Hidden  *float64 `json:"copying_hidden_share,omitempty"`
	// Host is what the host took for a decode step without waiting for the device, which
	// works meanwhile: what bounds a step if it is as long as the step; 0 for a prefill.
	Host  float64     `json:"host_seconds,omitempty"`
	Limit *benchLimit `json:"limit,omitempty"`
}

// benchLimit is the least that a phase can take, by the rates.
type benchLimit struct {
	plan.Limit
	Seconds float64 `json:"seconds"`
	Share   float64 `json:"share_reached"` // of the limit's speed
}

// benchInUse is the device's memory by the driver's count, of the whole card.
type benchInUse struct {
	Opened  int64 `json:"device_opened"`
	Prefill int64 `json:"after_prefill"`
	Decode  int64 `json:"after_decode"`
}

// sort puts the rows of a context together, in the order of the pipelines.
func (r *benchReport) sort() {
	slices.SortStableFunc(r.Rows, func(a, b benchRow) int { return cmp.Compare(a.Context, b.Context) })
}

// benchSample is one measurement of a row.
type benchSample struct {
	prefill       time.Duration
	steps         []time.Duration // of each decoded token
	read, decoded work            // of prefill, and of all steps
}

// work is what the copies of a phase did.
type work struct {
	in, out         int64 // bytes
	copying, hidden time.Duration
	host            time.Duration // of decode steps
}

// since returns the work between two reports of an engine.
func since(before, after stages.Report) work {
	hidden := func(r stages.Report) float64 { return r.HiddenShare * float64(r.Copying) }
	copying := after.Copying - before.Copying
	return work{
		in: after.MovedIn - before.MovedIn, out: after.MovedOut - before.MovedOut, copying: copying,
		// Shares are rounded, so the difference may miss its bounds by a hair.
		hidden: min(max(time.Duration(hidden(after)-hidden(before)), 0), copying),
		host:   after.DecodeHost - before.DecodeHost,
	}
}

// phase sums up a phase: the times of its equal parts, tokens each, and the
// work of all parts together.
func phase(times []time.Duration, tokens int, w work) *benchPhase {
	slices.Sort(times)
	n := int64(len(times))
	median := times[n/2].Seconds()
	p := &benchPhase{
		Seconds: median, Slowest: times[n-1].Seconds(), Tokens: float64(tokens) / median,
		In: w.in / n, Out: w.out / n, InRate: float64(w.in/n) / median, Copying: w.copying.Seconds() / float64(n),
		Host: w.host.Seconds() / float64(n),
	}
	if w.in+w.out > 0 && w.copying > 0 {
		share := float64(w.hidden) / float64(w.copying)
		p.Hidden = &share
	}
	return p
}

// against notes the limit of a phase.
func (p *benchPhase) against(l plan.Limit) {
	p.Limit = &benchLimit{Limit: l, Seconds: l.Seconds(), Share: l.Seconds() / p.Seconds}
}

// figures fills a row in from its samples.
func (r *benchRow) figures(samples []benchSample, m plan.Model, rates *benchRates) {
	r.Repeats = len(samples)
	var prefills, steps []time.Duration
	var read, decoded work
	for _, s := range samples {
		prefills, steps = append(prefills, s.prefill), append(steps, s.steps...)
		read.add(s.read)
		decoded.add(s.decoded)
	}
	r.Decode = phase(steps, 1, decoded)
	if !r.Filled {
		r.Prefill = phase(prefills, r.Context, read)
	}
	if rates == nil || rates.Device != r.Device {
		return
	}
	r.Decode.against(m.DecodeLimit(rates.plan(), r.Context, r.Decode.In))
	if r.Prefill != nil {
		r.Prefill.against(m.PrefillLimit(rates.plan(), r.Context, r.Prefill.In, r.Prefill.Out))
	}
}

func (w *work) add(more work) {
	w.in += more.in
	w.out += more.out
	w.copying += more.copying
	w.hidden += more.hidden
	w.host += more.host
}
