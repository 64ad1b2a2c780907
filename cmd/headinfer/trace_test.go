package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"

	"headinfer/config"
	"headinfer/stages"
	"headinfer/transfer"
)

// traceJSON is a trace as a viewer reads it.
type traceJSON struct {
	TraceEvents []traceEvent `json:"traceEvents"`
	OtherData   struct {
		Spans      int     `json:"spans"`
		Dropped    int     `json:"dropped_spans"`
		ClockError float64 `json:"clock_error_us"`
	} `json:"otherData"`
}

type traceEvent struct {
	Phase   string  `json:"ph"`
	Process int     `json:"pid"`
	Thread  int     `json:"tid"`
	Time    float64 `json:"ts"`
	Lasts   float64 `json:"dur"`
	Name    string  `json:"name"`
	Args    struct {
		Name string `json:"name"`
	} `json:"args"`
}

// parseTrace reads a trace and sorts its spans by "process: track"; every
// track that is named is there, with spans or not.
func parseTrace(data []byte) (all traceJSON, tracks []string, spans map[string][]traceEvent, err error) {
	if err := json.Unmarshal(data, &all); err != nil {
		return all, nil, nil, err
	}
	type id struct{ process, thread int }
	processes, names := map[int]string{}, map[id]string{}
	spans = map[string][]traceEvent{}
	for _, e := range all.TraceEvents {
		track := id{e.Process, e.Thread}
		switch {
		case e.Phase == "M" && e.Name == "process_name":
			processes[e.Process] = e.Args.Name
		case e.Phase == "M" && e.Name == "thread_name":
			names[track] = processes[e.Process] + ": " + e.Args.Name
			tracks = append(tracks, names[track])
		case e.Phase == "X":
			name, ok := names[track]
			if !ok || e.Time < 0 || e.Lasts < 0 || e.Name == "" {
				return all, nil, nil, fmt.Errorf("a span %+v on a track named %q", e, name)
			}
			spans[name] = append(spans[name], e)
		}
	}
	return all, tracks, spans, nil
}

