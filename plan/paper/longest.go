package paper

import (
	"math"
	"math/bits"

	"headinfer/plan"
)

const most = math.MaxInt32 // positions

// Why a longest context does not follow from arithmetic.
const (
	framework  = "measured where its framework ran out: by the paper's own accounting (Tables 10 and 11) 1 to 7 of the 24 GiB are still free at such a length; logits, temporary copies and fragmentation are not in it"
	otherShape = "measured: the accounting that fits Llama-3-8B's head-wise rows leaves room for more; what the framework takes for this shape is not in it"
	eightCards = "measured: the paper has no accounting for eight cards, and what it has for one leaves room for more"
	ruler30    = "does not follow from Table 5, whose 30K is less than 32K"
)

var longestNotes = []string{
	"headinfer: the longest context that plan computes for 24 GiB of device memory and 1 TB (10¹² bytes) of host memory, chunks of 10,240 tokens. Runs take some 40 MiB of workspace and a driver's half a GiB on top.",
}

const fourTiles = "By its arithmetic, head-wise: what 24 GiB leave beside 15.08 (Llama-3-8B; else the weights) and a chunk's activations, over four tiles of a group; at most 512 GiB on the host. Two tiles are the paper's ring; that its released code has each twice, because it joins old and new keys and values into new memory, was found by fitting. headinfer's ring is two tiles."

// headwiseLongest is the longest context by the paper's accounting.
func headwiseLongest(m plan.Model, group int) float64 {
	weights := float64(m.WeightBytes)
	if m == llama3() {
		weights = 15.08 * (1 << 30)
	}
	free := cardMemory - weights - paperChunk*rowBytes(m)
	onCard := free / float64(concatenated*int64(group)*m.TokenKV())
	return min(onCard, hostCache/float64(m.KV(1)))
}

// ourLongest is what headinfer has room for.
func ourLongest(m plan.Model, how plan.Method) *Value {
	return number(float64(m.Longest(how, room(), most)))
}

func table3() Table {
	t := Table{Title: "Longest context by model on a 24 GiB card", Notes: append([]string{fourTiles}, longestNotes...)}
	models := []string{"Llama-3-8B", "Llama-2-7B", "Mistral-7B", "Qwen2-7B", "Gemma-2-9b"}
	for _, row := range []struct{ method, figures string }{
		{"Standard", "25K 10K 30K 35K 10K"},
		{"Chunked Prefill", "30K 20K 40K 70K 10K"},
		{"4-bit KV-quant", "45K 30K 40K 50K 20K"},
		{"Layer-wise offload", "45K 60K 45K 50K 35K"},
		{"HeadInfer", "4096K 1024K 4096K 4200K 1300K"},
	} {
		for i, paper := range numbers(ki, row.figures) {
			m := Models[models[i]]
			c := Cell{Row: row.method, Column: models[i], Unit: Tokens, Paper: paper, Reason: framework}
			c.Ours = ourLongest(m, methods(m, paperChunk)[row.method])
			if row.method == "HeadInfer" {
				c.Follows, c.Reason = number(headwiseLongest(m, 1)), ""
				if models[i] == "Qwen2-7B" || models[i] == "Gemma-2-9b" {
					c.Follows, c.Reason = nil, otherShape
				}
			}
			t.add(c)
		}
	}
	return t
}

// table4 splits the layers evenly over the cards, which are pooled.
func table4() Table {
	const cards = 8
	t := Table{
		Title: "Longest context of Llama-3-70B on 8 cards of 24 GiB",
		Notes: append([]string{"headinfer runs on one device. What is computed is eight cards with 10 layers each and an eighth of the host's memory each, one chunk going through them in turn; the smallest share counts."}, longestNotes...),
	}
	m := Models["Llama-3-70B"]
	m.Layers, m.WeightBytes = m.Layers/cards, m.WeightBytes/cards
	share := plan.Room{Device: cardMemory, Host: hostMemory / cards}
	for _, row := range []struct {
		name    string
		how     plan.Method
		figures string
	}{
		{"Standard", plan.Standard(), "10K"},
		{"HeadInfer, chunk 10K", headwise(1, paperChunk), "950K"},
		{"HeadInfer, chunk 5K", headwise(1, paperChunk/2), "1000K"},
	} {
		t.add(Cell{
			Row: row.name, Column: "longest", Unit: Tokens, Paper: numbers(ki, row.figures)[0],
			Reason: eightCards, Ours: number(float64(m.Longest(row.how, share, most))),
		})
	}
	return t
}

func table5() Table {
	t := Table{Title: "Longest context by group of heads, Llama-3-8B on a 24 GiB card", Notes: append([]string{fourTiles}, longestNotes...)}
	m := llama3()
	for _, row := range []struct {
		name, method, figures string
		group                 int
	}{
		{"Standard", "Standard", "25K", 0},
		{"Layer-wise offload", "Layer-wise offload", "45K", 0},
		{"Chunked Prefill", "Chunked Prefill", "30K", 0},
		{"HeadInfer head=8 group=1", "", "550K", 8},
		{"HeadInfer head=4 group=2", "", "1100K", 4},
		{"HeadInfer head=2 group=4", "", "2100K", 2},
		{"HeadInfer (head=1)", "", "4096K", 1},
	} {
		c := Cell{Row: row.name, Column: "longest", Unit: Tokens, Paper: numbers(ki, row.figures)[0]}
		if row.group > 0 {
			c.Follows, c.Ours = number(headwiseLongest(m, row.group)), ourLongest(m, headwise(row.group, paperChunk))
		} else {
			c.Reason, c.Ours = framework, ourLongest(m, methods(m, paperChunk)[row.method])
		}
		t.add(c)
	}
	return t
}

// table8 has the longest of RULER's lengths, powers of two up to the model's own.
func table8() Table {
	const trained = 128 * ki
	t := Table{Title: "Longest context within RULER, Llama-3-8B", Notes: append([]string{
		"By its arithmetic: the greatest power of two that Table 5's longest context holds, up to the 128K that the model was made for.",
	}, longestNotes...)}
	power := func(n float64) *Value {
		return number(float64(int(1) << (bits.Len(uint(min(n, trained))) - 1)))
	}
	m := llama3()
	for _, row := range []struct {
		method, figures string
		longest         float64 // Table 5's
		reason          string
	}{
		{"Standard", "16K", 25 * ki, ""},
		{"Chunked Prefill", "32K", 30 * ki, ruler30},
		{"Layer-wise offload", "32K", 45 * ki, ""},
		{"HeadInfer", "128K", 4096 * ki, ""},
	} {
		c := Cell{Row: row.method, Column: "longest", Unit: Tokens, Paper: numbers(ki, row.figures)[0], Reason: row.reason}
		if row.reason == "" {
			c.Follows = power(row.longest)
		}
		c.Ours = power(ourLongest(m, methods(m, paperChunk)[row.method]).Number)
		t.add(c)
	}
	return t
}
