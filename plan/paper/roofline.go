package paper

import (
	"strings"

	"headinfer/plan"
)

// Why a cell of Table 12 does not follow.
const (
	a100Roof = "312 TFLOP/s is the A100's roof: a slip in the paper, the 4090's is 165"
	halfLink = "half of what 25 GB/s give at this intensity"
	noTable  = "the paper's cell is not at hand; of its A100 only the roof of 312 TFLOP/s is known, which slipped into Table 12"
)

var rooflineColumns = []struct{ name, unit string }{
	{"FLOP", Flop}, {"bytes", Bytes}, {"FLOP/byte", Intensity}, {"FLOP/s", Rate}, {"bound", Word},
	{"link bytes", Bytes}, {"link FLOP/byte", Intensity}, {"link FLOP/s", Rate}, {"link bound", Word},
}

// attentionWork is attention of one layer, or of one KV head's share of it, over tokens:
// all of them as queries, or one. kvHeads are those whose keys and values are read.
func attentionWork(name string, m plan.Model, prefill bool, tokens, share, kvHeads float64) plan.Work {
	queries := 1.0
	if prefill {
		queries = tokens
	}
	width := float64(m.Heads*m.HeadDim) * share
	kv := 2 * kvHeads * share * float64(m.HeadDim) * tokens * element
	w := plan.Work{Name: name, FLOP: 4 * queries * tokens * width, Memory: kv, Link: kv}
	if prefill {
		w.Memory += 2 * queries * width * element // queries and what comes out
	}
	return w
}

// cells are a work's, in the order of the columns.
func cells(r plan.Rates, w plan.Work) []*Value {
	all := []*Value{number(w.FLOP)}
	for _, p := range plan.Roofline(r, w) {
		bound := p.Bound
		if bound == plan.BoundLink {
			bound = "memory" // the paper's word for both
		}
		all = append(all, number(p.Bytes), number(p.Intensity), number(p.Attainable), word(bound))
	}
	return all
}

// rooflineRow is a row of Table 12; figures are the paper's.
type rooflineRow struct {
	name    string
	prefill bool
	kTokens float64
	head    bool // one KV head and its query heads
	figures string
}

var rooflineRows = []rooflineRow{
	{"prefill, flashattention, 1k", true, 1, false, "17G 21M 820 165T compute 4.2M 4100 102T memory"},
	{"prefill, flashattention, 10k", true, 10, false, "1.7T 209M 8200 165T compute 42M 41000 165T compute"},
	{"prefill, flashattention, 100k", true, 100, false, "172T 2.1G 82000 165T compute 419M 410000 165T compute"},
	{"prefill, head-wise, 1k", true, 1, true, "2.1G 2.6M 820 165T compute .5M 4100 102T memory"},
	{"prefill, head-wise, 10k", true, 10, true, "215G 26M 8200 165T compute 5.2M 41000 312T compute"},
	{"prefill, head-wise, 100k", true, 100, true, "21T 262M 82000 165T compute 52M 410000 312T compute"},
	{"decode, flashattention, 1k", false, 1, false, "17M 17M 1 1T memory 17M 1 13G memory"},
	{"decode, flashattention, 10k", false, 10, false, "168M 168M 1 1T memory 168M 1 13G memory"},
	{"decode, flashattention, 100k", false, 100, false, "1.7G 1.7G 1 1T memory 1.7G 1 13G memory"},
	{"decode, head-wise, 1k", false, 1, true, "2.1M 2.1M 1 1T memory 2.1M 1 13G memory"},
	{"decode, head-wise, 10k", false, 10, true, "21M 21M 1 1T memory 21M 1 13G memory"},
	{"decode, head-wise, 100k", false, 100, true, "210M 210M 1 1T memory 210M 1 13G memory"},
}

// works returns a row's work as the paper counts it and as it is.
func (row rooflineRow) works() (theirs, ours plan.Work) {
	m, tokens := llama3(), row.kTokens*ki
	share, kvHeads := 1.0, float64(m.KVHeads)
	if row.head {
		share = 1 / kvHeads
	}
	ours = attentionWork(row.name, m, row.prefill, tokens, share, kvHeads)
	if theirs = ours; !row.prefill {
		theirs = attentionWork(row.name, m, false, tokens, share, float64(m.Heads))
	}
	return theirs, ours
}

const countsOf = "Attention of one layer without the causal half: 4 · queries · keys · heads · head_dim. Prefill moves queries, output, keys and values, decode keys and values; the link columns are keys and values alone. K is 1024."

func table12() Table {
	sheet := card().Sheet()
	paperRates := plan.Rates{Linear: 165e12, Read: 1e12, CopyIn: 25e9}
	t := Table{
		Title: "Roofline of an RTX 4090, attention of one layer of Llama-3-8B",
		Notes: []string{
			countsOf,
			"By its arithmetic: 165 TFLOP/s, 1 TB/s, 25 GB/s; in decode the bytes of 32 KV heads. headinfer: the card's data sheet, 165 TFLOP/s and 1.008 TB/s, and 25 GB/s; the model has 8 KV heads, so that a decode step reads a quarter and has four times the intensity.",
		},
	}
	for _, row := range rooflineRows {
		theirs, ours := row.works()
		follows, own := cells(paperRates, theirs), cells(sheet, ours)
		for i, figure := range strings.Fields(row.figures) {
			c := Cell{Row: row.name, Column: rooflineColumns[i].name, Unit: rooflineColumns[i].unit, Follows: follows[i], Ours: own[i]}
			if c.Unit == Word {
				c.Paper = word(figure)
			} else {
				c.Paper = numbers(thousand, figure)[0]
			}
			switch figure {
			case "312T":
				c.Follows, c.Reason = nil, a100Roof
			case "13G":
				c.Follows, c.Reason = nil, halfLink
			}
			t.add(c)
		}
	}
	return t
}

func table13() Table {
	a100, ok := plan.GPUByName("A100 80GB")
	if !ok {
		panic("paper: plan has no A100")
	}
	t := Table{
		Title: "Roofline of an A100, attention of one layer of Llama-3-8B",
		Notes: []string{
			countsOf,
			"headinfer's rates: an A100 with 80 GB by its data sheet, 312 TFLOP/s and 2.04 TB/s, and 25 GB/s; a decode step reads the 8 KV heads that the model has.",
		},
	}
	for _, row := range rooflineRows {
		_, ours := row.works()
		for i, v := range cells(a100.Sheet(), ours) {
			t.add(Cell{Row: row.name, Column: rooflineColumns[i].name, Unit: rooflineColumns[i].unit, Reason: noTable, Ours: v})
		}
	}
	return t
}
