package stages

import (
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/model"
	"headinfer/transfer"
)

// narrow is the processor as if its activations were bf16: tiles that merge
// then need a place in f32. Only what is asked for is tested, not what is
// computed.
type narrow struct{ kernels.Device }

func (d narrow) Info() kernels.Info {
	info := d.Device.Info()
	info.Activations = kernels.BF16
	return info
}

// TestPartialResultsLeaveRoomForTheRing goes through the passes of a text whose
// tiles take fewer heads as it grows: what was taken for more heads must not be
// missing for the ring then.
func TestPartialResultsLeaveRoomForTheRing(t *testing.T) {
	const rows, group, headDim, span = 8192, 4, 128, 32 << 10
	shape := transfer.Shape{Layers: 2, KVHeads: 8, HeadDim: headDim, DType: kernels.BF16}
	dev := narrow{cpu.Open(140<<20, 1)}
	defer func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}()
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	_, heads, err := Graphs(registry, load(t, "adaptive"))
	if err != nil {
		t.Fatal(err)
	}
	loop, err := NewHeadLoop(heads, dev, shape, 0, transfer.NewTimeline(dev, false))
	if err != nil {
		t.Fatal(err)
	}
	loop.cut.Span = span
	text := loop.NewSequence()
	text.Expect(100_000)
	fit := func(past int) int {
		t.Helper()
		p := &model.Pass{
			Segments: []model.Segment{{Sequence: text}}, Past: []int{past},
			Group: group, HeadDim: headDim, MaxRows: rows,
		}
		err := loop.fit(p, pastsOf(p))
		if err != nil {
			t.Fatalf("with %d tokens held: %v", past, err)
		}
		got := loop.cut.Group
		ring, partial := int64(2)*shape.SlotBytes(got, min(past, span)), int64(got*rows*group*headDim*4)
		if loop.ring.Bytes() < ring || loop.partial.Bytes < partial {
			t.Errorf("with %d tokens held, %d heads: the ring has %d bytes of %d, partial results %d of %d",
				past, got, loop.ring.Bytes(), ring, loop.partial.Bytes, partial)
		}
		return got
	}
	if first, last := fit(0), fit(90_000); first != 8 || last >= first {
		t.Errorf("%d heads at first, %d in the end", first, last)
	}
	for past := 0; past < 90_000; past += rows {
		fit(past)
	}
	if err := loop.Close(); err != nil {
		t.Error(err)
	}
	if u := dev.Ledger().Usage(); u.Used != 0 {
		t.Errorf("%d bytes are left in use", u.Used)
	}
}
