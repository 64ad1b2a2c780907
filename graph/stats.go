package graph

import (
	"sync/atomic"
	"time"
)

// Stats is what a node has done so far.
type Stats struct {
	Name     string        `json:"name"`
	In       int64         `json:"in"`       // items taken from the inlet, dropped ones not counted
	Out      int64         `json:"out"`      // items emitted; one that went to several readers counts once
	Errors   int64         `json:"errors"`   // failures of the stage: at most a few, since the first ends the run
	Dead     int64         `json:"dead"`     // documents dropped to the dead letters
	Busy     time.Duration `json:"busy_ns"`  // time in the stage's own code, without waiting for input or for readers
	Queue    int           `json:"queue"`    // items waiting in the inlet now
	Capacity int           `json:"capacity"` // items that may wait in the inlet
}

// counters are the parts of Stats that a running node changes, and any goroutine may read.
type counters struct {
	in, out, errors, dead atomic.Int64
	busy                  atomic.Int64 // nanoseconds in Process, Consume and Produce, waiting for readers included
	blocked               atomic.Int64 // nanoseconds of those waiting for readers
	working               atomic.Int64 // since when a Batcher has been busy; 0: it waits
}

func (n *node) stats() Stats {
	busy := n.count.busy.Load()
	if start := n.count.working.Load(); start != 0 {
		busy += since() - start
	}
	if n.produce != nil {
		if start := n.started.Load(); start != 0 && n.ended.Load() == 0 {
			busy = since() - start
		}
	}
	return Stats{
		Name:     n.name,
		In:       n.count.in.Load(),
		Out:      n.count.out.Load(),
		Errors:   n.count.errors.Load(),
		Dead:     n.count.dead.Load(),
		Busy:     time.Duration(max(busy-n.count.blocked.Load(), 0)),
		Queue:    len(n.in),
		Capacity: cap(n.in),
	}
}

// epoch is what since counts from: a monotonic reading alone costs half of what time.Now does.
var epoch = time.Now()

// since returns nanoseconds on the monotonic clock, never 0 after the program's first instant.
func since() int64 { return int64(time.Since(epoch)) }
