//go:build cuda

package stages

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"headinfer/transfer"
)

// BenchmarkGPUQuestions measures a decode step of several questions about one
// document whose cache lies on the host. HEADINFER_TEST_CONTEXT is its tokens
// (4096), HEADINFER_TEST_SHAPE the model (random:tiny).
func BenchmarkGPUQuestions(b *testing.B) {
	open := onGPU(b)
	shape, context := "random:tiny", 4096
	if s := os.Getenv("HEADINFER_TEST_SHAPE"); s != "" {
		shape = s
	}
	if s := os.Getenv("HEADINFER_TEST_CONTEXT"); s != "" {
		var err error
		if context, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	e := openMethodOn(b, open, "adaptive", shape, "device.memory=24GiB")
	e.slots = make(chan struct{}, 32)
	base, err := e.Admit(b.Context(), "document")
	if err != nil {
		b.Fatal(err)
	}
	defer base.Release()
	if err := base.Fill(b.Context(), context, 0); err != nil {
		b.Fatal(err)
	}
	for _, questions := range []int{1, 4, 16} {
		b.Run(fmt.Sprint(questions), func(b *testing.B) {
			var batch []reading
			for i := range questions {
				if _, err := e.enter(b.Context(), true); err != nil {
					b.Fatal(err)
				}
				const question = 40 // tokens, with the answer so far
				branch, err := base.branch(fmt.Sprint(i), question, 1000, question)
				if err != nil {
					b.Fatal(err)
				}
				defer branch.Release()
				batch = append(batch, reading{branch, make([]int32, question)})
			}
			if _, err := e.read(b.Context(), transfer.Prefill, batch, false); err != nil {
				b.Fatal(err)
			}
			for i := range batch {
				batch[i].tokens = []int32{int32(i)}
			}
			for b.Loop() {
				if _, err := e.read(b.Context(), transfer.Decode, batch, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
