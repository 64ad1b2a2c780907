package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"headinfer/config"
	"headinfer/model"
	"headinfer/plan"
	"headinfer/stages"
)

// planFile is what plan prints without --table. Times are in seconds, sizes in bytes.
type planFile struct {
	Model   string        `json:"model"`
	Machine planMachine   `json:"machine"`
	Rows    []planRow     `json:"rows"`
	Longest []planLongest `json:"longest"`
	Advice  []string      `json:"advice"`

	shape   plan.Model
	trained int   // the model's own context
	fourBit int64 // about what weights of 4 bits would take
}

// planRow is one method at one context.
type planRow struct {
	Method  string `json:"method"`
	Lossy   bool   `json:"lossy,omitempty"`
	Context int    `json:"context_tokens"`
	Error   string `json:"error,omitempty"` // why the method cannot be used
	Chunk   int    `json:"chunk_tokens"`    // 0: the whole text in one pass
	Group   int    `json:"group_kv_heads"`
	Span    int    `json:"span_tokens"` // 0: all

	Memory    plan.Memory `json:"memory"`
	Device    int64       `json:"device_bytes"`
	Fits      bool        `json:"fits"`
	Short     int64       `json:"short_of_device_bytes,omitempty"` // what is missing
	ShortHost int64       `json:"short_of_host_bytes,omitempty"`

	Prefill   *plan.Prediction     `json:"prefill,omitempty"` // nil: no rates are known
	Decode    *plan.Prediction     `json:"decode,omitempty"`
	BreakEven float64              `json:"break_even_chunk_tokens,omitempty"`
	Roofline  []plan.RooflinePoint `json:"roofline,omitempty"`
}

// planLongest is the longest context that a method has room for.
type planLongest struct {
	Method string      `json:"method"`
	Lossy  bool        `json:"lossy,omitempty"`
	OnHost bool        `json:"cache_on_host"`
	Tokens int         `json:"longest_tokens"` // 0: none fits
	Any    bool        `json:"any_length,omitempty"`
	Bound  string      `json:"bound_by,omitempty"` // device memory or host memory
	Memory plan.Memory `json:"memory"`             // at it

	how    stages.PlannedMethod
	tokens func(plan.Room) int
}

// plan computes all rows.
func (o *planOptions) plan(ctx context.Context, files []string) (*planFile, error) {
	all, err := o.pipelines(files)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if first := all[0]; p.Model.Path != first.Model.Path {
			return nil, usage(fmt.Errorf("%s has the model %s, and %s has %s; --model names one for all", first.name, first.Model.Path, p.name, p.Model.Path))
		}
	}
	memory, err := o.budgets(all[len(all)-len(files):], all[0])
	if err != nil {
		return nil, err
	}
	machine, err := o.machine(memory)
	if err != nil {
		return nil, err
	}
	c, err := openConfig(ctx, all[0].Model.Path)
	if err != nil {
		return nil, err
	}
	file := &planFile{
		Model: c.Config.Name, Machine: machine,
		shape: stages.PlanConfig(c.Config, c.WeightBytes(), machine.Activations), trained: c.Config.Context,
		fourBit: c.Config.Parameters() * 9 / 16,
	}
	if err := c.Close(); err != nil {
		return nil, err
	}
	for _, p := range all {
		o.rows(file, p)
	}
	file.Advice = file.advice()
	return file, nil
}

// budgets are those of the files' device, or of --set, and else none. There is one machine
// that all is planned for: files of different budgets are refused, unless flags say what
// they differ in.
func (o *planOptions) budgets(files []benchPipeline, first benchPipeline) (config.DeviceOptions, error) {
	if len(files) == 0 {
		if o.setsOption("device.") {
			return first.Device, nil
		}
		return config.DeviceOptions{}, nil
	}
	one := files[0]
	card := o.gpu != "" || o.rates != "" // whose memory is planned with
	for _, p := range files[1:] {
		for _, b := range []struct {
			option, flag string
			one, other   config.Bytes
			said         bool
		}{
			{"device.memory", "--device-memory", one.Device.Memory, p.Device.Memory, card || o.deviceMemory != ""},
			{"device.host_memory", "--host-memory", one.Device.HostMemory, p.Device.HostMemory, o.hostMemory != ""},
		} {
			if !b.said && b.one != b.other {
				return config.DeviceOptions{}, usage(fmt.Errorf("%s has %s: %s, and %s has %s; plan them one by one, or give %s for all", one.name, b.option, b.one, p.name, b.other, b.flag))
			}
		}
	}
	return one.Device, nil
}

