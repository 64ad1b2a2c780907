package main

import (
	"fmt"
	"slices"
	"strings"

	"headinfer/eval"
	"headinfer/eval/report"
)

// rooflinePicture draws what rows reached under the device's rates. The bytes of a
// method whose cache lies on the host are those that came over the link, of others
// those that the device read of its own memory. What a row computed and read whose
// attention leaves tokens out is not known, and it is not drawn.
func rooflinePicture(rates *benchRates, rows []benchRow) (report.Picture, bool) {
	r := eval.Roofline{Title: "What was reached, under what the device can do"}
	if rates != nil {
		for _, roof := range []eval.Roof{
			{Name: "linear layers, " + flops(rates.Linear), Flops: rates.Linear},
			{Name: "attention, " + flops(rates.Attention), Flops: rates.Attention},
			{Name: "device memory, " + bandwidth(rates.Read), Bytes: rates.Read},
			{Name: "link, " + bandwidth(rates.CopyIn), Bytes: rates.CopyIn},
		} {
			if roof.Flops+roof.Bytes > 0 {
				r.Roofs = append(r.Roofs, roof)
			}
		}
	}
	var words []string
	add := func(row benchRow, kind string, work, bytes, seconds float64) {
		if work <= 0 || bytes <= 0 || seconds <= 0 {
			return
		}
		name := row.Pipeline
		if len(row.Lossy) > 0 {
			name += " (lossy)"
		}
		r.Points = append(r.Points, eval.RoofPoint{Series: name, Kind: kind, Label: eval.Tokens(row.Context), Intensity: work / bytes, Flops: work / seconds})
		words = append(words, fmt.Sprintf("%s, %s at %d tokens %s", name, kind, row.Context, flops(work/seconds)))
	}
	var without []string
	for _, row := range rows {
		if row.Partial {
			if !slices.Contains(without, row.Pipeline) {
				without = append(without, row.Pipeline)
			}
			continue
		}
		if p := row.Prefill; p != nil {
			add(row, "prefill", row.model.LinearFlops(row.Context)+row.model.AttentionFlops(row.Context), row.prefillBytes(), p.Seconds)
		}
		if d := row.Decode; d != nil {
			m := row.model
			work := m.LinearFlops(1) + m.StepFlops(row.Context+1)
			add(row, "decode", work, row.decodeBytes(), d.Seconds)
		}
	}
	if len(r.Points) == 0 {
		return report.Picture{}, false
	}
	caption := "Labels are contexts in tokens. Bytes are those over the link where the cache lies on the host, else those read of device memory; " +
		"FLOP are those that a prompt or a token needs: of the last layer, a prompt needs the keys and values, and the rest for its last token alone. A mark's distance below its roof is what is left to gain."
	if len(without) > 0 {
		caption += " Not drawn, since attention leaves tokens out: " + strings.Join(without, ", ") + "."
	}
	return report.Picture{Name: "roofline", Draw: r, Caption: caption, Alt: "Roofline: " + strings.Join(words, "; ")}, true
}

// prefillBytes are those that a prompt moved: in and out over the link or, of a cache
// on the device, what the device reads.
func (r *benchRow) prefillBytes() float64 {
	if moved := r.Prefill.In + r.Prefill.Out; r.how.OnHost && moved > 0 {
		return float64(moved)
	}
	how := r.how
	how.Chunk = r.Chunk
	weights, cache := r.model.PrefillReads(how, r.Context)
	return weights + cache
}

// decodeBytes are those of a token: over the link or, of a cache on the device, the
// weights and the cache.
func (r *benchRow) decodeBytes() float64 {
	if r.how.OnHost && r.Decode.In > 0 {
		return float64(r.Decode.In)
	}
	return float64(r.model.ReadPerToken() + r.model.KV(r.Context) + r.model.Recent(r.Context))
}
