package graph

import (
	"fmt"
	"testing"
)

// goalNanoseconds and the two allocations beside it are what a hop may cost: a head task takes 100 µs at the least.
const goalNanoseconds = 3000

// benchItem is as large as a small task: 64 bytes.
type benchItem struct{ _ [8]int }

// BenchmarkHop sends items through chains of stages that do nothing and reports what each stage adds. The items are
// pointers; "structs" sends 64-byte structs, which the edge allocates.
func BenchmarkHop(b *testing.B) {
	for _, capacity := range []int{1, 2, 16} {
		b.Run(fmt.Sprintf("pointers/capacity=%d", capacity), func(b *testing.B) {
			item := new(benchItem)
			benchHops[*benchItem](b, item, WithCapacity(capacity))
		})
	}
	b.Run("structs/capacity=1", func(b *testing.B) { benchHops(b, benchItem{}) })
}

func benchHops[T any](b *testing.B, item T, opts ...NodeOption) {
	const hops = 4
	scope := NewScope(b.Context())
	opts = append(opts, WithScope(scope))
	source := FromSource("source", repeat(b.N, item), opts...)
	join := source.Via
	for i := range hops - 1 {
		join = join(Flow(fmt.Sprint("stage", i), pass[T](), opts...)).Via
	}
	b.ReportAllocs()
	b.ResetTimer()
	end := Flow("end", pass[T](), opts...)
	join(end).To(ToSink("sink", discard[T](), opts...))
	b.StopTimer()
	if err := scope.Wait(); err != nil {
		b.Fatal(err)
	}
	each := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / (hops + 1)
	b.ReportMetric(each, "ns/hop")
	b.ReportMetric(each/goalNanoseconds, "of-goal")
}
