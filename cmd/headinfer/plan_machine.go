package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"headinfer/config"
	"headinfer/kernels"
	"headinfer/kernels/cuda"
	devicerate "headinfer/kernels/rate"
	"headinfer/plan"
	"headinfer/stages"
)

const (
	thisGPU = "this"
	// cardReserve is what of a card that is named is left to its driver (half a GiB on
	// an H100), to operators' workspace (some 40 MiB) and to what else shows on it.
	cardReserve = 1 << 30
)

// planMachine is what is planned for.
type planMachine struct {
	fitMachine
	Rates     *plan.Rates `json:"rates,omitempty"` // nil: not known, and no times are predicted
	RatesFrom string      `json:"rates_from,omitempty"`
}

// machine finds out what to plan for. memory is a pipeline file's budgets, which count
// where neither a flag nor a card says otherwise.
func (o *planOptions) machine(memory config.DeviceOptions) (planMachine, error) {
	asked, err := o.asked(memory)
	if err != nil {
		return planMachine{}, err
	}
	switch {
	case o.gpu == thisGPU:
		return thisMachinesGPU(asked)
	case o.gpu != "":
		g, err := gpuByName(o.gpu)
		if err != nil {
			return planMachine{}, err
		}
		return o.namedGPU(g, asked)
	case o.rates != "":
		return o.ratedMachine(asked)
	}
	m, err := newFitMachine(asked)
	p := planMachine{fitMachine: m}
	if g, known := plan.GPUByName(m.Name); known && m.nominal.CopyIn > 0 {
		rates := g.Rates()
		rates.CopyIn, rates.CopyOut = m.nominal.CopyIn, m.nominal.CopyIn
		p.Rates, p.RatesFrom = &rates, "its data sheet and its link; --gpu this measures them"
	}
	return p, err
}

// asked reads the flags of sizes.
func (o *planOptions) asked(memory config.DeviceOptions) (fitAsked, error) {
	asked := fitAsked{kind: "auto", device: int64(memory.Memory), host: int64(memory.HostMemory), chunk: o.chunk}
	if o.device != "" {
		asked.kind = o.device
	}
	if (o.gpu != "" || o.rates != "") && !o.setsOption("device.memory=") {
		asked.device = 0 // the card's, not what a file has of another
	}
	if err := asked.sizes(o.deviceMemory, o.hostMemory); err != nil {
		return asked, err
	}
	return asked, nil
}

// gpuByName finds a card, or says which are near.
func gpuByName(name string) (plan.GPU, error) {
	if g, ok := plan.GPUByName(name); ok {
		return g, nil
	}
	var names, written []string
	byWord := map[string]string{thisGPU: thisGPU}
	for _, g := range plan.GPUs() {
		names = append(names, g.Name)
		for _, w := range append(strings.Fields(g.Name), g.Name) {
			if _, taken := byWord[w]; !taken {
				byWord[w], written = g.Name, append(written, w)
			}
		}
	}
	hint := ""
	if near := config.Nearest(name, append(written, thisGPU)); near != "" {
		hint = fmt.Sprintf("did you mean %q? ", byWord[near])
	}
	return plan.GPU{}, usage(fmt.Errorf("--gpu %s: no such card is known; %sthere are %s; and %s, for the one here. For another, --device-memory and --rates say what it has", name, hint, strings.Join(names, ", "), thisGPU))
}

// namedGPU plans for a card by its data sheet.
func (o *planOptions) namedGPU(g plan.GPU, asked fitAsked) (planMachine, error) {
	if asked.device == 0 {
		asked.device = g.Memory - cardReserve
	}
	asked.kind = "cuda"
	m, err := newFitMachine(asked)
	if err != nil {
		return planMachine{}, err
	}
	// What a run on it would choose sizes by.
	m.Name, m.nominal = g.Name, cuda.Nominal(g.Major, g.Minor, g.Multiprocessors, cuda.Link{MaxGeneration: g.Link, MaxWidth: 16})
	rates := g.Rates()
	p := planMachine{fitMachine: m, Rates: &rates, RatesFrom: "the card's data sheet and the shares of it that are usually reached"}
	if o.rates == "" {
		return p, nil
	}
	measured, err := readRates(o.rates)
	if err != nil {
		return planMachine{}, err
	}
	rates, p.RatesFrom = measured.plan(), o.rates
	return p, nil
}

// ratedMachine plans for what a file's rates were measured on.
func (o *planOptions) ratedMachine(asked fitAsked) (planMachine, error) {
	measured, err := readRates(o.rates)
	if err != nil {
		return planMachine{}, err
	}
	name, _, _ := strings.Cut(measured.Device, ",")
	if g, known := plan.GPUByName(name); known {
		return o.namedGPU(g, asked)
	}
	m, err := newFitMachine(asked)
	if measured.Device != "" {
		m.Name = measured.Device
	}
	rates := measured.plan()
	return planMachine{fitMachine: m, Rates: &rates, RatesFrom: o.rates}, err
}

// readRates reads the rates in a report of bench, doctor or a curve.
func readRates(path string) (*benchRates, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usage(fmt.Errorf("--rates: %w", err))
	}
	var report struct {
		Rates  *benchRates `json:"rates"`
		Device string      `json:"device"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, usage(fmt.Errorf("--rates %s: %w; expected what headinfer bench --json or doctor --json prints", path, err))
	}
	r := report.Rates
	if r == nil || slices.Min([]float64{r.CopyIn, r.Linear, r.Attention, r.Read}) <= 0 {
		return nil, usage(fmt.Errorf("--rates %s: there are no rates in it; expected what headinfer bench --json (without --limits=false) or doctor --json prints", path))
	}
	if r.Device == "" {
		r.Device = report.Device
	}
	return r, nil
}

// thisMachinesGPU looks at the GPU that is here, as doctor does, and measures it.
func thisMachinesGPU(asked fitAsked) (planMachine, error) {
	if gpus, reason := cuda.Available(); gpus == 0 {
		return planMachine{}, usage(fmt.Errorf("--gpu this: %s; a card that is elsewhere goes by its name", reason))
	}
	asked.kind = "cuda"
	m, err := newFitMachine(asked)
	if err != nil {
		return planMachine{}, err
	}
	facts, err := cuda.Describe(0)
	if err != nil {
		return planMachine{}, err
	}
	dev, err := cuda.Open(min(doctorMemory, facts.FreeBytes/10*9), 0)
	if err != nil {
		return planMachine{}, err
	}
	measured, err := devicerate.Measure(dev, devicerate.Shape{
		Rows: dev.Info().Chunk, Hidden: 4096, FFN: 14336, KVHeads: 8, Group: 4, HeadDim: 128, Keys: doctorKeys,
	})
	if err := errors.Join(err, dev.Close()); err != nil {
		return planMachine{}, err
	}
	rates := (&benchRates{Rates: measured}).plan()
	return planMachine{fitMachine: m, Rates: &rates, RatesFrom: "measured here, now"}, nil
}

// choices is what sizes that are left open are chosen by.
func (machine planMachine) choices() plan.Machine {
	return stages.PlanMachine(kernels.Info{Chunk: machine.Chunk, Nominal: machine.nominal}, machine.Device)
}
