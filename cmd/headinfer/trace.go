package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"headinfer/stages"
	"headinfer/transfer"
)

// traceFile writes what engines have done in the trace-event format, which
// ui.perfetto.dev and chrome://tracing show. Each engine makes two processes:
// "host", with a track of the forward passes and one for every stage of both
// levels, and "device", with one for every stream. All times are on the
// host's clock, in microseconds since the file was opened.
//
// The events go to PATH.partial, which finish renames, so that PATH is whole
// at any time; a device or a pipe is written as it is.
type traceFile struct {
	path    string // or what it links to
	partial string // "" when path itself is written
	file    *os.File
	w       *bufio.Writer
	zero    time.Time
	started bool // there is an event before the next
	engines int
	line    []byte // scratch

	spans, dropped int
	clockError     time.Duration
	err            error // the first
}

// traceFigures is what a trace says in numbers.
type traceFigures struct {
	transfer.Shares
	Spans   int `json:"spans"`
	Dropped int `json:"dropped_spans"`
}

func (f *traceFigures) print(row func(name, format string, args ...any)) {
	dropped := ""
	if f.Dropped > 0 {
		dropped = fmt.Sprintf(", %d more dropped", f.Dropped)
	}
	row("trace", "%d spans%s", f.Spans, dropped)
	if f.PrefillPasses > 0 {
		row("  prefill", "%.0f%% of copying under compute, in %d passes", 100*f.PrefillHidden, f.PrefillPasses)
	}
	if f.DecodePasses > 0 {
		row("  decode", "copying to the device %.0f%% of the time, the median of %d passes", 100*f.DecodeCopyIn, f.DecodePasses)
	}
}

// createTrace opens a trace. What cannot become one is found now, and not when the work is done.
func createTrace(path string) (t *traceFile, err error) {
	t = &traceFile{path: path, zero: time.Now()}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		t.path = target // a rename would put a file in the link's place
	}
	info, err := os.Stat(t.path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a directory; name a file, such as %s", path, filepath.Join(path, "trace.json"))
	case err == nil && !info.Mode().IsRegular():
		t.file, err = os.OpenFile(t.path, os.O_WRONLY, 0)
	default:
		if err = os.MkdirAll(filepath.Dir(t.path), 0o755); err == nil {
			t.partial = t.path + ".partial"
			t.file, err = os.Create(t.partial)
		}
	}
	if err != nil {
		return nil, err
	}
	t.w = bufio.NewWriterSize(t.file, 1<<16)
	t.text(`{"displayTimeUnit":"ms","traceEvents":[`)
	return t, nil
}

// newTrace opens the trace of a run, or returns nil without a path, and makes
// the pipeline's engine keep what goes into it.
func newTrace(path, file, letters string, p *pipeline) (*traceFile, error) {
	if path == "" {
		return nil, nil
	}
	if user := stages.UserOf(path, p.Documents); user != "" {
		return nil, fmt.Errorf("--trace %s: the stage %q uses that file; name another", path, user)
	}
	if filepath.Clean(path) == filepath.Clean(file) {
		return nil, fmt.Errorf("--trace %s: that is the pipeline; name another file", path)
	}
	if filepath.Clean(path) == filepath.Clean(letters) {
		return nil, fmt.Errorf("--trace %s: the dead letters go to that file; name another", path)
	}
	t, err := createTrace(path)
	if err != nil {
		return nil, fmt.Errorf("--trace: %w", err)
	}
	p.trace = true
	return t, nil
}

// add writes what an engine has done, whose device must be open, and returns
// what that comes to. A label tells several engines of one file apart. Without
// a trace, or an engine that keeps one, it does nothing.
func (t *traceFile) add(label string, e *stages.Engine) *traceFigures {
	if t == nil {
		return nil
	}
	trace := e.Trace()
	if trace == nil {
		return nil
	}
	f := t.write(label, trace)
	return &f
}

