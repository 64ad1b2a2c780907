package paper

import "headinfer/plan"

var memoryColumns = []string{"weights", "KV on GPU", "activations", "total", "KV with host"}

// memoryNotes are those of Tables 10 and 11.
var memoryNotes = []string{
	"By its arithmetic: weights in bf16; 128 KiB of keys and values a token; activations of (hidden + 2·FFN) bf16 numbers a token, of the whole prompt or a chunk of 10,240; two layers (layer-wise) or two heads (HeadInfer) on the GPU; 4-bit keys and values are a quarter, without scales.",
	"headinfer: what plan computes for its own method of that kind, to the byte what runs take but for some 40 MiB of workspace. All but standard read in chunks of 10,240 tokens; 4-bit codes have scales, and a tile is decoded before it is attended to.",
}

// accounting is the paper's memory of a method, in GiB.
func accounting(method string, m plan.Model, tokens float64) []float64 {
	const gib = 1 << 30
	weights, kv := float64(m.WeightBytes)/gib, float64(m.KV(1))*tokens/gib
	rows, onGPU, all := tokens, kv, kv
	switch method {
	case "Chunked Prefill":
		rows = min(tokens, paperChunk)
	case "4-bit KV-quant":
		onGPU, all = kv/4, kv/4
	case "Layer-wise offload":
		onGPU = kv / float64(m.Layers) * pingPong
	case "HeadInfer":
		rows = min(tokens, paperChunk)
		onGPU = kv / float64(m.Layers*m.KVHeads) * pingPong
	}
	activations := rows * rowBytes(m) / gib
	return []float64{weights, onGPU, activations, weights + onGPU + activations, all}
}

// takes is what headinfer plans, in GiB.
func takes(how plan.Method, m plan.Model, tokens int) []float64 {
	use := m.Memory(how, tokens, tokens)
	all := use.HostKV
	if !how.OnHost {
		all = use.KV
	}
	var row []float64
	for _, bytes := range []int64{use.Weights, use.KV, use.Activations, use.Device(), all} {
		row = append(row, float64(bytes)/(1<<30))
	}
	return row
}

// memoryRow adds a method at a context.
func (t *Table) memoryRow(name, method string, tokens int, figures string) {
	m := llama3()
	follows, ours := accounting(method, m, float64(tokens)), takes(methods(m, paperChunk)[method], m, tokens)
	for i, paper := range numbers(ki, figures) {
		t.add(Cell{Row: name, Column: memoryColumns[i], Unit: GiB, Paper: paper, Follows: number(follows[i]), Ours: number(ours[i])})
	}
}

func table10() Table {
	t := Table{Title: "Memory at 1M tokens, Llama-3-8B, GiB", Notes: memoryNotes}
	for _, row := range []struct{ method, figures string }{
		{"Standard", "15.08 128 64 207 128"},
		{"Chunked Prefill", "15.08 128 0.625 143 128"},
		{"4-bit KV-quant", "15.08 32 64 111 32"},
		{"Layer-wise offload", "15.08 8 64 87 128"},
		{"HeadInfer", "15.08 1 0.625 16.7 128"},
	} {
		t.memoryRow(row.method, row.method, ki*ki, row.figures)
	}
	return t
}

func table11() Table {
	t := Table{Title: "Memory at each method's longest context on a 24 GiB card, Llama-3-8B, GiB", Notes: memoryNotes}
	for _, row := range []struct {
		name, method string
		k            int
		figures      string
	}{
		{"Standard-25K", "Standard", 25, "15.08 3.13 1.56 19.77 3.13"},
		{"Chunked-Prefill-30K", "Chunked Prefill", 30, "15.08 3.75 0.63 19.46 3.75"},
		{"4bit-KV-quant-45K", "4-bit KV-quant", 45, "15.08 1.41 2.81 19.30 1.41"},
		{"Layer-wise-Offload-45K", "Layer-wise offload", 45, "15.08 0.35 2.81 18.25 5.63"},
		{"HeadInfer-4000K", "HeadInfer", 4000, "15.08 3.91 0.63 19.61 500"},
	} {
		t.memoryRow(row.name, row.method, row.k*ki, row.figures)
	}
	return t
}
