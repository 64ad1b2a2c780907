package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// headsReport is what --find-heads prints.
type headsReport struct {
	Path    string `json:"path,omitempty"` // of the file that was written, if it was
	Tokens  int    `json:"tokens"`
	Samples int    `json:"samples"` // answers that the damage was measured on
	// Damage is by how much the answers' mean log-odds fall when that head alone
	// has the window, in nats: [layers, KV heads], or less if not all were measured.
	// All is for all heads at once.
	Damage       [][]float64 `json:"damage"`
	All          float64     `json:"all_streaming_damage"`
	Scores       [][]float64 `json:"scores"` // as in the file; null if not all heads were measured
	Streaming    int         `json:"streaming_heads"`
	Verification *evalReport `json:"verification"`

	heads int // of the model
}

// print writes the report for a person: the damages, those of streaming heads
// in parentheses, and the scores of the check.
func (r *headsReport) print(w io.Writer) error {
	var out strings.Builder
	out.WriteString("damage of the window to single KV heads, in nats; (heads that stream)\n")
	r.table().write(&out)
	fmt.Fprintf(&out, "\nall heads at once: %s\n", inNats(r.All))
	fmt.Fprintf(&out, "measured on %d answers at %d tokens; ", r.Samples, r.Tokens)
	if r.Scores == nil {
		measured := 0
		for _, heads := range r.Damage {
			measured += len(heads)
		}
		fmt.Fprintf(&out, "%d of %d heads were measured\n", measured, r.heads)
	} else {
		fmt.Fprintf(&out, "%d of %d heads stream\n", r.Streaming, r.heads)
	}
	if r.Path != "" {
		fmt.Fprintf(&out, "written: %s\n\n", r.Path)
	}
	if _, err := io.WriteString(w, out.String()); err != nil || r.Verification == nil {
		return err
	}
	return r.Verification.print(w)
}

// table has a row for each layer and a column for each KV head, as far as they
// were measured.
func (r *headsReport) table() table {
	head := []string{"layer"}
	if len(r.Damage) > 0 {
		for h := range r.Damage[0] {
			head = append(head, strconv.Itoa(h))
		}
	}
	t := table{head}
	for l, heads := range r.Damage {
		row := []string{strconv.Itoa(l)}
		for h, d := range heads {
			cell := inNats(d) + " "
			if r.Scores != nil && r.Scores[l][h] < border {
				cell = "(" + inNats(d) + ")"
			}
			row = append(row, cell)
		}
		t = append(t, fill(row, len(head)))
	}
	return t
}

func inNats(d float64) string { return strconv.FormatFloat(d, 'f', 3, 64) }
