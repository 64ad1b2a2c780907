package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// pool splits loops over cores. A decode step is hundreds of loops of tens of
// microseconds each, so a worker that has just finished one looks for the
// next for a while before it sleeps: waking a sleeper costs as much as a loop.
// It makes way meanwhile for the goroutines that copy and enqueue, which have
// no thread of their own.
type pool struct {
	workers int // counting the caller
	current atomic.Pointer[loop]
	asleep  atomic.Int32
	wake    chan struct{}
	stop    chan struct{}
	exited  sync.WaitGroup
}

type loop struct {
	n     int64
	body  func(worker, i int)
	spans []span
	done  atomic.Int64
	trap  atomic.Pointer[panicked]
}

// span is a part of a loop, in a cache line of its own.
type span struct {
	next atomic.Int64
	end  int64
	_    [48]byte
}

type panicked struct{ value any }

const (
	// awake is for how long an idle worker looks for work before it sleeps.
	awake = 200 * time.Microsecond
	// looks is how often one looks before it makes way for others.
	looks = 256
	// patience is how often the caller looks whether others are done before it
	// makes way for them, or for what keeps them.
	patience = 40_000
)

func newPool(workers int) *pool {
	p := &pool{workers: workers, wake: make(chan struct{}, workers), stop: make(chan struct{})}
	for w := 1; w < workers; w++ {
		p.exited.Add(1)
		go p.work(w)
	}
	return p
}

func (p *pool) close() {
	close(p.stop)
	p.exited.Wait()
}

// run calls body(worker, i) for every i in [0, n), in any order; worker, below
// p.workers, tells apart the calls that may run at the same time. A panic in
// body comes out of run. Only one run may be going on.
func (p *pool) run(n int, body func(worker, i int)) { p.divide(n, 1, body) }

// spread is run with the loop cut into a span a worker, which takes its own in order
// before it helps with others': what lies in memory in the order of i is read as one
// stream a worker, each of which the memory's prefetching can follow.
func (p *pool) spread(n int, body func(worker, i int)) { p.divide(n, p.workers, body) }

func (p *pool) divide(n, spans int, body func(worker, i int)) {
	if n <= 1 || p.workers == 1 {
		for i := range n {
			body(0, i)
		}
		return
	}
	l := &loop{n: int64(n), body: body, spans: make([]span, spans)}
	for i := range l.spans {
		l.spans[i].next.Store(int64(i * n / spans))
		l.spans[i].end = int64((i + 1) * n / spans)
	}
	p.current.Store(l)
	for range p.asleep.Load() {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	l.take(0)
	for spins := 0; l.done.Load() < l.n; spins++ {
		if spins > patience {
			runtime.Gosched()
		}
	}
	p.current.Store(nil)
	if t := l.trap.Load(); t != nil {
		panic(t.value)
	}
}

func (l *loop) take(worker int) {
	for s := range l.spans {
		from := &l.spans[(worker+s)%len(l.spans)]
		for i := from.next.Add(1) - 1; i < from.end; i = from.next.Add(1) - 1 {
			l.one(worker, int(i))
		}
	}
}

func (l *loop) one(worker, i int) {
	defer l.done.Add(1)
	defer func() {
		if r := recover(); r != nil {
			l.trap.CompareAndSwap(nil, &panicked{r})
		}
	}()
	l.body(worker, i)
}

// await returns a loop that is not last, or nil if none comes soon.
func (p *pool) await(last *loop) *loop {
	for begin := time.Now(); ; {
		for range looks {
			if l := p.current.Load(); l != nil && l != last {
				return l
			}
		}
		runtime.Gosched()
		if time.Since(begin) > awake {
			return nil
		}
	}
}

func (p *pool) work(worker int) {
	defer p.exited.Done()
	var last *loop
	for {
		if l := p.await(last); l != nil {
			l.take(worker)
			last = l
			continue
		}
		p.asleep.Add(1)
		if l := p.current.Load(); l == nil || l == last {
			select {
			case <-p.wake:
			case <-p.stop:
				p.asleep.Add(-1)
				return
			}
		}
		p.asleep.Add(-1)
		select {
		case <-p.stop:
			return
		default:
		}
	}
}
