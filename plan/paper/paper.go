// Package paper has the tables of HeadInfer (arXiv 2502.12574) as data, and beside each
// cell what follows from the paper's own arithmetic and what headinfer plans or predicts
// for the same case. It is arithmetic; nothing is measured here.
//
// The paper's machine is one RTX 4090 with 24 GiB, 1 TB of host memory and PCI Express 4;
// its model is Llama-3-8B unless a table says otherwise. Its GB are GiB. Its K is 1024
// where memory is counted (Tables 3, 4, 5, 8, 10, 11, 12) and 1000 where time is (6, 7, 14).
package paper

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"headinfer/plan"
)

// Units of cells.
const (
	Tokens    = "tokens"
	GiB       = "GiB"
	Seconds   = "s"
	Flop      = "FLOP"
	Bytes     = "B"
	Intensity = "FLOP/B"
	Rate      = "FLOP/s"
	Word      = "" // compute, memory or link
)

// Value is a number in a cell's unit, or a word.
type Value struct {
	Number float64
	Word   string
}

// MarshalJSON writes the number, or the word.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.Word != "" {
		return json.Marshal(v.Word)
	}
	return json.Marshal(v.Number)
}

// Cell is one of the paper's cells.
type Cell struct {
	Row    string `json:"row"`
	Column string `json:"column"`
	Unit   string `json:"unit"`
	Paper  *Value `json:"paper"` // nil: the paper has none, or it is not at hand
	// Follows is what the paper's own arithmetic gives; nil: the cell does not follow
	// from arithmetic, and Reason says why.
	Follows *Value `json:"by_its_arithmetic,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// Ours is what headinfer plans or predicts; nil: it does not fit.
	Ours *Value `json:"headinfer"`
}

// Off returns by how much a value differs from the paper's, as a part of that. ok is
// false where there are not two numbers to compare; two words differ by 0 or 1.
func (c Cell) Off(v *Value) (off float64, ok bool) {
	switch {
	case v == nil || c.Paper == nil:
		return 0, false
	case v.Word != "" || c.Paper.Word != "":
		if v.Word == c.Paper.Word {
			return 0, true
		}
		return 1, true
	case c.Paper.Number == 0:
		return 0, false
	}
	return v.Number/c.Paper.Number - 1, true
}

// Tolerance is by how much a cell may differ from the paper's if it follows from
// arithmetic: the paper rounds to two digits.
const Tolerance = 0.05

// Check returns an error for each cell that neither follows within the tolerance nor
// has a reason.
func (t Table) Check() error {
	var wrong []error
	for _, c := range t.Cells {
		where := fmt.Sprintf("table %d, %s, %s", t.Number, c.Row, c.Column)
		off, comparable := c.Off(c.Follows)
		switch {
		case c.Follows == nil && c.Reason == "":
			wrong = append(wrong, fmt.Errorf("%s: neither arithmetic nor a reason", where))
		case c.Follows != nil && c.Reason != "":
			wrong = append(wrong, fmt.Errorf("%s: arithmetic and a reason why there is none", where))
		case c.Follows != nil && (!comparable || math.Abs(off) > Tolerance):
			wrong = append(wrong, fmt.Errorf("%s: the paper has %s, arithmetic gives %s", where, c.Show(c.Paper), c.Show(c.Follows)))
		}
	}
	return errors.Join(wrong...)
}

// Table is one of the paper's tables.
type Table struct {
	Number  int      `json:"table"`
	Title   string   `json:"title"`
	Columns []string `json:"columns"`
	Rows    []string `json:"rows"`
	Cells   []Cell   `json:"cells"`
	Notes   []string `json:"notes"`
}

// Cell returns the cell of a row and column.
func (t Table) Cell(row, column string) (Cell, bool) {
	for _, c := range t.Cells {
		if c.Row == row && c.Column == column {
			return c, true
		}
	}
	return Cell{}, false
}

// add puts a cell in, and its row and column in their order.
func (t *Table) add(c Cell) {
	if !slices.Contains(t.Rows, c.Row) {
		t.Rows = append(t.Rows, c.Row)
	}
	if !slices.Contains(t.Columns, c.Column) {
		t.Columns = append(t.Columns, c.Column)
	}
	t.Cells = append(t.Cells, c)
}

var makers = map[int]func() Table{
	3: table3, 4: table4, 5: table5, 6: table6, 7: table7, 8: table8,
	10: table10, 11: table11, 12: table12, 13: table13, 14: table14,
}

// Numbers lists the tables that there are.
func Numbers() []int {
	var all []int
	for n := range makers {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// ByNumber computes a table.
func ByNumber(n int) (Table, bool) {
	maker, ok := makers[n]
	if !ok {
		return Table{}, false
	}
	t := maker()
	t.Number = n
	return t, true
}

// number and word make values.
func number(n float64) *Value { return &Value{Number: n} }
func word(w string) *Value    { return &Value{Word: w} }

// numbers reads a row of the paper: "25K 10K -", with K of some size; "-" is none.
func numbers(k float64, row string) []*Value {
	var all []*Value
	for field := range strings.FieldsSeq(row) {
		if field == "-" {
			all = append(all, nil)
			continue
		}
		unit := 1.0
		for suffix, size := range map[string]float64{"K": k, "M": k * k, "G": k * k * k, "T": k * k * k * k} {
			if rest, ok := strings.CutSuffix(field, suffix); ok {
				field, unit = rest, size
			}
		}
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			panic("paper: a figure of the package's own that is none: " + field)
		}
		all = append(all, number(n*unit))
	}
	return all
}

const ki = 1024

// Show writes a value in the cell's unit: "25K", "15.1", "2033", "172T".
func (c Cell) Show(v *Value) string {
	switch {
	case v == nil:
		return "—"
	case v.Word != "":
		return v.Word
	case c.Unit == Tokens:
		return digits(v.Number/ki) + "K"
	case c.Unit == GiB:
		return strconv.FormatFloat(v.Number, 'g', 4, 64)
	case c.Unit == Flop || c.Unit == Bytes || c.Unit == Rate:
		return scaled(v.Number)
	}
	return digits(v.Number)
}

// scaled writes a number with a unit of thousands, as the paper's rooflines do.
func scaled(n float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= unit.size {
			return digits(n/unit.size) + unit.name
		}
	}
	return digits(n)
}

// digits writes three of them, and whole numbers whole.
func digits(n float64) string {
	if n >= 100 {
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	return strconv.FormatFloat(n, 'g', 3, 64)
}

// card is the paper's.
func card() plan.GPU {
	g, ok := plan.GPUByName("RTX 4090")
	if !ok {
		panic("paper: plan has no RTX 4090")
	}
	return g
}
