package rate

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"headinfer/kernels"
)

const (
	// computing and moving are how many seconds one call should take, if the
	// shape is large enough for it.
	computing = 0.03
	moving    = 0.01
	// each is the least that a repetition takes, in seconds: short calls are
	// timed many together.
	each = 0.01
	// warmUp is for how many seconds a call is repeated before it counts: a
	// GPU at rest takes that long to raise its clock.
	warmUp = 0.02
	// repetitions are made, or fewer where they take longer than patience.
	repetitions       = 8
	fewestRepetitions = 3
	patience          = 300 * time.Millisecond
	// mostCalls bounds a repetition where a clock is too coarse to time calls.
	mostCalls = 1024
)

// meter times operators on a device and owns the memory that they need.
type meter struct {
	dev          kernels.Device
	stream       kernels.Stream // what is timed runs here
	other        kernels.Stream // copies beside it; nil until needed
	began, ended kernels.Event
	seed         uint64
	buffers      []kernels.Buffer
	host         [][]byte
}

func newMeter(dev kernels.Device) *meter {
	return &meter{
		dev: dev, stream: dev.NewStream("rate"), began: dev.NewEvent(), ended: dev.NewEvent(), seed: rand.Uint64(),
	}
}

// release gives back all memory taken, once the streams have run dry.
func (m *meter) release() {
	// The failure, if any, has been met by what was timed.
	_ = m.stream.Synchronize()
	if m.other != nil {
		_ = m.other.Synchronize()
	}
	for _, b := range m.buffers {
		m.dev.Free(b)
	}
	for _, b := range m.host {
		m.dev.Host().Free(b)
	}
	m.buffers, m.host = nil, nil
}

// matrix takes device memory for random numbers.
func (m *meter) matrix(d kernels.DType, rows, cols int, what string) (kernels.Tensor, error) {
	t := kernels.Matrix(nil, d, rows, cols)
	b, err := m.dev.Alloc(t.Bytes(), kernels.Workspace, what+" to measure with")
	if err != nil {
		return kernels.Tensor{}, err
	}
	m.buffers = append(m.buffers, b)
	t.Data = b.Data
	m.fill(t)
	return t, nil
}

// fill writes random numbers. Past a million they repeat, which no hardware
// notices and copying is faster than making them.
func (m *meter) fill(t kernels.Tensor) {
	const fresh = 1 << 20
	all := kernels.Matrix(t.Data, t.DType, 1, t.Rows*t.Cols)
	n := min(all.Cols, fresh)
	m.seed++
	m.dev.Random(m.stream, all.ColRange(0, n), m.seed, 0, 1)
	for ; n < all.Cols; n *= 2 {
		part := min(n, all.Cols-n)
		m.dev.CopyWithin(m.stream, all.ColRange(n, n+part), all.ColRange(0, part))
	}
}

// hostMatrix takes host memory that the device copies to and from.
func (m *meter) hostMatrix(d kernels.DType, cols int) (kernels.Tensor, error) {
	bytes, err := d.RowBytes(cols)
	if err != nil {
		return kernels.Tensor{}, err
	}
	b, err := kernels.AllocateHost(m.dev.Host(), bytes, "measuring")
	if err != nil {
		return kernels.Tensor{}, err
	}
	m.host = append(m.host, b)
	return kernels.HostMatrix(b, d, 1, cols)
}

// run returns the seconds that n calls take on the device.
func (m *meter) run(n int, call func()) (float64, error) {
	m.stream.Record(m.began)
	for range n {
		call()
	}
	m.stream.Record(m.ended)
	if err := m.ended.Wait(); err != nil {
		return 0, err
	}
	return seconds(m.ended.Time() - m.began.Time()), nil
}

// seconds is never 0, so that every rate is finite.
func seconds(d time.Duration) float64 { return max(d, time.Nanosecond).Seconds() }

// trial returns roughly how many seconds a call takes, the first not counted:
// it may load what it needs.
func (m *meter) trial(call func()) (float64, error) {
	_, first := m.run(1, call)
	t, err := m.run(1, call)
	return t, errors.Join(first, err)
}

// time returns how many seconds a call takes at best.
func (m *meter) time(call func()) (float64, error) {
	if _, err := m.run(1, call); err != nil {
		return 0, err
	}
	calls := 1
	for spent := 0.; spent < warmUp && calls < mostCalls; {
		t, err := m.run(calls, call)
		if err != nil {
			return 0, err
		}
		spent += t
		if t < each {
			calls *= 2
		}
	}
	var times []float64
	for start := time.Now(); !enough(times, start); {
		t, err := m.run(calls, call)
		if err != nil {
			return 0, err
		}
		times = append(times, t/float64(calls))
	}
	return slices.Min(times), nil
}

// enough says whether what has been measured since start will do.
func enough(times []float64, start time.Time) bool {
	return len(times) >= repetitions || len(times) >= fewestRepetitions && time.Since(start) > patience
}

// grow looks for the amount of work, from least to most, that takes target
// seconds or half of them. try returns the seconds that an amount took.
func grow(target, least, most float64, try func(work float64) (float64, error)) (float64, error) {
	const fastest = 64 // times more, as the rate of little work says little
	for work := min(least, most); ; {
		t, err := try(work)
		if err != nil || work >= most || t > target/2 {
			return work, err
		}
		work = min(most, work*min(fastest, target/t))
	}
}
