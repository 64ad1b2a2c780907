package devicetest

import (
	"errors"
	"testing"
	"unsafe"

	"headinfer/kernels"
)

func testCopies(t *testing.T, b *bench) {
	const rows, cols = 13, 37
	x := b.normal(rows * cols)
	from, to := b.put(x, rows, cols), b.empty(rows, cols)
	b.dev.CopyWithin(b.stream, to.RowRange(2, 9), from.RowRange(4, 11))
	got := b.read(to)
	for r := 2; r < 9; r++ {
		for c := range cols {
			if got[r*cols+c] != x[(r+2)*cols+c] {
				t.Fatalf("row %d column %d is %g, want %g", r, c, got[r*cols+c], x[(r+2)*cols+c])
			}
		}
	}
	for _, untouched := range []int{0, 1, 9, rows - 1} {
		if v := got[untouched*cols]; v == v {
			t.Fatalf("row %d was written: %g", untouched, v)
		}
	}
}

// testScatter copies pieces of several shapes, more of one than a launch takes, from
// and to odd places: every element arrives, and nothing beside it is touched.
func testScatter(t *testing.T, b *bench) {
	const rows, cols, alike = 64, 672, 70
	x := b.normal(rows * cols)
	from, to := b.put(x, rows, cols), b.empty(rows, cols)
	var dst, src []kernels.Tensor
	want := poison(rows * cols)
	for i := range alike + 20 {
		// Of the alike: rows, and columns from and to; a device moves these in larger words.
		shape := [3]int{3, 8 * i, 8*i + 8}
		if i >= alike {
			first := 8*alike + 5*(i-alike)
			shape = [3]int{1 + i%3, first, first + 1 + i%5}
		}
		at, place := b.rand.IntN(rows-3), 3*(i%20) // apart from the others by rows or columns
		src = append(src, from.RowRange(at, at+shape[0]).ColRange(shape[1], shape[2]))
		dst = append(dst, to.RowRange(place, place+shape[0]).ColRange(shape[1], shape[2]))
		for r := range shape[0] {
			copy(want[(place+r)*cols+shape[1]:(place+r)*cols+shape[2]], x[(at+r)*cols+shape[1]:])
		}
	}
	b.dev.Scatter(b.stream, dst, src)
	got := b.read(to)
	for i := range want {
		if got[i] != want[i] && (got[i] == got[i] || want[i] == want[i]) {
			t.Fatalf("row %d column %d is %g, want %g", i/cols, i%cols, got[i], want[i])
		}
	}
}

// testStreams moves a value from one stream to another and back many times:
// without the events' order, some copy would read what is not there yet.
func testStreams(t *testing.T, b *bench) {
	other := b.dev.NewStream("other")
	const n, rounds = 4096, 200
	first, second := b.floats(1, n), b.floats(1, n)
	there, back := b.dev.NewEvent(), b.dev.NewEvent()
	other.Wait(back) // never recorded: holds nothing
	x := b.normal(n)
	// Pageable memory would be copied whenever the driver likes.
	raw := b.dev.Host().Allocate(4 * n)
	defer b.dev.Host().Free(raw)
	host := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(raw))), n)
	copy(host, x)
	for range rounds {
		b.dev.CopyIn(b.stream, first, hostMatrix(host, 1, n))
		b.dev.CopyWithin(b.stream, second, first)
		b.stream.Record(there)
		other.Wait(there)
		b.dev.CopyOut(other, hostMatrix(host, 1, n), second)
		other.Record(back)
		b.stream.Wait(back)
	}
	if err := back.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range x {
		if host[i] != x[i] {
			t.Fatalf("element %d came back as %g, was %g", i, host[i], x[i])
		}
	}
	if there.Time() > back.Time() || there.Time() <= 0 {
		t.Errorf("events fired at %v and %v", there.Time(), back.Time())
	}
	// An event recorded again stands for the new point only.
	early := b.dev.NewEvent()
	b.stream.Record(early)
	before := early.Time()
	b.dev.CopyWithin(b.stream, second, first)
	b.stream.Record(early)
	if after := early.Time(); after <= before {
		t.Errorf("recorded again, the event stayed at %v", after)
	}
}

// testPageable brings numbers to the device and back through memory that nobody pins.
func testPageable(t *testing.T, b *bench) {
	const n = 100_003
	x := b.normal(n)
	var host [2][]float32
	for i := range host {
		raw := b.dev.Pageable().Allocate(4 * n)
		defer b.dev.Pageable().Free(raw)
		host[i] = unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(raw))), n)
	}
	there := b.floats(1, n)
	copy(host[0], x)
	b.dev.CopyIn(b.stream, there, hostMatrix(host[0], 1, n))
	b.dev.CopyOut(b.stream, hostMatrix(host[1], 1, n), there)
	if err := b.stream.Synchronize(); err != nil {
		t.Fatal(err)
	}
	for i := range x {
		if host[1][i] != x[i] {
			t.Fatalf("element %d came back as %g, was %g", i, host[1][i], x[i])
		}
	}
}

func testBudget(t *testing.T, b *bench) {
	left := b.dev.Ledger().Left()
	buffer, err := b.dev.Alloc(left, kernels.KVCache, "all of it")
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.dev.Alloc(1, kernels.Workspace, "one byte more")
	var short *kernels.BudgetError
	if !errors.As(err, &short) || short.Asked != 1 || short.Left != 0 || short.Budget != left || !errors.Is(err, kernels.ErrBudget) {
		t.Fatalf("a byte past the budget gave %v", err)
	}
	b.dev.Free(buffer)
	u := b.dev.Ledger().Usage()
	if u.Used != 0 || u.Peak != left || u.AtPeak[kernels.KVCache] != left {
		t.Fatalf("after freeing all, the ledger says %+v", u)
	}
}

func testFailure(t *testing.T, b *bench) {
	b.broken = true
	fired := b.dev.NewEvent()
	table := b.weight(bytesOf(b.normal(10*8)), kernels.F32, 10, 8)
	out := b.empty(1, 8)
	b.dev.Embed(b.stream, out, table, []int32{10}, 1)
	b.stream.Record(fired)
	if err := fired.Wait(); err == nil {
		t.Fatal("a token outside the vocabulary went through")
	}
	if err := b.stream.Synchronize(); err == nil {
		t.Fatal("the failure was forgotten")
	}
}
