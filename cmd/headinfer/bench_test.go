package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"headinfer/kernels"
	devicerate "headinfer/kernels/rate"
	"headinfer/plan"
	"headinfer/stages"
)

// runBench runs the verb and reads what it prints with --json.
func runBench(t *testing.T, wantCode int, args ...string) (r benchReport, stderr string) {
	t.Helper()
	stdout, stderr, code := headinfer(t, t.TempDir(), append([]string{"bench", "--json"}, args...)...)
	if code != wantCode {
		t.Fatalf("%q: exit code %d: %s", args, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%q: %v in %s", args, err, stdout)
	}
	return r, stderr
}

// TestBenchFigures compares what rows say was moved and held with plan's
// arithmetic: what the rows' limits rest on.
func TestBenchFigures(t *testing.T) {
	t.Parallel()
	const chunk, decode = 96, 3
	r, _ := runBench(t, 0, "--model", "random:tiny", "--device", "cpu", "--chunk", "96", "--decode-tokens", "3", "--repeats", "2",
		"--method", "standard,chunked-prefill,adaptive,headinfer-1,tiled",
		"--context", "300,50", "--limits=false")
	if len(r.Rows) != 10 {
		t.Fatalf("%d rows", len(r.Rows))
	}
	for i, row := range r.Rows {
		if want := []int{50, 300}[i/5]; row.Context != want || row.Repeats != 2 || !row.Random || row.Filled || row.Error != "" {
			t.Fatalf("row %d: %+v; expected %d tokens", i, row, want)
		}
		if row.Prefill.Limit != nil || row.Decode.Limit != nil || r.Rates != nil {
			t.Errorf("%s: limits without rates", row.Pipeline)
		}
		onHost := row.Pipeline != "standard" && row.Pipeline != "chunked-prefill"
		passes := chunk
		if row.Pipeline == "standard" {
			passes = row.Context
		}
		if row.Chunk != min(passes, row.Context) {
			t.Errorf("%s: chunks of %d", row.Pipeline, row.Chunk)
		}
		m := tinyPlan()
		in, out := m.PrefillCopies(plan.Method{Chunk: row.Chunk, OnHost: onHost}, row.Context)
		if row.Prefill.In != in || row.Prefill.Out != out {
			t.Errorf("%s at %d: prefill moved %d in and %d out, plan says %d and %d", row.Pipeline, row.Context, row.Prefill.In, row.Prefill.Out, in, out)
		}
		in, out, host := int64(0), int64(0), int64(0)
		if onHost { // the middle one of three steps
			in, out, host = m.KV(row.Context+1), m.KV(1), m.KV(row.Context+decode)
		}
		if row.Decode.In != in || row.Decode.Out != out || row.HostKV != host {
			t.Errorf("%s at %d: a token moved %d in and %d out with %d on the host, want %d, %d and %d",
				row.Pipeline, row.Context, row.Decode.In, row.Decode.Out, row.HostKV, in, out, host)
		}
		if (row.Decode.Hidden != nil) != onHost {
			t.Errorf("%s: share hidden %v", row.Pipeline, row.Decode.Hidden)
		}
		checkTimes(t, row)
		checkPeak(t, row, m, onHost)
	}
}

// tinyPlan is random:tiny on the processor, for what is moved.
func tinyPlan() plan.Model {
	return plan.Model{Layers: 4, KVHeads: 4, HeadDim: 64, ElementBytes: 4}
}

func checkTimes(t *testing.T, row benchRow) {
	t.Helper()
	for name, p := range map[string]*benchPhase{"prefill": row.Prefill, "decode": row.Decode} {
		tokens := 1.0
		if name == "prefill" {
			tokens = float64(row.Context)
		}
		if !(p.Seconds > 0) || p.Slowest < p.Seconds || math.Abs(p.Tokens*p.Seconds-tokens) > 1e-6*tokens {
			t.Errorf("%s at %d: %s takes %+v", row.Pipeline, row.Context, name, p)
		}
		if p.Hidden != nil && !(*p.Hidden >= 0 && *p.Hidden <= 1) || p.Copying < 0 {
			t.Errorf("%s at %d: %s copies for %g s, %s of it hidden", row.Pipeline, row.Context, name, p.Copying, percent(p.Hidden))
		}
	}
}

// checkPeak checks that a row's peak is its own: the long rows come after the
// short ones of their method, and a method with the cache on the host after
// one that keeps it on the device.
func checkPeak(t *testing.T, row benchRow, m plan.Model, onHost bool) {
	t.Helper()
	u, sum := row.Memory, int64(0)
	for _, bytes := range u.AtPeak {
		sum += bytes
	}
	if u.Peak != sum || u.AtPeak[kernels.Weights] == 0 || u.AtPeak[kernels.Activations] == 0 {
		t.Errorf("%s at %d: a peak of %d, of %v", row.Pipeline, row.Context, u.Peak, u.AtPeak)
	}
	whole := m.KV(row.Context + 3)
	if kv := u.AtPeak[kernels.KVCache]; onHost && kv >= whole || !onHost && kv != whole {
		t.Errorf("%s at %d: %d bytes of cache on the device, and the whole takes %d", row.Pipeline, row.Context, kv, whole)
	}
	if row.Pipeline == "headinfer-1" && row.Group != 1 || row.Pipeline == "adaptive" && row.Group != m.KVHeads || row.Span != row.Context {
		t.Errorf("%s at %d: tiles of %d heads and %d tokens", row.Pipeline, row.Context, row.Group, row.Span)
	}
}

// TestBenchLimits has limits of this machine beside the figures.
func TestBenchLimits(t *testing.T) {
	t.Parallel()
	r, _ := runBench(t, 0, "--model", tinyModel(t), "--device", "cpu", "--context", "300", "--chunk", "64", "--decode-tokens", "2")
	if r.Rates == nil || !(r.Rates.CopyIn > 0 && r.Rates.Linear > 0 && r.Rates.Attention > 0 && r.Rates.Read > 0) {
		t.Fatalf("rates %+v", r.Rates)
	}
	if len(r.Rows) != 1 || r.Rows[0].Pipeline != "adaptive" || r.Rows[0].Random {
		t.Fatalf("rows %+v", r.Rows)
	}
	for _, p := range []*benchPhase{r.Rows[0].Prefill, r.Rows[0].Decode} {
		l := p.Limit
		if l == nil || !(l.Copy > 0 && l.Compute > 0) || l.Seconds != max(l.Copy, l.Compute) || math.Abs(l.Share*p.Seconds-l.Seconds) > 1e-9 {
			t.Errorf("the limit of %+v is %+v", p, l)
		}
	}
	if r.Machine.Processors < 1 || r.Machine.Date.IsZero() || !strings.Contains(r.Machine.Command, "--chunk 64") {
		t.Errorf("machine %+v", r.Machine)
	}
}

// TestBenchFill fills the cache instead of reading: no prefill, and the same
// bytes for a token.
func TestBenchFill(t *testing.T) {
	t.Parallel()
	r, _ := runBench(t, 0, "--model", "random:tiny", "--device", "cpu", "--context", "777", "--method", "standard,headinfer-2",
		"--decode-tokens", "1", "--kv-fill", "--limits=false")
	for i, in := range []int64{0, tinyPlan().KV(777)} {
		row := r.Rows[i]
		if !row.Filled || row.Prefill != nil || row.Decode.In != in || row.Error != "" {
			t.Errorf("%s: %+v, %+v; expected %d bytes in", row.Pipeline, row, row.Decode, in)
		}
	}
}

// TestBenchGoesOn measures what fits and says why the rest does not, for a
// budget of device memory and for one of host memory.
func TestBenchGoesOn(t *testing.T) {
	t.Parallel()
	type cell struct {
		pipeline string
		context  int
		errors   string
	}
	for _, c := range []struct {
		args []string
		want []cell
	}{
		{[]string{"--context", "100,900,1k", "--chunk", "64", "--method", "chunked-prefill,headinfer-1", "--device-memory", "9MiB"}, []cell{
			{"chunked-prefill", 100, ""}, {"headinfer-1", 100, ""},
			{"chunked-prefill", 900, "(kv) asked for "}, {"headinfer-1", 900, ""},
			{"chunked-prefill", 1000, "not tried: 900 tokens did not fit"}, {"headinfer-1", 1000, ""},
		}},
		{[]string{"--context", "100,20Ki", "--method", "layer-wise", "--kv-fill", "--set", "device.host_memory=80MiB"}, []cell{
			{"layer-wise", 100, ""}, {"layer-wise", 20 << 10, "host memory"},
		}},
	} {
		r, _ := runBench(t, 0, append(c.args, "--model", "random:tiny", "--device", "cpu", "--decode-tokens", "1", "--limits=false")...)
		if len(r.Rows) != len(c.want) {
			t.Fatalf("%q: %d rows", c.args, len(r.Rows))
		}
		for i, want := range c.want {
			row := r.Rows[i]
			if row.Pipeline != want.pipeline || row.Context != want.context || !strings.Contains(row.Error, want.errors) || (row.Error == "") != (want.errors == "") {
				t.Errorf("row %d is %s at %d with the error %q, expected %+v", i, row.Pipeline, row.Context, row.Error, want)
			}
			if (row.Decode == nil) != (want.errors != "") {
				t.Errorf("%s at %d: decode %+v with the error %q", row.Pipeline, row.Context, row.Decode, row.Error)
			}
		}
	}
	if all, _ := runBench(t, exitFailed, "--model", "random:tiny", "--device", "cpu", "--device-memory", "1MiB", "--context", "5,9",
		"--limits=false"); len(all.Rows) != 2 || !strings.Contains(all.Rows[1].Error, "for the weights alone") {
		t.Errorf("in 1 MiB: %+v", all.Rows)
	}
}

// TestBenchPhase has figures that can be added up on paper.
func TestBenchPhase(t *testing.T) {
	before := stages.Report{MovedIn: 100, MovedOut: 10, Copying: 8 * time.Second, HiddenShare: 0.25}
	after := stages.Report{MovedIn: 700, MovedOut: 40, Copying: 18 * time.Second, HiddenShare: 0.5}
	w := since(before, after)
	if want := (work{in: 600, out: 30, copying: 10 * time.Second, hidden: 7 * time.Second}); w != want {
		t.Fatalf("%+v, want %+v", w, want)
	}
	p := phase([]time.Duration{4 * time.Second, time.Second, 2 * time.Second}, 50, w)
	if p.Seconds != 2 || p.Slowest != 4 || p.Tokens != 25 || p.In != 200 || p.Out != 10 || p.InRate != 100 || *p.Hidden != 0.7 {
		t.Errorf("%+v", p)
	}
	p.against(plan.Limit{Copy: 0.5, Compute: 1})
	if p.Limit.Seconds != 1 || p.Limit.Share != 0.5 {
		t.Errorf("limit %+v", p.Limit)
	}
	if idle := phase([]time.Duration{time.Second}, 1, work{copying: time.Second}); idle.Hidden != nil {
		t.Errorf("nothing was moved, and %g of it hidden", *idle.Hidden)
	}
}

// TestBenchTable prints rows of all kinds in the width of a page.
func TestBenchTable(t *testing.T) {
	share := 0.987
	usage := &kernels.Usage{Peak: 23 << 30, AtPeak: map[kernels.Purpose]int64{
		kernels.Weights: 15 << 30, kernels.KVCache: 3 << 29, kernels.Activations: 11 << 27, kernels.Workspace: 129 << 20}}
	planned := &plan.Memory{Weights: 15 << 30, KV: 3 << 29, Activations: 11<<27 - 1000}
	p := &benchPhase{Seconds: 1234.5, Slowest: 0.3149, Tokens: 12345.6, In: 1, InRate: 54.36e9, Hidden: &share, Limit: &benchLimit{Share: 0.934}}
	r := benchReport{
		Machine: thisMachine(),
		Rates:   &benchRates{Device: "GPU", Rates: devicerate.Rates{CopyIn: 54.7e9, Linear: 7.98e14}},
		Rows: []benchRow{
			{Pipeline: "chunked-prefill", Context: 1 << 20, Error: "no room"},
			{Pipeline: "headinfer-1", Context: 1 << 20, Model: "llama-3-8b (random weights)", Random: true, Device: "GPU", Chunk: 8192, Group: 1, Span: 1 << 20,
				Prefill: p, Decode: p, Memory: usage, Planned: planned, InUse: &benchInUse{Opened: 1 << 29, Decode: 24 << 30}, HostKV: 16 << 30},
			{Pipeline: "tiled", Context: 1 << 20, Filled: true, Group: 1, Span: 32 << 10, Decode: p, Memory: usage, Planned: planned},
		},
	}
	var out strings.Builder
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &out)
	tables, about, _ := strings.Cut(out.String(), "model: ")
	for line := range strings.Lines(tables) {
		if n := utf8.RuneCountInString(strings.TrimSpace(line)); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range []string{"1×all", "1×32768", "—", "54.4", "93%", "99%", "23 GiB", "24 GiB", fmt.Sprintf(" %+d B ", 23<<30-15<<30-3<<29-11<<27-129<<20+1000)} {
		if !strings.Contains(tables, want) {
			t.Errorf("the tables lack %q", want)
		}
	}
	for _, want := range []string{"llama-3-8b (random weights)\n", "cache: in rows without a prefill, filled with random", "\nmachine: ", "\ndevice: GPU\n", "copies in 54.7 GB/s",
		"chunked-prefill at 1048576 tokens: no room\n"} {
		if !strings.Contains(about, want) {
			t.Errorf("%q is missing below the tables", want)
		}
	}
}
