package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
)

// snapshotCase is a kind of sequence.
type snapshotCase struct {
	name     string
	shape    Shape
	onDevice bool
	tokens   int
}

func snapshotCases() []snapshotCase {
	plain := Shape{Layers: 3, KVHeads: 2, HeadDim: 64, DType: kernels.F32}
	codes, local := plain, plain
	codes.DType = kernels.Int4G32
	local.Local = &Local{Window: 50, Layers: []bool{true, false, true}}
	both := local
	both.DType = kernels.Int8G64
	return []snapshotCase{
		{"host", plain, false, 333}, {"device", plain, true, 333}, {"one token", plain, false, 1},
		{"codes", codes, false, 333}, {"codes on the device", codes, true, 320}, {"less than a record", codes, false, 7},
		{"window", local, false, 333}, {"within the window", local, false, 30}, {"window on the device, codes", both, true, 333},
	}
}

// bench is a device for sequences of a case.
type snapshotBench struct {
	t     *testing.T
	dev   *cpu.Device
	slabs *Slabs
	port  *SnapshotPort
	rnd   *rand.Rand
}

func newSnapshotBench(t *testing.T) *snapshotBench {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	b := &snapshotBench{t: t, dev: cpu.Open(1<<30, 2), rnd: rand.New(rand.NewPCG(seed, 1))}
	b.slabs = NewSlabs(memory.DefaultAllocator, 0)
	b.port = NewSnapshotPort(b.dev)
	t.Cleanup(func() {
		b.slabs.Close()
		if err := b.dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *snapshotBench) of(c snapshotCase) SnapshotOf {
	return SnapshotOf{Model: "0123456789abcdef", Name: "tiny", Shape: c.shape, Activations: kernels.F32}
}

// sequence returns an empty one with room for tokens, in blocks of up to step.
func (b *snapshotBench) sequence(c snapshotCase, tokens, step int) *Sequence {
	b.t.Helper()
	s := NewHostSequence(c.shape, b.slabs)
	if c.onDevice {
		s = NewDeviceSequence(c.shape, b.dev)
	}
	stream := b.dev.NewStream("test")
	s.KeepRecent(b.dev, stream, kernels.F32)
	if c.shape.DType.Block() > 1 {
		s.KeepTail(b.dev, kernels.F32)
	}
	s.Expect(tokens)
	record := c.shape.DType.Block()
	for at := step; at < tokens; at += step {
		if err := s.Reserve(at / record * record); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := s.Extend(tokens, 1); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(s.Release)
	return s
}

// contents returns all that a sequence of a header holds, batch by batch, or with
// data writes that.
func (b *snapshotBench) contents(s *Sequence, of SnapshotOf, tokens int, data [][]byte) [][]byte {
	b.t.Helper()
	h := newSnapshotHeader(of, tokens, 0, "")
	l := &lane{port: b.port}
	defer l.free()
	var all [][]byte
	for i, batch := range h.batches(of, 1<<40) {
		places, onDevice := s.where(batch)
		k, v, err := l.staged(batch.bytes)
		if err != nil {
			b.t.Fatal(err)
		}
		if data != nil {
			copy(k, data[i])
			copy(v, data[i][batch.bytes:])
		}
		if onDevice {
			if err := l.move(places, k, v, data == nil); err != nil {
				b.t.Fatal(err)
			}
		} else {
			at := 0
			for _, kv := range places {
				hk, hv := hostBytes(kv.Keys()), hostBytes(kv.Values())
				if data != nil {
					copy(hk, k[at:])
					copy(hv, v[at:])
				} else {
					copy(k[at:], hk)
					copy(v[at:], hv)
				}
				at += len(hk)
			}
		}
		all = append(all, slices.Concat(k, v))
	}
	return all
}

// filled returns a sequence of random contents, which it returns, too.
func (b *snapshotBench) filled(c snapshotCase) (*Sequence, [][]byte) {
	b.t.Helper()
	s := b.sequence(c, c.tokens, 100)
	var data [][]byte
	for _, batch := range newSnapshotHeader(b.of(c), c.tokens, 0, "").batches(b.of(c), 1<<40) {
		part := make([]byte, 2*batch.bytes)
		for i := range part {
			part[i] = byte(b.rnd.Uint32())
		}
		data = append(data, part)
	}
	b.contents(s, b.of(c), c.tokens, data)
	if err := s.Advance(c.tokens); err != nil {
		b.t.Fatal(err)
	}
	return s, data
}

func (b *snapshotBench) ids(n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = b.rnd.Int32N(1 << 20)
	}
	return ids
}

// written writes a case's snapshot.
func (b *snapshotBench) written(c snapshotCase, logits []float32) (path string, ids []int32, data [][]byte) {
	b.t.Helper()
	s, data := b.filled(c)
	path, ids = filepath.Join(b.t.TempDir(), "s"+snapshotSuffix), b.ids(c.tokens)
	if err := WriteSnapshot(b.t.Context(), path, b.of(c), s, SnapshotText{ids, logits, "It was a dark"}, b.port); err != nil {
		b.t.Fatal(err)
	}
	return path, ids, data
}

func TestSnapshotsComeBack(t *testing.T) {
	for _, c := range snapshotCases() {
		t.Run(c.name, func(t *testing.T) {
			b := newSnapshotBench(t)
			logits := make([]float32, 1+b.rnd.IntN(300))
			for i := range logits {
				logits[i] = b.rnd.Float32()
			}
			path, ids, data := b.written(c, logits)
			snap, err := OpenSnapshot(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = snap.Close() }()
			if err := snap.Refuse(b.of(c)); err != nil {
				t.Fatal(err)
			}
			if err := snap.Verify(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(snap.Tokens, ids) {
				t.Error("the tokens are others")
			}
			// Into blocks that end elsewhere.
			to := b.sequence(c, c.tokens+40, 64)
			got, err := snap.Load(t.Context(), to, c.tokens, b.port)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, logits) {
				t.Error("the logits are others")
			}
			if to.Tokens() != c.tokens {
				t.Errorf("%d tokens came back; want %d", to.Tokens(), c.tokens)
			}
			for i, part := range b.contents(to, b.of(c), c.tokens, nil) {
				if !bytes.Equal(part, data[i]) {
					t.Fatalf("batch %d is another", i)
				}
			}
		})
	}
}

func TestSnapshotsComeBackInPart(t *testing.T) {
	for _, c := range snapshotCases() {
		t.Run(c.name, func(t *testing.T) {
			b := newSnapshotBench(t)
			path, _, data := b.written(c, []float32{1})
			snap, err := OpenSnapshot(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = snap.Close() }()
			n := snap.Usable(c.tokens * 2 / 3)
			if n == 0 {
				t.Skip("no part of it is of use")
			}
			if c.shape.Local != nil && c.tokens >= c.shape.Local.Window {
				t.Fatalf("%d of %d tokens past a window are said to be of use", n, c.tokens)
			}
			to := b.sequence(c, n, 1000)
			logits, err := snap.Load(t.Context(), to, n, b.port)
			if err != nil {
				t.Fatal(err)
			}
			if logits != nil || to.Tokens() != n {
				t.Errorf("%d tokens and logits %v came back; want %d and none", to.Tokens(), logits, n)
			}
			whole := newSnapshotHeader(b.of(c), c.tokens, 0, "").batches(b.of(c), 1<<40)
			for i, batch := range newSnapshotHeader(b.of(c), n, 0, "").batches(b.of(c), 1<<40) {
				got := b.contents(to, b.of(c), n, nil)[i]
				for j, from := range whole {
					if from.layer == batch.layer && from.head == batch.head && from.kind == batch.kind {
						k, v := data[j][:batch.bytes], data[j][from.bytes:][:batch.bytes]
						if !bytes.Equal(got, slices.Concat(k, v)) {
							t.Fatalf("%s is another", batch)
						}
					}
				}
			}
		})
	}
}

// TestSnapshotsAreArrow reads one with Arrow's own reader.
func TestSnapshotsAreArrow(t *testing.T) {
	b := newSnapshotBench(t)
	c := snapshotCases()[0]
	path, _, data := b.written(c, nil)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	r, err := ipc.NewFileReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if r.NumRecords() != len(data) {
		t.Fatalf("%d record batches; want %d", r.NumRecords(), len(data))
	}
	for i := range data {
		record, err := r.Record(i)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for side := range 2 {
			column := record.Column(side).(*array.FixedSizeBinary)
			for row := range column.Len() {
				got = append(got, column.Value(row)...)
			}
		}
		if !bytes.Equal(got, data[i]) {
			t.Fatalf("record batch %d is another", i)
		}
	}
}

// refused checks that a file is refused by its name, whichever way it is read.
func (b *snapshotBench) refused(path string, c snapshotCase, why string) {
	b.t.Helper()
	named := func(err error) {
		b.t.Helper()
		if own, ok := errors.AsType[*SnapshotError](err); !ok || own.Foreign || !strings.Contains(err.Error(), path) {
			b.t.Errorf("%s: %v", why, err)
		}
	}
	snap, err := OpenSnapshot(path)
	if err != nil {
		named(err)
		return
	}
	defer func() { _ = snap.Close() }()
	named(snap.Verify(b.t.Context()))
	to := b.sequence(c, c.tokens, 1000)
	_, err = snap.Load(b.t.Context(), to, c.tokens, b.port)
	named(err)
	if to.Tokens() != 0 {
		b.t.Errorf("%s: %d tokens were taken from it", why, to.Tokens())
	}
}

func TestCutSnapshotsAreRefused(t *testing.T) {
	for _, c := range snapshotCases() {
		t.Run(c.name, func(t *testing.T) {
			b := newSnapshotBench(t)
			path, ids, _ := b.written(c, []float32{1, 2, 3})
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			h := newSnapshotHeader(b.of(c), c.tokens, 3, "")
			batches := h.batches(b.of(c), 1<<40)
			where, err := h.layout(b.of(c), batches, ids, make([]uint64, len(batches)))
			if err != nil {
				t.Fatal(err)
			}
			cuts := []int64{0, 1, 7, 8, 12, 16, 100, int64(len(whole)) - 1, int64(len(whole)) - 6}
			for _, g := range where.gaps {
				cuts = append(cuts, g.offset, g.offset+g.bytes, g.offset+g.bytes/2)
			}
			for _, n := range cuts {
				if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
					t.Fatal(err)
				}
				b.refused(path, c, fmt.Sprintf("cut to %d of %d bytes", n, len(whole)))
			}
			if err := os.WriteFile(path, append(whole, 0), 0o600); err != nil {
				t.Fatal(err)
			}
			b.refused(path, c, "with a byte more")
		})
	}
}

func TestFlippedSnapshotsAreRefused(t *testing.T) {
	for _, c := range snapshotCases() {
		t.Run(c.name, func(t *testing.T) {
			b := newSnapshotBench(t)
			path, _, _ := b.written(c, []float32{1, 2, 3})
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			flips := []int{0, 8, 12, 13, 14, 15, len(whole) - 1, len(whole) - 8, len(whole) - 100}
			for range 30 {
				flips = append(flips, b.rnd.IntN(len(whole)))
			}
			for i := range min(3000, len(whole)) {
				if i%83 == 0 {
					flips = append(flips, i)
				}
			}
			for _, at := range flips {
				bit := byte(1) << b.rnd.IntN(8)
				whole[at] ^= bit
				if err := os.WriteFile(path, whole, 0o600); err != nil {
					t.Fatal(err)
				}
				b.refused(path, c, fmt.Sprintf("byte %d with %#x flipped", at, bit))
				whole[at] ^= bit
			}
		})
	}
}

func TestForeignSnapshotsAreRefused(t *testing.T) {
	b := newSnapshotBench(t)
	c := snapshotCases()[0]
	path, _, _ := b.written(c, nil)
	snap, err := OpenSnapshot(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = snap.Close() }()
	for want, change := range map[string]func(of *SnapshotOf){
		"is of another model: tiny (fingerprint 0123456789ab)": func(of *SnapshotOf) { of.Model = "fedcba9876543210" },
		"holds keys and values in f32":                         func(of *SnapshotOf) { of.Shape.DType = kernels.Int8G64 },
		"read with activations in f32":                         func(of *SnapshotOf) { of.Activations = kernels.BF16 },
		"has another shape: 3 layers of 2 KV heads":            func(of *SnapshotOf) { of.Shape.Layers = 4 },
		"has another shape":                                    func(of *SnapshotOf) { of.Shape.Local = &Local{Window: 9, Layers: make([]bool, 3)} },
		"was made with exact settings, this run has (recent)":  func(of *SnapshotOf) { of.Method = "recent" },
	} {
		of := b.of(c)
		change(&of)
		err := snap.Refuse(of)
		if own, ok := errors.AsType[*SnapshotError](err); !ok || !own.Foreign || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	other := c
	other.shape.HeadDim = 32
	if _, err := snap.Load(t.Context(), b.sequence(other, c.tokens, 1000), c.tokens, b.port); err == nil {
		t.Error("a sequence of another shape was loaded")
	}
	dropping := NewDeviceSequence(c.shape, b.dev)
	dropping.KeepHeavy(b.dev, b.dev.NewStream("test"), Heavy{Most: 3, Recent: 4})
	if err := WriteSnapshot(t.Context(), path+"2", b.of(c), dropping, SnapshotText{}, b.port); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("a cache that drops tokens: %v", err)
	}
}
