package main

import (
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"headinfer/graph"
)

// progress shows on a terminal which document is being read and how many are
// done. Elsewhere it does nothing.
type progress struct {
	out  io.Writer
	show bool
	mu   sync.Mutex
	name string
	bars *mpb.Progress
	bar  *mpb.Bar
	run  *graph.Run
}

func newProgress(w io.Writer) *progress { return &progress{out: w, show: isTerminal(w)} }

func (p *progress) start(run *graph.Run) {
	if !p.show {
		return
	}
	p.run = run
	p.bars = mpb.New(mpb.WithOutput(p.out), mpb.WithWidth(40))
	// With a total from the start, mpb would let nobody change it.
	p.bar = p.bars.AddBar(0,
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return p.label() })),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d tokens")))
}

// label says how many documents are done, and which is being read.
func (p *progress) label() string {
	all := p.run.Stats()
	p.mu.Lock()
	defer p.mu.Unlock()
	name := ""
	if p.name != "" {
		name = filepath.Base(p.name) + " "
	}
	return fmt.Sprintf("%d done  %s", all[len(all)-1].In, name)
}

func (p *progress) stop() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.bars.Wait()
	}
}

// Prefill moves the bar.
func (p *progress) Prefill(document string, done, total int) {
	if p.bar == nil {
		return
	}
	p.mu.Lock()
	p.name = document
	p.mu.Unlock()
	// Never complete, so that the bar stays for the next document.
	p.bar.SetTotal(int64(total), false)
	p.bar.SetCurrent(int64(done))
}

// Text shows nothing: answers go to the sink.
func (p *progress) Text(string, string) {}
