package rate

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"headinfer/kernels"
)

const (
	// hostBytes is what all threads read together, beyond any cache, and
	// hostEach the least for one of them.
	hostBytes = 512 << 20
	hostEach  = 64 << 20
	// mostHost bounds it on machines with very many processors.
	mostHost = 2 << 30
)

// HostRead returns how many bytes a second some threads together read of host
// memory (0: one thread for each processor), the best of several rounds. It
// takes 64 MiB a thread, 512 MiB to 2 GiB in all, for some tenths of a second.
func HostRead(threads int) float64 {
	if threads <= 0 {
		threads = runtime.NumCPU()
	}
	each := min(max(hostBytes/threads, hostEach), mostHost/threads)
	parts := make([][]uint64, threads)
	everywhere(threads, func(i int) {
		// Each thread writes what it will read, so that on machines with several
		// memories it lies near.
		parts[i] = make([]uint64, each/8)
		scramble(parts[i])
	})
	var sink atomic.Uint64 // what is read must be of use
	var times []float64
	for start := time.Now(); !enough(times, start); {
		round := time.Now()
		everywhere(threads, func(i int) { sink.Add(sum(parts[i])) })
		times = append(times, seconds(time.Since(round)))
	}
	return float64(threads) * float64(each) / slices.Min(times)
}

// Pin returns how many bytes of host memory a second a device makes ready for
// its copies, timed with one piece of some bytes, which are given back.
func Pin(dev kernels.Device, bytes int) (float64, error) {
	start := time.Now()
	b, err := kernels.AllocateHost(dev.Host(), bytes, "measuring")
	if err != nil {
		return 0, err
	}
	took := seconds(time.Since(start))
	dev.Host().Free(b)
	return float64(bytes) / took, nil
}

func everywhere(threads int, f func(i int)) {
	var all sync.WaitGroup
	for i := range threads {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// scramble fills words with random numbers, which soon repeat.
func scramble(words []uint64) {
	n := min(len(words), 1<<12)
	for i := range n {
		words[i] = rand.Uint64()
	}
	for ; n < len(words); n *= 2 {
		copy(words[n:], words[:n])
	}
}

// sum reads eight words, a cache line, at a time.
func sum(words []uint64) uint64 {
	var a, b, c, d uint64
	lines := unsafe.Slice((*[8]uint64)(unsafe.Pointer(unsafe.SliceData(words))), len(words)/8)
	for i := range lines {
		l := &lines[i]
		a += l[0] ^ l[4]
		b += l[1] ^ l[5]
		c += l[2] ^ l[6]
		d += l[3] ^ l[7]
	}
	return a + b + c + d
}
