package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestLoadingLogged(t *testing.T) {
	var log bytes.Buffer
	l := newLoading(io.Discard, zerolog.New(&log))
	l.show(5e8, 9e8) // too small to be shown
	if l.now.Load() != nil {
		t.Error("a small model is shown")
	}
	l.show(6<<30, 16<<30)
	if log.Len() > 0 {
		t.Errorf("at once, the log says %s", &log)
	}
	// A minute later, and half an hour, in which there are many tensors.
	l.start, l.last = l.start.Add(-time.Minute), l.last.Add(-time.Minute)
	l.show(6<<30, 16<<30)
	var line map[string]string
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, &log)
	}
	for key, want := range map[string]string{
		"message": "loading the model", "done": "6 GiB", "of": "16 GiB", "share": "37%",
	} {
		if line[key] != want {
			t.Errorf("%s is %q in the log, want %q", key, line[key], want)
		}
	}
	// How fast exactly depends on how long the test takes.
	if rate := line["rate"]; !strings.Contains(rate, " MiB/s  1m") || !strings.HasSuffix(rate, "s left") {
		t.Errorf("the rate is %q in the log, want some 102 MiB/s and 1m40s left", rate)
	}
	for done := int64(6 << 30); done <= 16<<30; done += 16 << 20 {
		l.last = l.last.Add(-4 * time.Second)
		l.show(done, 16<<30)
	}
	if n := strings.Count(log.String(), "\n"); n != loadingLogParts-1 {
		t.Errorf("%d lines, want %d: %s", n, loadingLogParts-1, &log)
	}
	l.stop()
}

// On a terminal there is a bar, which is gone in the end.
func TestLoadingShown(t *testing.T) {
	var screen bytes.Buffer
	l := newLoading(nil, zerolog.Nop())
	l.out = &screen
	l.show(4<<30, 16<<30)
	l.show(16<<30, 16<<30)
	l.stop()
	if l.bar == nil {
		t.Error("there was no bar")
	}
	for _, c := range []struct {
		state loadingState
		want  string
	}{
		{loadingState{4 << 30, 16 << 30, 2 * time.Second}, "loading the model  4 GiB of 16 GiB, 25%  2 GiB/s  6s left"},
		{loadingState{1<<34 - 1, 1 << 34, 2 * time.Second}, "loading the model  16 GiB of 16 GiB, 99%  8 GiB/s  0s left"},
		{loadingState{1 << 20, 16 << 30, time.Second / 4}, "loading the model  1 MiB of 16 GiB, 0% "}, // too soon for a rate
	} {
		if got := c.state.amount() + c.state.rate(); got != c.want {
			t.Errorf("the bar says %q, want %q", got, c.want)
		}
	}
}
