package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// pool splits loops over cores. A decode step is hundreds of loops of tens of
// microseconds each, so a worker that has just finished one looks for the
// next for a while before it sleeps: waking a sleeper costs as much as a loop.
type pool struct {
	workers int // counting the caller
	current atomic.Pointer[loop]
	asleep  atomic.Int32
	wake    chan struct{}
	stop    chan struct{}
	exited  sync.WaitGroup
}

type loop struct {
	n    int64
	body func(worker, i int)
	next atomic.Int64
	done atomic.Int64
	trap atomic.Pointer[panicked]
}

type panicked struct{ value any }

// looks is how often an idle worker polls before it sleeps, some 50 µs.
const looks = 40_000

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
func (p *pool) run(n int, body func(worker, i int)) {
	if n <= 1 || p.workers == 1 {
		for i := range n {
			body(0, i)
		}
		return
	}
	l := &loop{n: int64(n), body: body}
	p.current.Store(l)
	for range p.asleep.Load() {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	l.take(0)
	for spins := 0; l.done.Load() < l.n; spins++ {
		if spins > looks {
			runtime.Gosched()
		}
	}
	p.current.Store(nil)
	if t := l.trap.Load(); t != nil {
		panic(t.value)
	}
}

func (l *loop) take(worker int) {
	for {
		i := l.next.Add(1) - 1
		if i >= l.n {
			return
		}
		l.one(worker, int(i))
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

func (p *pool) work(worker int) {
	defer p.exited.Done()
	var last *loop
	for {
		found := false
		for range looks {
			if l := p.current.Load(); l != nil && l != last {
				l.take(worker)
				last, found = l, true
				break
			}
		}
		if found {
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
