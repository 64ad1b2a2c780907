package plan

import (
	"math"
	"testing"
)

// llama3 is Llama-3-8B in bf16, the paper's model.
var llama3 = Model{
	Layers: 32, Hidden: 4096, Heads: 32, KVHeads: 8, HeadDim: 128, FFN: 14336, Vocab: 128256,
	WeightBytes: 16_060_522_496, ElementBytes: 2,
}

const gib = 1 << 30

// TestPaperFigures compares with the paper's memory table (Llama-3-8B, 1M
// tokens): the cells that follow from arithmetic.
func TestPaperFigures(t *testing.T) {
	const million = 1 << 20
	for _, c := range []struct {
		what      string
		got, want float64 // GiB
	}{
		{"cache of a million tokens", float64(llama3.KV(million)) / gib, 128},
		{"layer-wise, a layer and the next", float64(llama3.Memory(Method{Chunk: 10000, OnHost: true, Group: 8, Slots: 2}, million, million).KV) / gib, 8},
		{"one head and the next", float64(llama3.Memory(Method{Chunk: 10000, OnHost: true, Group: 1, Slots: 2}, million, million).KV) / gib, 1},
		{"on the host", float64(llama3.Memory(Method{Chunk: 10000, OnHost: true, Group: 1, Slots: 2}, million, million).HostKV) / gib, 128},
	} {
		if math.Abs(c.got-c.want) > 0.01*c.want {
			t.Errorf("%s: %.3f GiB, the paper says %.3f", c.what, c.got, c.want)
		}
	}
}

func TestTiledDoesNotGrow(t *testing.T) {
	how := Method{Chunk: 8192, OnHost: true, Group: 8, Slots: 2, Span: 32 << 10}
	short, long := llama3.Memory(how, 64<<10, 64<<10), llama3.Memory(how, 1<<20, 1<<20)
	if short.Device() != long.Device() {
		t.Errorf("64K tokens take %d bytes on the device and 1M take %d", short.Device(), long.Device())
	}
	if short.KV != 2*8*(32<<10)*2*128*2 {
		t.Errorf("the ring takes %d bytes", short.KV)
	}
}
