package main

import (
	"fmt"
	"math"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/kernels/cuda"
	"headinfer/plan"
	"headinfer/stages"
	"headinfer/transfer"
)

// fitAsked is what the user wants to plan for; 0 is what there is.
type fitAsked struct {
	kind         string // auto, cpu or cuda
	device, host int64  // bytes
	chunk        int    // tokens
}

// fitMachine is what a model has to fit.
type fitMachine struct {
	Kind        string        `json:"device"` // cpu or cuda
	Name        string        `json:"device_name"`
	Device      int64         `json:"device_memory_bytes"`
	Host        int64         `json:"host_memory_bytes"`    // for caches
	Both        int64         `json:"both_bytes,omitempty"` // the two are parts of so much; 0: they are not
	Chunk       int           `json:"chunk_tokens"`         // of a pass as asked for, or a device's own
	Activations kernels.DType `json:"-"`                    // their type, and that of an exact cache

	nominal kernels.Nominal
	asked   bool // for the chunk
}

// gpuChunk and gpuActivations are kernels/cuda's own, for GPUs that are not there.
const (
	gpuChunk       = 4096
	gpuActivations = kernels.BF16
)

// newFitMachine looks at this machine, as far as it is asked for.
func newFitMachine(asked fitAsked) (fitMachine, error) {
	memory, known := transfer.HostMemory()
	if !known && (asked.host == 0 || asked.kind == "cpu" && asked.device == 0) {
		return fitMachine{}, usage(fmt.Errorf("this system does not say how much memory is free; give --device-memory and --host-memory"))
	}
	gpus, reason := cuda.Available()
	switch {
	case asked.kind != "auto" && asked.kind != "cpu" && asked.kind != "cuda":
		return fitMachine{}, usage(fmt.Errorf("--device %s; expected auto, cpu or cuda", asked.kind))
	case asked.kind == "cuda" && gpus == 0 && asked.device == 0:
		return fitMachine{}, usage(fmt.Errorf("--device cuda: %s; to plan for a GPU that is elsewhere, say how much memory it has: --device-memory", reason))
	case asked.kind == "cuda" || asked.kind == "auto" && gpus > 0:
		return fitOnGPU(asked, gpus, memory.Available)
	}
	dev := cpu.Open(0, 0)
	info := dev.Info()
	m := fitMachine{
		Kind: info.Kind, Name: info.Name, Device: asked.device, Host: asked.host,
		Chunk: info.Chunk, Activations: info.Activations, nominal: info.Nominal,
	}
	if asked.device == 0 || asked.host == 0 {
		m.Both = memory.Available
	}
	m.defaults(asked, memory.Available, memory.Available)
	return m, dev.Close()
}

// fitOnGPU is newFitMachine for a GPU, the first of those there are.
func fitOnGPU(asked fitAsked, gpus int, host int64) (fitMachine, error) {
	m := fitMachine{
		Kind: "cuda", Name: "a GPU", Device: asked.device, Host: asked.host,
		Chunk: gpuChunk, Activations: gpuActivations,
	}
	var free int64
	if gpus > 0 {
		facts, err := cuda.Describe(0)
		if err != nil {
			return m, err
		}
		m.Name, free, m.nominal = facts.Name, facts.FreeBytes, facts.Nominal
	}
	m.defaults(asked, free, host)
	return m, nil
}

// defaults fills in what was not asked for.
func (m *fitMachine) defaults(asked fitAsked, device, host int64) {
	if m.Device == 0 {
		m.Device = device
	}
	if m.Host == 0 {
		m.Host = host
	}
	if asked.chunk > 0 {
		m.Chunk, m.asked = asked.chunk, true
	}
}

