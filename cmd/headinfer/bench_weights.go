package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"headinfer/kernels"
	"headinfer/model"
)

// encoded returns each pipeline once for each of the encodings of --weights.
func (o *benchOptions) encoded(all []benchPipeline) ([]benchPipeline, error) {
	types := o.weights
	if slices.Contains(types, "all") {
		types = nil
		for _, d := range kernels.DTypes() {
			types = append(types, d.String())
		}
	}
	var out []benchPipeline
	for _, p := range all {
		for _, d := range types {
			path, err := model.RandomIn(p.Model.Path, d)
			if err != nil {
				return nil, usage(fmt.Errorf("--weights: %w", err))
			}
			file, one := *p.Pipeline, *p.pipeline
			file.Model.Path, one.Pipeline = path, &file
			out = append(out, benchPipeline{pipeline: &one, name: p.name + " " + d, weights: d})
		}
	}
	return out, nil
}

// read is the table of what decoding reads of weights, or nil without --weights.
func (r *benchReport) read() table {
	t := table{
		{"", "", "weights", "", "", "", "of"},
		{"method", "context", "all", "read a token", "tokens/s", "GB/s", "limit"},
	}
	for _, row := range r.Rows {
		if row.Weights == "" {
			continue
		}
		cells := []string{row.Pipeline, strconv.Itoa(row.Context)}
		if d := row.Decode; d != nil {
			cells = append(cells, kernels.FormatBytes(row.Memory.Now[kernels.Weights]), kernels.FormatBytes(row.Read),
				number(d.Tokens), number(float64(row.Read)*d.Tokens/1e9), reached(d.Limit))
		}
		t = append(t, fill(cells, len(t[0])))
	}
	if len(t) == 2 {
		return nil
	}
	return t
}

// writeRead writes that table, if there is one.
func (r *benchReport) writeRead(out *strings.Builder) {
	if t := r.read(); t != nil {
		t.write(out)
		out.WriteByte('\n')
	}
}