// write writes the two processes of one engine.
func (t *traceFile) write(label string, trace *stages.Trace) traceFigures {
	if label != "" {
		label = " " + label
	}
	host, device := 2*t.engines+1, 2*t.engines+2
	t.engines++
	record := trace.Device
	f := traceFigures{Shares: transfer.MeasurePasses(record.Spans, record.Passes), Dropped: record.Dropped}

	t.name(host, 0, "process_name", "host"+label)
	t.name(host, 1, "thread_name", "passes")
	for _, p := range record.Passes {
		t.span(host, 1, p.String(), p.Start, p.End)
	}
	f.Spans = len(record.Passes) + len(record.Spans)
	first := 2 // track
	for _, level := range trace.Levels {
		tracks := level.Stages
		for i, stage := range tracks {
			t.name(host, first+i, "thread_name", fmt.Sprintf("%s: %s", level.Level, stage))
		}
		for _, s := range level.Spans {
			i := slices.Index(tracks, s.Stage)
			if i < 0 {
				i = len(tracks)
				tracks = append(tracks[:i:i], s.Stage)
				t.name(host, first+i, "thread_name", fmt.Sprintf("%s: %s", level.Level, s.Stage))
			}
			t.span(host, first+i, cmp.Or(s.Name, s.Stage), s.Start, s.End)
		}
		first += len(tracks)
		f.Spans += len(level.Spans)
		f.Dropped += level.Dropped
	}

	t.name(device, 0, "process_name", "device"+label)
	streams := transfer.Tracks()
	for i, s := range streams {
		t.name(device, i+1, "thread_name", string(s))
	}
	for _, s := range record.Spans {
		t.span(device, slices.Index(streams, s.Track)+1, s.Name, record.Clock.Host(s.Start), record.Clock.Host(s.End))
	}
	t.spans += f.Spans
	t.dropped += f.Dropped
	t.clockError = max(t.clockError, record.Clock.Error)
	return f
}

// name writes a process's or a track's name, and a track's place among the others.
func (t *traceFile) name(process, track int, what, name string) {
	t.separate()
	t.text(fmt.Sprintf(`{"ph":"M","pid":%d,"tid":%d,"name":%q,"args":{"name":%s}}`, process, track, what, quote(name)))
	if what == "thread_name" {
		t.separate()
		t.text(fmt.Sprintf(`{"ph":"M","pid":%d,"tid":%d,"name":"thread_sort_index","args":{"sort_index":%d}}`, process, track, track))
	}
}

// span writes one span, some 80 bytes.
func (t *traceFile) span(process, track int, name string, start, end time.Time) {
	t.separate()
	b := t.line[:0]
	b = append(b, `{"ph":"X","pid":`...)
	b = strconv.AppendInt(b, int64(process), 10)
	b = append(b, `,"tid":`...)
	b = strconv.AppendInt(b, int64(track), 10)
	b = append(b, `,"ts":`...)
	b = appendMicroseconds(b, start.Sub(t.zero))
	b = append(b, `,"dur":`...)
	b = appendMicroseconds(b, max(end.Sub(start), 0))
	b = append(b, `,"name":`...)
	b = append(b, quote(name)...)
	b = append(b, '}')
	t.line = b
	t.fail(t.w.Write(t.line))
}

// appendMicroseconds writes a time to the nanosecond.
func appendMicroseconds(b []byte, d time.Duration) []byte {
	if d < 0 {
		b = append(b, '-')
		d = -d
	}
	b = strconv.AppendInt(b, int64(d/1000), 10)
	n := d % 1000
	return append(b, '.', byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
}

func quote(s string) string {
	b, _ := json.Marshal(s) // of a string, it cannot fail
	return string(b)
}

// separate comes before each event.
func (t *traceFile) separate() {
	if t.started {
		t.text(",\n")
		return
	}
	t.started = true
	t.text("\n")
}

func (t *traceFile) text(s string) { t.fail(t.w.WriteString(s)) }

func (t *traceFile) fail(_ int, err error) {
	if t.err == nil {
		t.err = err
	}
}

// finish ends the trace and gives it its name. A trace to which no engine has
// been added becomes no file.
func (t *traceFile) finish() error {
	if t == nil {
		return nil
	}
	if t.engines == 0 && t.partial != "" {
		if err := errors.Join(t.file.Close(), os.Remove(t.partial)); err != nil {
			return fmt.Errorf("trace: %w", err)
		}
		return nil
	}
	t.text(fmt.Sprintf("\n],\"otherData\":{\"spans\":%d,\"dropped_spans\":%d,\"clock_error_us\":", t.spans, t.dropped))
	t.text(string(appendMicroseconds(nil, t.clockError)) + "}}\n")
	err := t.err
	if err == nil {
		err = t.w.Flush()
	}
	if err == nil && t.partial != "" {
		err = t.file.Sync()
	}
	err = errors.Join(err, t.file.Close())
	if t.partial != "" {
		if err == nil {
			err = os.Rename(t.partial, t.path)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(t.partial))
		}
	}
	if err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return nil
}