// setsOption says whether --set sets an option whose path begins so.
func (o *planOptions) setsOption(path string) bool {
	return slices.ContainsFunc(o.sets, func(s string) bool { return strings.HasPrefix(s, path) })
}

// pipelines reads the methods and the files.
func (o *planOptions) pipelines(files []string) ([]benchPipeline, error) {
	b := benchOptions{overrides: o.overrides, methods: o.methods}
	if len(files)+len(o.methods) == 0 {
		b.methods = plannedMethods
	}
	return b.pipelines(files)
}

// openConfig opens a checkpoint for what its configuration says.
func openConfig(ctx context.Context, path string) (*model.Checkpoint, error) {
	local, err := inCache(ctx, path)
	if err != nil {
		return nil, err
	}
	c, err := model.Open(local)
	return c, usage(err)
}

// rows adds a pipeline's rows and its longest context.
func (o *planOptions) rows(file *planFile, p benchPipeline) {
	machine, m, context := file.Machine, file.shape, file.trained
	how, err := stages.PlanMethod(p.Pipeline, m)
	if err != nil {
		file.Rows = append(file.Rows, planRow{Method: p.name, Lossy: how.Lossy, Error: err.Error()})
		return
	}
	if o.chunk > 0 && (how.AutoChunk || how.Chunk > 0) {
		how.AutoChunk, how.Chunk = false, o.chunk
	}
	for _, n := range o.contexts {
		file.Rows = append(file.Rows, machine.row(p.name, m, how, context, n))
	}
	file.Longest = append(file.Longest, machine.longest(p.name, m, how, context))
}

// row computes a method's row.
func (machine planMachine) row(name string, m plan.Model, planned stages.PlannedMethod, context, tokens int) planRow {
	room := machine.room()
	how := planned.For(m, machine.choices(), room, context, tokens)
	use := m.Memory(how, tokens, tokens)
	r := planRow{
		Method: name, Lossy: planned.Lossy, Context: tokens, Group: how.Group, Span: how.Span, Memory: use, Device: use.Device(),
		Fits: room.Holds(use), Short: max(use.Device()-room.Device, 0), ShortHost: max(use.HostKV-room.Host, 0),
	}
	if how.Chunk > 0 {
		r.Chunk = min(how.Chunk, tokens)
	}
	if room.Both > 0 {
		r.Short = max(r.Short, use.Device()+use.HostKV-room.Both)
	}
	if machine.Rates == nil || how.Pageable {
		return r
	}
	how.FreshHost = true // as for the first text of a run
	prefill, decode := m.PrefillTime(how, *machine.Rates, tokens), m.DecodeTime(how, *machine.Rates, tokens)
	r.Prefill, r.Decode = &prefill, &decode
	if how.Streaming == 0 { // or not all of the past is copied
		r.BreakEven = m.BreakEven(how, *machine.Rates, tokens)
	}
	if !planned.Lossy { // others compute and read less
		r.Roofline = plan.Roofline(*machine.Rates, m.Works(how, tokens)...)
	}
	return r
}

// longest computes how far a method's memory reaches, and what ends it.
func (machine planMachine) longest(name string, m plan.Model, planned stages.PlannedMethod, context int) planLongest {
	const most = math.MaxInt32 // positions
	l := planLongest{Method: name, Lossy: planned.Lossy, OnHost: planned.OnHost, how: planned}
	l.tokens = func(room plan.Room) int {
		least := planned.For(m, machine.choices(), room, context, 1)
		if planned.Adaptive {
			least.Group = 1
		}
		return m.Longest(least, room, most)
	}
	room := machine.room()
	l.Tokens = l.tokens(room)
	l.Any = l.Tokens == most
	l.Memory = m.Memory(planned.For(m, machine.choices(), room, context, l.Tokens), l.Tokens, l.Tokens)
	wider := room
	wider.Host = math.MaxInt64
	switch {
	case l.Any:
	case room.Both > 0:
		l.Bound = "memory"
	case l.Tokens > 0 && l.tokens(wider) > l.Tokens:
		l.Bound = "host memory"
	default:
		l.Bound = "device memory"
	}
	return l
}
