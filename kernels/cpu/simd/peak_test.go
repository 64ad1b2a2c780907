package simd

import (
	"time"
)

// Peak is what one core reaches at the level in use, measured: the ceilings
// that a kernel's rate is a share of.
type Peak struct {
	FLOPPerSecond  float64 // of independent multiply–adds, each counted as two
	BytesPerSecond float64 // of reading memory in order, from beyond the caches
}

// MeasurePeak takes about 50 ms; it keeps the best of short measurements, which
// other programs disturb less. buf should be several times the last-level cache
// and have been written to: pages never written to are all one page.
func MeasurePeak(buf []byte) Peak {
	s := current.Load()
	var p Peak
	const rounds, part = 1 << 16, 4 << 20
	best := func(at *float64, work float64, f func()) {
		start := time.Now()
		f()
		*at = max(*at, work/time.Since(start).Seconds())
	}
	for range 40 {
		best(&p.FLOPPerSecond, float64(rounds*12*2*s.lanes), func() { s.peakFMA(rounds) })
	}
	for ; len(buf) >= part; buf = buf[part:] {
		best(&p.BytesPerSecond, part, func() { s.readAll(&buf[0], part/512) })
	}
	return p
}
