package paper

import "headinfer/plan"

// Models are the paper's, in bf16, by the names of its tables. Of Qwen2's biases and
// Gemma 2's windows and additional norms, which hardly count, nothing is in them.
var Models = map[string]plan.Model{
	"Llama-3-8B":  shape(32, 4096, 32, 8, 128, 14336, 128256, false),
	"Llama-2-7B":  shape(32, 4096, 32, 32, 128, 11008, 32000, false),
	"Mistral-7B":  shape(32, 4096, 32, 8, 128, 14336, 32000, false),
	"Qwen2-7B":    shape(28, 3584, 28, 4, 128, 18944, 152064, false),
	"Gemma-2-9b":  shape(42, 3584, 16, 8, 256, 14336, 256000, true),
	"Llama-3-70B": shape(80, 8192, 64, 8, 128, 28672, 128256, false),
}

func llama3() plan.Model { return Models["Llama-3-8B"] }

const element = 2 // bytes of a bf16 number

func shape(layers, hidden, heads, kvHeads, headDim, ffn, vocab int, tied bool) plan.Model {
	layer := hidden*(2*heads*headDim+2*kvHeads*headDim+3*ffn) + 2*hidden
	tables := 2
	if tied {
		tables = 1
	}
	return plan.Model{
		Layers: layers, Hidden: hidden, Heads: heads, KVHeads: kvHeads, HeadDim: headDim, FFN: ffn, Vocab: vocab, Tied: tied,
		WeightBytes: element * int64(layers*layer+tables*vocab*hidden+hidden), ElementBytes: element,
	}
}

// The paper's accounting, found by fitting its Tables 10 and 11.
const (
	paperChunk = 10 * ki
	// pingPong is how many tiles of a method that keeps its cache on the host are counted.
	pingPong = 2
	// concatenated is how many of them its head-wise runs had: Table 5's lengths come to
	// four. Its released code joins a head's old keys and values with the new ones into
	// new memory, so that each tile of the two is there twice.
	concatenated = 4
	// hostCache is what host memory held of its longest contexts: Llama-3-8B, Llama-2-7B
	// and Mistral-7B all end at this, half of the machine's.
	hostCache = 512 << 30
)

// rowBytes are activations of a token: its hidden state and the feed-forward layer's two.
func rowBytes(m plan.Model) float64 { return float64(m.Hidden+2*m.FFN) * element }

// The machine that headinfer's own figures are for.
const (
	cardMemory = 24 << 30
	hostMemory = 1_000_000_000_000
)

func room() plan.Room { return plan.Room{Device: cardMemory, Host: hostMemory} }

// headwise is a cache on the host that comes by groups of heads.
func headwise(group, chunk int) plan.Method {
	return plan.Method{Chunk: chunk, OnHost: true, Group: group, Slots: pingPong}
}

// methods are headinfer's counterparts of the paper's rows, in passes of some tokens.
func methods(m plan.Model, chunk int) map[string]plan.Method {
	return map[string]plan.Method{
		"Standard":           plan.Standard(),
		"Chunked Prefill":    {Chunk: chunk},
		"4-bit KV-quant":     {Chunk: chunk, Bits: 4, ScaleGroup: 64, Group: 1},
		"Layer-wise offload": headwise(m.KVHeads, chunk),
		"HeadInfer":          headwise(1, chunk),
	}
}
