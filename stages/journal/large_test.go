package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// BenchmarkMillion keeps a million keys: what appending and looking up cost, and
// what it takes on disk and of memory.
func BenchmarkMillion(b *testing.B) {
	const many = 1_000_000
	r := random(b)
	for _, order := range []string{"sorted", "shuffled"} {
		b.Run(order, func(b *testing.B) {
			for range b.N {
				path := filepath.Join(b.TempDir(), "a.jsonl")
				j, err := begun(path, Options{})
				if err != nil {
					b.Fatal(err)
				}
				index := func(i int) int { return i }
				if order == "shuffled" {
					perm := r.Perm(many)
					index = func(i int) int { return perm[i] }
				}
				record := []byte(`{"id":"corpus/part-0001.jsonl:0000001","answer":"about as long as an answer of some sixty tokens is, which is some two hundred and fifty bytes, with the figures that stand beside it","stop":"end","prompt_tokens":512,"answer_tokens":60}`)
				start := time.Now()
				for i := range many {
					if err := j.Append(fmt.Sprintf("corpus/part-0001.jsonl:%07d", index(i)), record); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(many/time.Since(start).Seconds(), "appends/s")
				var before runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.ReportMetric(float64(before.HeapAlloc)/1e6, "heap-MB")
				if err := j.Close(); err != nil {
					b.Fatal(err)
				}
				start = time.Now()
				if j, err = begun(path, Options{}); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(time.Since(start).Seconds(), "open-s")
				start = time.Now()
				const looks = 200_000
				for range looks {
					if !j.Earlier(fmt.Sprintf("corpus/part-0001.jsonl:%07d", r.IntN(many)), 0) {
						b.Fatal("not done")
					}
				}
				b.ReportMetric(looks/time.Since(start).Seconds(), "looks/s")
				if info, err := os.Stat(path + ".run"); err == nil {
					b.ReportMetric(float64(info.Size())/1e6, "state-MB")
				}
				start = time.Now()
				if err := j.Finish(nil); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(time.Since(start).Seconds(), "finish-s")
				if err := j.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
