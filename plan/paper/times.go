package paper

import "headinfer/plan"

// measured is why times do not follow from arithmetic.
const measured = "measured by the paper; headinfer's is predicted"

var timeNotes = []string{
	"headinfer: predicted by plan for an RTX 4090 (148 TFLOP/s in linear layers, 140 in attention, 25 GB/s over PCI Express 4), chunks of 10,000 tokens, not measured on one. The card's shares of its data sheet are from this table's prefills; that the two agree in size is therefore little evidence; how they grow with the context is.",
	"— in the paper's line: not possible there; in headinfer's: does not fit in 24 GiB.",
}

const thousand = 1000

var timeColumns = []struct {
	name   string
	tokens int
}{
	{"1K", 1e3}, {"10K", 1e4}, {"20K", 2e4}, {"40K", 4e4}, {"100K", 1e5},
	{"200K", 2e5}, {"400K", 4e5}, {"1M", 1e6}, {"2M", 2e6}, {"4M", 4e6},
}

// timedMethods are headinfer's for the rows of Tables 6 and 7; adaptive has group 0.
func timedMethods() map[string]plan.Method {
	const chunk = 10 * thousand
	return map[string]plan.Method{
		"Standard": plan.Standard(), "Chunked-Prefill": {Chunk: chunk}, "Layer-offload": headwise(8, chunk),
		"head=8": headwise(8, chunk), "head=4": headwise(4, chunk), "head=2": headwise(2, chunk), "head=1": headwise(1, chunk),
		"Adaptive": headwise(0, chunk),
	}
}

// times makes Table 6 or 7.
func times(title string, rows [][2]string, predict func(plan.Model, plan.Method, int) float64) Table {
	t := Table{Title: title, Notes: timeNotes}
	m := llama3()
	for _, row := range rows {
		for i, paper := range numbers(thousand, row[1]) {
			how, tokens := timedMethods()[row[0]], timeColumns[i].tokens
			if how.OnHost && how.Group == 0 {
				how = m.Adapt(how, room(), tokens)
			}
			c := Cell{Row: row[0], Column: timeColumns[i].name, Unit: Seconds, Paper: paper, Reason: measured}
			if room().Holds(m.Memory(how, tokens, tokens)) {
				c.Ours = number(predict(m, how, tokens))
			}
			t.add(c)
		}
	}
	return t
}

func table6() Table {
	return times("Prefill, seconds, Llama-3-8B on an RTX 4090", [][2]string{
		{"Standard", "0.11 1.23 2.83 - - - - - - -"},
		{"Chunked-Prefill", "0.11 1.23 2.83 - - - - - - -"},
		{"Layer-offload", "0.12 1.24 2.84 6.93 - - - - - -"},
		{"head=8", "0.12 1.24 2.84 7.11 30.2 100 357 - - -"},
		{"head=4", "0.13 1.23 2.89 7.26 30.2 99 351 2033 - -"},
		{"head=2", "0.14 1.23 2.94 7.54 30.5 100 353 2035 7952 -"},
		{"head=1", "0.21 1.27 3.06 7.77 31.2 101 356 2054 7975 27114"},
		{"Adaptive", "0.13 1.24 2.84 7.11 30.2 99 351 2033 7952 27114"},
	}, prefill)
}

func table7() Table {
	return times("Decode, seconds a token, Llama-3-8B on an RTX 4090", [][2]string{
		{"Standard", "0.03 0.03 0.03 0.04 - - - - - -"},
		{"Chunked-Prefill", "0.03 0.03 0.03 0.04 - - - - - -"},
		{"Layer-offload", "0.03 0.09 0.17 0.28 0.66 1.3 2.58 - - -"},
		{"head=8", "0.03 0.09 0.17 0.28 0.66 1.3 2.58 - - -"},
		{"head=4", "0.04 0.10 0.16 0.28 0.67 1.31 2.58 6.41 - -"},
		{"head=2", "0.06 0.11 0.17 0.30 0.68 1.32 2.59 6.46 13.7 -"},
		{"head=1", "0.10 0.14 0.21 0.33 0.71 1.33 2.61 6.51 13.8 27.2"},
		{"Adaptive", "0.03 0.09 0.17 0.28 0.66 1.73 3.03 6.41 13.7 27.2"},
	}, decode)
}

func prefill(m plan.Model, how plan.Method, tokens int) float64 {
	return m.PrefillTime(how, card().Rates(), tokens).Seconds
}

func decode(m plan.Model, how plan.Method, tokens int) float64 {
	return m.DecodeTime(how, card().Rates(), tokens).Seconds
}

func table14() Table {
	const tokens = 1_000_000
	t := Table{Title: "Half of the heads streaming (DuoAttention, lossy), 1M tokens, Llama-3-8B on an RTX 4090", Notes: append([]string{
		"headinfer: 4 KV heads a tile; streaming heads see 320 tokens (64 first, 256 last), which hardly counts beside a million.",
	}, timeNotes...)}
	m := llama3()
	exact := headwise(4, 10*thousand)
	streaming := exact
	streaming.Streaming, streaming.Recent = 0.5, 320
	for _, row := range []struct {
		name    string
		how     plan.Method
		figures string
	}{{"HeadInfer", exact, "2033 6.41"}, {"HeadInfer with DuoAttention (lossy)", streaming, "1152 3.28"}} {
		paper := numbers(thousand, row.figures)
		t.add(Cell{Row: row.name, Column: "prefill", Unit: Seconds, Paper: paper[0], Reason: measured, Ours: number(prefill(m, row.how, tokens))})
		t.add(Cell{Row: row.name, Column: "decode a token", Unit: Seconds, Paper: paper[1], Reason: measured, Ours: number(decode(m, row.how, tokens))})
	}
	return t
}
