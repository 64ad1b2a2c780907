package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"

	"github.com/rs/zerolog"

	"headinfer/graph"
	"headinfer/kernels"
	"headinfer/stages"
)

// TestSoakThousandDocuments answers a thousand short documents in one run. What
// the run holds after a hundred of them, on the device and on the host, it
// holds after all.
func TestSoakThousandDocuments(t *testing.T) {
	for _, batch := range []int{1, 16} {
		t.Run(fmt.Sprintf("batch %d", batch), func(t *testing.T) { soak(t, batch) })
	}
}

// soak answers them, so many at a time.
func soak(t *testing.T, batch int) {
	const many, settled = 1000, 100
	const leeway = 8 << 20
	r := random(t)
	texts := make([]string, settled)
	for i := range texts {
		texts[i] = textOf(r, 1+r.IntN(60))
	}
	dir := faults(t, slices.Repeat(texts, many/settled)...)
	p, err := (&overrides{sets: []string{
		"documents.read-jsonl.path=" + filepath.Join(dir, "documents.jsonl"),
		"documents.jsonl.path=" + filepath.Join(dir, "out/answers.jsonl"),
		fmt.Sprintf("documents.chunked-prefill.batch=%d", batch),
	}}).load(filepath.Join(dir, "p.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	engine, done, err := openEngine(p, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := done(); err != nil {
			t.Error(err)
		}
	}()
	samples := &sampling{engine: engine, at: map[int]sample{settled: {}, many: {}}}
	engine.Observer = samples
	run, err := p.documents.Build(engine, graph.WithDeadLetters(func(stage string, e *graph.DocumentError) {
		t.Errorf("%s dropped %v", stage, e)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	report := engine.Report()
	if report.Answers != many {
		t.Errorf("%d answers", report.Answers)
	}
	early, late := samples.at[settled], samples.at[many]
	t.Logf("%s: after %d documents %v; after %d %v", report.Device, settled, early, many, late)
	// Which texts come to share a pass, and so how large a ring holds their caches, is a
	// matter of time; a text's cache that was kept would be more each time.
	if late.ledger > early.ledger+leeway || batch == 1 && late.ledger != early.ledger {
		t.Errorf("the ledger's peak has grown from %d to %d bytes", early.ledger, late.ledger)
	}
	if late.device > early.device+leeway {
		t.Errorf("by the driver's count, %d bytes of device memory have become %d", early.device, late.device)
	}
	if late.resident > early.resident+leeway && !raceDetector {
		t.Errorf("the process has grown from %d to %d bytes", early.resident, late.resident)
	}
}

// sampling looks at memory when some documents have been read.
type sampling struct {
	engine *stages.Engine
	read   int
	at     map[int]sample // by the number of documents
}

// sample is memory in bytes; resident is 0 where the system does not tell.
type sample struct{ ledger, device, resident int64 }

func (s sample) String() string {
	return fmt.Sprintf("the ledger's peak is %s, %s of the device and %s of the host are in use",
		kernels.FormatBytes(s.ledger), kernels.FormatBytes(s.device), kernels.FormatBytes(s.resident))
}

// Prefill counts a document when its last chunk has been read.
func (s *sampling) Prefill(_ string, read, total int) {
	if read < total {
		return
	}
	s.read++
	if _, wanted := s.at[s.read]; wanted {
		dev := s.engine.Device
		s.at[s.read] = sample{dev.Ledger().Usage().Peak, dev.InUse(), resident()}
	}
}

// Text does nothing.
func (*sampling) Text(string, string) {}

var residentLine = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)

// resident returns the memory that the process holds, without garbage.
func resident() int64 {
	runtime.GC()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	m := residentLine.FindSubmatch(status)
	if m == nil {
		return 0
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}
