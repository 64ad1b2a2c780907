// Package rate measures what a device can do, through kernels.Device alone: how
// fast it copies to and from the host, multiplies, attends and reads its
// memory. The figures are the limits beside which a run's own stand.
//
// Every figure is the best of several repetitions, because it is to be a limit
// (what slows a repetition down is something else), timed by the device's
// events after a warm-up, on random numbers: hardware is faster on zeros. How
// much work a repetition is follows from trials, so that fast devices and slow
// ones take about as long for all of it; what is short of room in
// the ledger is measured smaller, but copies and reads never with less than
// 16 MiB, whose start and end would count too much.
//
// Memory that is taken here is given back before a function returns, whether it
// fails or not. Two things stay with the device: the streams, and operators'
// workspace for the shape (kernels.Device.Prepare). The ledger's peak counts
// what was measured with, so a device whose peak matters is not the one to
// measure on. A device must not be used by others meanwhile.
package rate

import (
	"errors"
	"fmt"

	"headinfer/kernels"
)

// Shape is a pass as a pipeline launches it.
type Shape struct {
	Rows    int `json:"rows"`   // tokens of a pass
	Hidden  int `json:"hidden"` // columns of the hidden states
	FFN     int `json:"ffn"`    // columns inside the feed-forward layer
	KVHeads int `json:"kv_heads"`
	Group   int `json:"group"` // query heads a KV head
	HeadDim int `json:"head_dim"`
	Keys    int `json:"keys"` // tokens that attention sees
}

// Rates are what a device was measured to do.
type Rates struct {
	// Copies between pinned host memory and the device in large pieces, alone
	// and while the other direction is copied too, in bytes a second.
	CopyIn  float64 `json:"copy_in_bytes_per_second"`
	CopyOut float64 `json:"copy_out_bytes_per_second"`
	BothIn  float64 `json:"both_in_bytes_per_second"`
	BothOut float64 `json:"both_out_bytes_per_second"`
	// Linear is of [Rows, Hidden] by [FFN, Hidden]ᵀ in the type of activations,
	// in floating-point operations a second; a multiplication and its addition
	// are two.
	Linear float64 `json:"linear_flop_per_second"`
	// Attention is of Rows tokens to Keys keys without a mask, counted alike:
	// 4·Rows·heads·Keys·HeadDim.
	Attention float64 `json:"attention_flop_per_second"`
	// Read is what a product with one row reads of a large weight, in bytes a
	// second: the rate of decoding.
	Read float64 `json:"read_bytes_per_second"`
}

// Measure measures everything. It returns an error that errors.Is finds
// kernels.ErrBudget in where the ledger has no room even for small sizes, and
// the device's own failures.
func Measure(dev kernels.Device, shape Shape) (Rates, error) {
	if err := shape.check(); err != nil {
		return Rates{}, err
	}
	shape, err := prepare(dev, shape)
	if err != nil {
		return Rates{}, fmt.Errorf("measuring rates: %w", err)
	}
	m := newMeter(dev)
	most := max(min(mostCopied, float64(dev.Ledger().Left())/2), leastBytes)
	bytes, err := grow(moving, leastBytes, most, m.tryCopy)
	if err != nil {
		return Rates{}, fmt.Errorf("measuring copies: %w", err)
	}
	r, err := Copies(dev, int64(bytes))
	if err != nil {
		return Rates{}, err
	}
	for _, part := range []struct {
		what string
		to   *float64
		of   func(Shape) (float64, error)
	}{
		{"matrix products", &r.Linear, m.linear},
		{"attention", &r.Attention, m.attention},
		{"reading device memory", &r.Read, m.read},
	} {
		if *part.to, err = part.of(shape); err != nil {
			return Rates{}, fmt.Errorf("measuring %s: %w", part.what, err)
		}
	}
	return r, nil
}

func (s Shape) check() error {
	for _, size := range []struct {
		name  string
		value int
	}{
		{"Rows", s.Rows}, {"Hidden", s.Hidden}, {"FFN", s.FFN}, {"KVHeads", s.KVHeads},
		{"Group", s.Group}, {"HeadDim", s.HeadDim}, {"Keys", s.Keys},
	} {
		if size.value < 1 {
			return fmt.Errorf("measuring rates: the shape's %s is %d; it must be at least 1", size.name, size.value)
		}
	}
	return nil
}

// fewestRows is what a pass is not made smaller than for want of room.
const fewestRows = 64

// prepare takes the operators' workspace for a shape, or for one with fewer
// rows if the ledger has no room for it and the least that is measured with.
func prepare(dev kernels.Device, s Shape) (Shape, error) {
	least, err := dev.Alloc(2*leastBytes, kernels.Workspace, "copies to measure with")
	if err != nil {
		return s, err
	}
	defer dev.Free(least)
	for {
		err := dev.Prepare(kernels.Workload{
			Rows: s.Rows, Columns: s.Hidden, KVHeads: s.KVHeads, Group: s.Group, HeadDim: s.HeadDim,
		})
		if !errors.Is(err, kernels.ErrBudget) || s.Rows <= fewestRows {
			return s, err
		}
		s.Rows = max(s.Rows/2, fewestRows)
	}
}