// chunk returns the tokens of a method's passes, as a run's would be: what was asked
// for, or what auto is.
func (m fitMachine) chunk(of plan.Model, f fitMethod, context int) int {
	how, err := f.of(of, m.Chunk)
	if err != nil || m.asked || how.Chunk == 0 || how.Bits > 0 {
		return m.Chunk
	}
	if f.adaptive {
		how.Group = 0
	}
	info := kernels.Info{Chunk: m.Chunk, Nominal: m.nominal}
	return of.ChooseChunk(how, stages.PlanMachine(info, m.Device), context).Tokens
}

func (m fitMachine) room() plan.Room { return plan.Room{Device: m.Device, Host: m.Host, Both: m.Both} }

// fitMethod is a method that the program carries, for plan's arithmetic.
type fitMethod struct {
	name     string
	how      plan.Method // but for the chunk, and a scale group for codes
	adaptive bool        // its group is the largest that fits
}

// allHeads stands for a tile of all heads, whatever the model has.
const allHeads = math.MaxInt

// fitMethods are those whose memory grows with the text.
func fitMethods() []fitMethod {
	host := func(group int) plan.Method { return plan.Method{OnHost: true, Group: group, Slots: 2} }
	tiled, int8, int4 := host(allHeads), host(1), host(1)
	tiled.Span, int8.Bits, int4.Bits = 4096, 8, 4
	return []fitMethod{
		{"standard", plan.Standard(), false}, {"chunked-prefill", plan.Method{}, false}, {"layer-wise", host(allHeads), false},
		{"headinfer-8", host(8), false}, {"headinfer-4", host(4), false}, {"headinfer-2", host(2), false}, {"headinfer-1", host(1), false},
		{"adaptive", host(1), true}, {"tiled", tiled, false}, {"int8", int8, true}, {"int4", int4, true},
	}
}

// of returns the method for a model and chunk, or why there is none.
func (f fitMethod) of(m plan.Model, chunk int) (plan.Method, error) {
	how := f.how
	how.Group = min(how.Group, m.KVHeads)
	if f.name != "standard" {
		how.Chunk = chunk
	}
	if how.Bits > 0 {
		for _, group := range []int{64, 32} { // the first is the pipelines'
			if how.ScaleGroup == 0 && m.HeadDim%group == 0 {
				how.ScaleGroup = group
			}
		}
		if how.ScaleGroup == 0 {
			return how, fmt.Errorf("a head has %d channels, and codes come in groups of 32 or 64", m.HeadDim)
		}
	}
	return how, nil
}

// fitRow is what a method has room for.
type fitRow struct {
	Method  string      `json:"method"`
	Lossy   bool        `json:"lossy,omitempty"`
	Error   string      `json:"error,omitempty"` // why the method cannot be used
	Group   int         `json:"group_kv_heads,omitempty"`
	Span    int         `json:"span_tokens,omitempty"`  // 0: all
	Chunk   int         `json:"chunk_tokens,omitempty"` // of a pass; 0: the whole text
	Longest int         `json:"longest_tokens"`         // 0: none fits
	Any     bool        `json:"any_length,omitempty"`   // memory does not bound it
	Memory  plan.Memory `json:"memory"`                 // at the longest
}

// fitRows computes every method's row, of a model for texts of up to context tokens.
func fitRows(m plan.Model, machine fitMachine, context int) []fitRow {
	const most = math.MaxInt32 // positions
	var rows []fitRow
	for _, f := range fitMethods() {
		row := fitRow{Method: f.name, Lossy: f.how.Bits > 0}
		how, err := f.of(m, machine.chunk(m, f, context))
		if err != nil {
			row.Error = err.Error()
			rows = append(rows, row)
			continue
		}
		row.Longest = m.Longest(how, machine.room(), most)
		row.Any = row.Longest == most
		if f.adaptive {
			how = m.Adapt(how, machine.room(), row.Longest)
		}
		row.Memory = m.Memory(how, row.Longest, row.Longest)
		row.Group, row.Span, row.Chunk = how.Group, how.Span, how.Chunk
		if !how.OnHost {
			row.Group = m.KVHeads
		}
		rows = append(rows, row)
	}
	return rows
}