// tracks file track...: the file is a trace with exactly these tracks, in this
// order, each of which has a span and none that overlap.
func tracks(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: tracks file track...")
	}
	_, got, spans, err := parseTrace([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	if !slices.Equal(got, args[1:]) {
		ts.Fatalf("%s has the tracks %q", args[0], got)
	}
	for _, track := range got {
		own := spans[track]
		slices.SortFunc(own, func(a, b traceEvent) int { return int(1000 * (a.Time - b.Time)) })
		for i, s := range own {
			// Times are to the nanosecond.
			if i > 0 && s.Time < own[i-1].Time+own[i-1].Lasts-0.002 {
				ts.Fatalf("on %q, %+v begins before the end of %+v", track, s, own[i-1])
			}
		}
		if len(own) == 0 {
			ts.Fatalf("%q has no spans", track)
		}
	}
}

// TestTraceHasOneClock runs the tiny model under several labels, and compares
// the device's spans with the passes of the host.
func TestTraceHasOneClock(t *testing.T) {
	r := random(t)
	path := filepath.Join(t.TempDir(), "new", "trace.json")
	trace, err := createTrace(path)
	if err != nil {
		t.Fatal(err)
	}
	labels := []string{"", "headinfer-1 4Ki"}
	want := 0
	for _, label := range labels {
		f := traced(t, r, trace, label)
		if f.PrefillPasses < 1 || f.DecodePasses != 2 || f.Spans == 0 || f.Dropped != 0 {
			t.Errorf("%q: %+v", label, f)
		}
		want += f.Spans
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before its end the trace has its name: %v", err)
	}
	if err := trace.finish(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all, _, spans, err := parseTrace(data)
	if err != nil {
		t.Fatal(err)
	}
	if all.OtherData.Spans != want {
		t.Errorf("%d spans, and otherData says %+v", want, all.OtherData)
	}
	slack := all.OtherData.ClockError + 0.002
	for _, suffix := range []string{"", " headinfer-1 4Ki"} {
		passes := spans["host"+suffix+": passes"]
		if len(passes) < 3 {
			t.Fatalf("%q has the passes %+v", suffix, passes)
		}
		for _, track := range transfer.Tracks() {
			for _, s := range spans["device"+suffix+": "+string(track)] {
				if !slices.ContainsFunc(passes, func(p traceEvent) bool {
					return s.Time >= p.Time-slack && s.Time+s.Lasts <= p.Time+p.Lasts+slack
				}) {
					t.Errorf("%q on %q, %.3f µs from %.3f on, is in no pass", s.Name, track, s.Lasts, s.Time)
				}
			}
		}
	}
	if perSpan := float64(len(data)) / float64(want); perSpan < 60 || perSpan > 120 {
		t.Errorf("%.0f bytes a span; docs/tracing.md says some 80", perSpan)
	} else {
		t.Logf("%.0f bytes a span", perSpan)
	}
}

// traced prefills a few chunks, decodes two tokens, and adds that to a trace.
func traced(t *testing.T, r *rand.Rand, trace *traceFile, label string) *traceFigures {
	t.Helper()
	var o overrides
	p, err := o.load(filepath.Join("..", "..", "pipelines", "headinfer-1.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p.Model.Path, p.Device.Kind, p.trace = tinyModel(t), "cpu", true
	engine, done, err := openEngine(p, zerolog.New(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	text, err := engine.Admit(t.Context(), "a text")
	if err != nil {
		t.Fatal(err)
	}
	_, err = text.Prefill(t.Context(), make([]int32, 20+r.IntN(50)), 1+r.IntN(20), 2)
	for range 2 {
		if err == nil {
			_, err = text.Step(t.Context(), 1)
		}
	}
	text.Release()
	f := trace.add(label, engine)
	if err := errors.Join(err, done()); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestTraceWritesWhatItIsGiven has names that JSON must escape, stages that no
// file lists, and times to the nanosecond.
func TestTraceWritesWhatItIsGiven(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace.json")
	trace, err := createTrace(path)
	if err != nil {
		t.Fatal(err)
	}
	at := func(ns int) time.Time { return trace.zero.Add(time.Duration(ns)) }
	f := trace.write("", &stages.Trace{
		Levels: []stages.LevelTrace{
			{Level: config.Documents, Stages: []string{"files", "jsonl"}, Dropped: 5, Spans: []stages.StageSpan{
				{Stage: "jsonl", Name: "a \"b\"\\\n\x00\xff<é>", Start: at(1), End: at(1_234_567)},
				{Stage: "a connector", Start: at(2_000_000), End: at(2_000_010)},
				{Stage: "a connector", Start: at(3_000_000), End: at(2_999_999)},
			}},
			{Level: config.Heads, Stages: []string{"prefetch"}},
		},
		Device: &transfer.Record{
			Passes:  []transfer.Pass{{Number: 0, Kind: transfer.Prefill, Tokens: transfer.Range{From: 0, To: 9}, Start: at(5), End: at(1_000_000_005)}},
			Dropped: 7,
		},
	})
	if err := trace.finish(); err != nil {
		t.Fatal(err)
	}
	if want := (traceFigures{Shares: transfer.Shares{PrefillPasses: 1, PrefillHidden: 1}, Spans: 4, Dropped: 12}); f != want {
		t.Errorf("figures %+v, want %+v", f, want)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all, names, spans, err := parseTrace(data)
	if err != nil {
		t.Fatal(err)
	}
	if all.OtherData.Dropped != 12 || all.OtherData.Spans != 4 {
		t.Errorf("otherData %+v", all.OtherData)
	}
	wantNames := []string{
		"host: passes", "host: documents: files", "host: documents: jsonl", "host: documents: a connector", "host: heads: prefetch",
		"device: copy in", "device: compute", "device: copy out",
	}
	slices.Sort(wantNames)
	slices.Sort(names)
	if !slices.Equal(names, wantNames) {
		t.Errorf("tracks %q, want %q", names, wantNames)
	}
	if got := spans["host: documents: jsonl"]; len(got) != 1 || got[0].Name != "a \"b\"\\\n\x00\uFFFD<é>" || got[0].Time != 0.001 || got[0].Lasts != 1234.566 {
		t.Errorf("jsonl: %+v", got)
	}
	if got := spans["host: documents: a connector"]; len(got) != 2 || got[0].Name != "a connector" || got[0].Lasts != 0.01 || got[1].Lasts != 0 {
		t.Errorf("a connector: %+v", got)
	}
	if got := spans["host: passes"]; len(got) != 1 || got[0].Name != "prefill t0:9" || got[0].Time != 0.005 || got[0].Lasts != 1e6 {
		t.Errorf("passes: %+v", got)
	}
}

func TestMicroseconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.000", 7: "0.007", 1000: "1.000", 123_456_789: "123456.789", -1: "-0.001", -1_000_050: "-1000.050",
	} {
		if got := string(appendMicroseconds(nil, d)); got != want {
			t.Errorf("%d ns are written %s, want %s", d, got, want)
		}
	}
}

func TestTraceFigures(t *testing.T) {
	var lines []string
	row := func(name, format string, args ...any) {
		lines = append(lines, name+"|"+fmt.Sprintf(format, args...))
	}
	(&traceFigures{Spans: 10, Dropped: 3, Shares: transfer.Shares{PrefillPasses: 2, PrefillHidden: 0.971, DecodePasses: 4, DecodeCopyIn: 0.5}}).print(row)
	(&traceFigures{}).print(row)
	want := []string{
		"trace|10 spans, 3 more dropped",
		"  prefill|97% of copying under compute, in 2 passes",
		"  decode|copying to the device 50% of the time, the median of 4 passes",
		"trace|0 spans",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("printed\n%s", strings.Join(lines, "\n"))
	}
}
