package main

import (
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"headinfer/graph"
)

// progress shows on a terminal which document is being read and how many are
// done. Elsewhere it does nothing.
type progress struct {
	out  io.Writer
	log  zerolog.Logger
	show bool
	mu   sync.Mutex
	name string
	bars *mpb.Progress
	bar  *mpb.Bar
	run  *graph.Run

	total int64 // documents, or 0 where only their source knows
	began time.Time
}

func newProgress(w io.Writer) *progress {
	return &progress{out: w, log: newLogger(w), show: isTerminal(w)}
}

// start shows a run of some documents, or 0 for who knows how many.
func (p *progress) start(run *graph.Run, total int64) {
	if !p.show {
		return
	}
	p.run, p.total, p.began = run, total, time.Now()
	p.bars = mpb.New(mpb.WithOutput(p.out), mpb.WithWidth(40))
	// With a total from the start, mpb would let nobody change it.
	p.bar = p.bars.AddBar(0,
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return p.label() })),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d tokens")))
}

// label says how many answers are done, how fast, how long the rest will take, and
// which document is being read.
func (p *progress) label() string {
	if p.run == nil {
		return ""
	}
	now := paceOf(p.run.Stats(), p.total, time.Since(p.began))
	p.mu.Lock()
	defer p.mu.Unlock()
	name := ""
	if p.name != "" {
		name = filepath.Base(p.name) + " "
	}
	return now.String() + "  " + name
}

// pace is how fast a run gets on.
type pace struct {
	done, total int64         // answers by this process; documents, or 0
	second      float64       // answers a second
	left        time.Duration // until all are done; 0 where that is not known
}

// paceOf reads it from what the stages have done. What earlier runs answered is
// read, and left out by tokenize: it counts as done, and not for the rate.
func paceOf(all []graph.Stats, total int64, took time.Duration) pace {
	n := pace{done: all[len(all)-1].In, total: total}
	if took > 0 {
		n.second = float64(n.done) / took.Seconds()
	}
	if total == 0 || n.second == 0 || took < time.Second {
		return n
	}
	gone := n.done
	for i, s := range all {
		gone += s.Dead
		if s.Name == "tokenize" && i < len(all)-1 {
			gone += s.In - s.Out - s.Dead
		}
	}
	n.left = time.Duration(float64(max(total-gone, 0)) / n.second * float64(time.Second))
	return n
}

// String writes it short.
func (n pace) String() string {
	text := fmt.Sprintf("%d done", n.done)
	if n.total > 0 {
		text = fmt.Sprintf("%d of %d done", n.done, n.total)
	}
	if n.second > 0 {
		text += fmt.Sprintf(", %.3g/s", n.second)
	}
	if n.left > 0 {
		text += fmt.Sprintf(", %v left", n.left.Round(time.Second))
	}
	return text
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
