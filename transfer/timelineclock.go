package transfer

import (
	"time"

	"headinfer/kernels"
)

// Clock puts times of a device, which count from its opening, on the host's
// clock. The zero Clock is of no use.
//
// The two clocks are compared when a time line is made and each time its
// record is taken, and what lies between is interpolated: two oscillators part
// by some parts in a million, a millisecond in minutes. Each comparison is off
// by at most Error, half of what recording an event on an idle stream and
// waiting for it took, at best of several tries: some microseconds for a
// processor, some ten for a GPU. What the device itself rounds comes on top: CUDA
// tells times in 32-bit milliseconds, so 8 µs after two minutes and 60 µs
// after a quarter of an hour.
type Clock struct {
	Error time.Duration

	first, last moment
}

// moment is one moment on both clocks.
type moment struct {
	device time.Duration
	host   time.Time
	off    time.Duration // at most, either way
}

// Host returns when a device's time was on the host's clock.
func (c Clock) Host(device time.Duration) time.Time {
	since := device - c.first.device
	if apart := c.last.device - c.first.device; apart > 0 {
		host := c.last.host.Sub(c.first.host)
		// The difference of the two lapses is small, so no precision is lost.
		since += time.Duration(float64(host-apart) * (float64(since) / float64(apart)))
	}
	return c.first.host.Add(since)
}

// clock compares a device's clock with the host's.
type clock struct {
	dev    kernels.Device
	stream kernels.Stream // idle but for this
	event  kernels.Event
	Clock
}

func newClock(dev kernels.Device) *clock {
	c := &clock{dev: dev, stream: dev.NewStream("clock"), event: dev.NewEvent()}
	c.first = c.read()
	c.last, c.Error = c.first, c.first.off
	return c
}

// compare reads both clocks once more, if the device still answers.
func (c *clock) compare() Clock {
	if now := c.read(); c.dev.Err() == nil {
		c.last, c.Error = now, max(c.first.off, now.off)
	}
	return c.Clock
}

// tries is how often a comparison is made; the quickest says most.
const tries = 32

func (c *clock) read() moment {
	var best moment
	for i := range tries {
		before := time.Now()
		c.stream.Record(c.event)
		at := c.event.Time() // waits for it
		off := time.Since(before) / 2
		if i == 0 || off < best.off {
			best = moment{at, before.Add(off), off}
		}
	}
	return best
}
