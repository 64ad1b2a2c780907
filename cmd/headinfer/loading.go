package main

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"headinfer/kernels"
)

const (
	// loadingShown is how many bytes of weights take long enough to be shown.
	loadingShown = 1e9
	// loadingLogEvery is how often a log says how far loading is, at most.
	loadingLogEvery = 10 * time.Second
	// loadingLogParts is after how many parts of a model a log says so, but for the
	// last: however long it takes, there are no more lines than that.
	loadingLogParts = 4
)

// loadingState is how far loading is at some time.
type loadingState struct {
	done, total int64
	took        time.Duration
}

// loading shows how the weights get to the device: by a bar on a terminal, by a
// line now and then in a log.
type loading struct {
	out   io.Writer // the terminal, or nil
	log   zerolog.Logger
	start time.Time
	last  time.Time // of the log
	parts int64     // that the log has been told of
	now   atomic.Pointer[loadingState]
	bars  *mpb.Progress
	bar   *mpb.Bar
}

func newLoading(errOut io.Writer, log zerolog.Logger) *loading {
	l := &loading{log: log, start: time.Now(), last: time.Now()}
	if isTerminal(errOut) {
		l.out = errOut
	}
	return l
}

// show is told of the bytes that are there, of all.
func (l *loading) show(done, total int64) {
	if total < loadingShown {
		return
	}
	now := time.Now()
	state := &loadingState{done, total, now.Sub(l.start)}
	l.now.Store(state)
	if l.out == nil {
		if part := done / (total / loadingLogParts); part > l.parts && done < total && now.Sub(l.last) >= loadingLogEvery {
			l.last, l.parts = now, part
			l.log.Info().Str("done", kernels.FormatBytes(done)).Str("of", kernels.FormatBytes(total)).
				Str("share", state.share()).Str("rate", strings.TrimSpace(state.rate())).Msg("loading the model")
		}
		return
	}
	if l.bar == nil {
		l.bars = mpb.New(mpb.WithOutput(l.out), mpb.WithWidth(40))
		l.bar = l.bars.AddBar(0,
			mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return l.now.Load().amount() })),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return l.now.Load().rate() })))
	}
	// Never complete, so that nothing of it stays on the screen.
	l.bar.SetTotal(total, false)
	l.bar.SetCurrent(done)
}

// stop takes the bar away.
func (l *loading) stop() {
	if l.bar != nil {
		l.bar.Abort(true)
		l.bars.Wait()
	}
}

// amount says how much is there.
func (s loadingState) amount() string {
	return fmt.Sprintf("loading the model  %s of %s, %s ", kernels.FormatBytes(s.done), kernels.FormatBytes(s.total), s.share())
}

// share says it as a part of all, which it does not reach before the end.
func (s loadingState) share() string { return fmt.Sprintf("%d%%", 100*s.done/s.total) }

// rate says how fast it comes, and how long the rest will take. At first there is
// nothing to go by.
func (s loadingState) rate() string {
	if s.took < time.Second/2 || s.done == 0 {
		return ""
	}
	second := float64(s.done) / s.took.Seconds()
	rest := time.Duration(float64(s.total-s.done) / second * float64(time.Second))
	return fmt.Sprintf(" %s/s  %s left", kernels.FormatBytes(int64(second)), rest.Round(time.Second))
}
