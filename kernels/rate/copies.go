package rate

import (
	"fmt"
	"math"
	"slices"
	"time"

	"headinfer/kernels"
)

const (
	leastBytes = 16 << 20
	mostCopied = 128 << 20
	// pieces is into how many a buffer is divided while both directions run.
	pieces = 4
	// mostSweeps over the buffers are made then.
	mostSweeps = 16
)

// Copies measures the four rates of copies, and leaves the others 0. bytes is
// the size of the buffer for each direction: less where the ledger has no room
// for two of them, but never less than 16 MiB.
func Copies(dev kernels.Device, bytes int64) (Rates, error) {
	m := newMeter(dev)
	defer m.release()
	r, err := m.copies(bytes)
	if err != nil {
		return Rates{}, fmt.Errorf("measuring copies: %w", err)
	}
	return r, nil
}

func (m *meter) copies(bytes int64) (r Rates, err error) {
	d := m.dev.Info().Activations
	cols := int(max(min(bytes, m.dev.Ledger().Left()/2), leastBytes)) / d.BlockBytes() / pieces * pieces
	m.other = m.dev.NewStream("rate, other way")
	in, out := &direction{stream: m.stream}, &direction{stream: m.other}
	for _, way := range []*direction{in, out} {
		if way.device, err = m.matrix(d, 1, cols, "copies"); err != nil {
			return r, err
		}
		if way.host, err = m.hostMatrix(d, cols); err != nil {
			return r, err
		}
		m.dev.CopyOut(m.stream, way.host, way.device) // random numbers there too
	}
	in.copy, out.copy = m.in, m.out
	size := float64(in.host.Bytes())
	alone := func(way *direction) (float64, error) {
		return m.time(func() { way.copy(m.stream, way, 0, cols) })
	}
	inTime, err := alone(in)
	if err != nil {
		return r, err
	}
	outTime, err := alone(out)
	if err != nil {
		return r, err
	}
	r.CopyIn, r.CopyOut = size/inTime, size/outTime
	sweeps := min(int(math.Ceil(2*each/min(inTime, outTime)))+1, mostSweeps)
	r.BothIn, r.BothOut, err = m.both(in, out, sweeps)
	return r, err
}

// direction is one way to copy, and when its pieces were through.
type direction struct {
	stream       kernels.Stream
	device, host kernels.Tensor
	copy         func(s kernels.Stream, d *direction, lo, hi int)
	passed       []kernels.Event // at the start and after each piece
}

func (m *meter) in(s kernels.Stream, d *direction, lo, hi int) {
	m.dev.CopyIn(s, d.device.ColRange(lo, hi), d.host.ColRange(lo, hi))
}

func (m *meter) out(s kernels.Stream, d *direction, lo, hi int) {
	m.dev.CopyOut(s, d.host.ColRange(lo, hi), d.device.ColRange(lo, hi))
}

// both copies in both directions at once. What counts is the time in which
// neither has ended.
func (m *meter) both(in, out *direction, sweeps int) (inRate, outRate float64, err error) {
	n := sweeps * pieces
	for _, way := range []*direction{in, out} {
		for range n + 1 {
			way.passed = append(way.passed, m.dev.NewEvent())
		}
	}
	var ins, outs []float64
	for start := time.Now(); !enough(ins, start); {
		// Neither starts before both can.
		m.stream.Record(m.began)
		out.stream.Wait(m.began)
		out.stream.Record(m.ended)
		m.stream.Wait(m.ended)
		for i := range n + 1 {
			in.piece(i)
			out.piece(i)
		}
		for _, way := range []*direction{in, out} {
			if err := way.passed[n].Wait(); err != nil {
				return 0, 0, err
			}
		}
		x, y := overlap(in.times(), out.times())
		size := float64(in.host.Bytes()) / pieces
		ins, outs = append(ins, x*size), append(outs, y*size)
	}
	return slices.Max(ins), slices.Max(outs), nil
}

// piece enqueues a piece, the first being none, and notes when it is through.
func (d *direction) piece(i int) {
	if i > 0 {
		step := d.host.Cols / pieces
		lo := i % pieces * step
		d.copy(d.stream, d, lo, lo+step)
	}
	d.stream.Record(d.passed[i])
}

func (d *direction) times() []time.Duration {
	at := make([]time.Duration, len(d.passed))
	for i, e := range d.passed {
		at[i] = e.Time()
	}
	return at
}

// overlap returns how many pieces a second two directions moved in the time in
// which both were at it, or in all of the time if they never were at once; each
// gives when it started and when each of its pieces was through.
func overlap(a, b []time.Duration) (first, second float64) {
	from, to := max(a[0], b[0]), min(a[len(a)-1], b[len(b)-1])
	if to <= from {
		from, to = min(a[0], b[0]), max(a[len(a)-1], b[len(b)-1])
	}
	span := seconds(to - from)
	return (moved(a, to) - moved(a, from)) / span, (moved(b, to) - moved(b, from)) / span
}

// moved returns how many pieces were through at a time, the one under way in
// part.
func moved(at []time.Duration, t time.Duration) float64 {
	through := 0.
	for i := 1; i < len(at) && t > at[i-1]; i++ {
		through += min(1, float64(t-at[i-1])/float64(max(at[i]-at[i-1], 1)))
	}
	return through
}

// tryCopy times a copy of some bytes to the device.
func (m *meter) tryCopy(bytes float64) (float64, error) {
	defer m.release()
	d := m.dev.Info().Activations
	cols := int(bytes) / d.BlockBytes()
	device, err := m.matrix(d, 1, cols, "copies")
	if err != nil {
		return 0, err
	}
	host, err := m.hostMatrix(d, cols)
	if err != nil {
		return 0, err
	}
	m.dev.CopyOut(m.stream, host, device)
	return m.trial(func() { m.dev.CopyIn(m.stream, device, host) })
}
