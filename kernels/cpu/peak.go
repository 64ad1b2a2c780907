package cpu

import (
	"sync"

	"headinfer/kernels/cpu/simd"
)

// MeasurePeak returns what all threads reach together (0: every processor): the
// limits beside which a benchmark's figures stand.
func MeasurePeak(threads int) simd.Peak {
	if threads <= 0 {
		threads = processors
	}
	const each = 256 << 20
	peaks := make([]simd.Peak, threads)
	var all sync.WaitGroup
	for i := range peaks {
		all.Go(func() {
			buf := make([]byte, each)
			for at := 0; at < each; at += 4096 {
				buf[at] = 1
			}
			peaks[i] = simd.MeasurePeak(buf)
		})
	}
	all.Wait()
	var sum simd.Peak
	for _, p := range peaks {
		sum.FLOPPerSecond += p.FLOPPerSecond
		sum.BytesPerSecond += p.BytesPerSecond
	}
	return sum
}
