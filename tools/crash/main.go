// Command crash kills a run of headinfer at random instants, starts it again each time, and compares what comes out in the
// end with an undisturbed run.
//
//	go run ./tools/crash -headinfer bin/headinfer -documents 10000 -kills 20
//
// It makes documents of 50 to 400 tokens and, of a thousand, three of 8,192 and five without text, each with a question; the
// built-in model answers in a few tokens on the CPU, and the answers are put in the documents' order in the end. The first
// run is not disturbed and says how long one takes; the second is killed with signal 9 (on Windows, terminated), after times
// drawn from what is left of that. It exits with 0 when all keys are there once and in order, all records are whole, the
// documents without text are in the dead letters, and the answers are the undisturbed run's; with 1 when not, and with 2 when
// it could not be tried.
//
// Who shares a pass with whom is a matter of time, and shows where two tokens are as good as equally likely. Documents whose
// answers differ are answered again beside others, undisturbed: where that gives the disturbed run's answer too, it is
// counted as a near tie, and not as a difference.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// trial is what is to be tried.
type trial struct {
	program   string // headinfer
	dir       string
	empty     int // documents without text
	documents int
	kills     int
	tokens    int // of an answer
	seed      uint64
}

// errDiffers says that the disturbed run's output is not the undisturbed one's.
var errDiffers = errors.New("the outputs differ")

func main() {
	err := try()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "crash:", err)
	if errors.Is(err, errDiffers) {
		os.Exit(1)
	}
	os.Exit(2)
}

// try does what the flags ask.
func try() error {
	var t trial
	var limit time.Duration
	flag.StringVar(&t.program, "headinfer", "bin/headinfer", "the `program`")
	flag.StringVar(&t.dir, "dir", "", "work in this `folder`, and leave it (by default, one that is removed if all is well)")
	flag.IntVar(&t.documents, "documents", 10000, "how many documents")
	flag.IntVar(&t.kills, "kills", 20, "how often the run is killed")
	flag.IntVar(&t.tokens, "tokens", 4, "most tokens of an answer")
	flag.Uint64Var(&t.seed, "seed", uint64(time.Now().UnixNano()), "of the documents and the instants")
	flag.DurationVar(&limit, "limit", 2*time.Hour, "give up after this time")
	flag.Parse()
	keep := t.dir != ""
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := t.prepare()
	if err == nil {
		err = t.run(ctx)
	}
	switch {
	case keep || t.dir == "":
	case err != nil:
		fmt.Println("everything is left in", t.dir)
	default:
		err = os.RemoveAll(t.dir)
	}
	return err
}

// prepare makes the folder with the documents and the pipeline.
func (t *trial) prepare() error {
	program, err := filepath.Abs(t.program)
	if err != nil {
		return err
	}
	if t.program = program; t.dir == "" {
		if t.dir, err = os.MkdirTemp("", "crash-"); err != nil {
			return err
		}
	} else if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return err
	}
	if err := t.writeDocuments(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(t.dir, "pipeline.yaml"), fmt.Appendf(nil, `model:  { path: builtin }
device: { kind: cpu, memory: 2GiB }
documents:
  - read-jsonl:      { path: documents.jsonl }
  - tokenize:        { prompt: "{{.Text}}\n\nQuestion: {{.Question}}", chat: true }
  - chunked-prefill: { chunk: auto }
  - decode:          { max_tokens: %d }
  - jsonl:           { path: disturbed.jsonl, order: input }
heads:
  - prefetch:  { slots: 2 }
  - attention: { group: adaptive, span: all }
  - offload:   { to: host }
`, t.tokens), 0o644)
}
