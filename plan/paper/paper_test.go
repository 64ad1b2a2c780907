package paper

import (
	"slices"
	"strings"
	"testing"
)

// TestCells holds every cell to the paper's within 5% if it follows from arithmetic,
// and to a reason if it does not.
func TestCells(t *testing.T) {
	follows := map[int]int{}
	for _, n := range Numbers() {
		table, ok := ByNumber(n)
		if !ok || table.Number != n || table.Title == "" || len(table.Notes) == 0 || len(table.Cells) == 0 {
			t.Errorf("table %d: %+v", n, table)
		}
		if err := table.Check(); err != nil {
			t.Error(err)
		}
		for _, c := range table.Cells {
			if c.Follows != nil {
				follows[n]++
			}
			if c.Paper == nil && n != 6 && n != 7 && n != 13 {
				t.Errorf("table %d, %s, %s: no figure of the paper's", n, c.Row, c.Column)
			}
		}
	}
	// Memory and rooflines follow as a whole, but for two slips of the paper; of the
	// longest contexts those that keys and values alone bound.
	for n, want := range map[int]int{3: 3, 4: 0, 5: 4, 6: 0, 7: 0, 8: 3, 10: 25, 11: 25, 12: 100, 13: 0, 14: 0} {
		if follows[n] != want {
			t.Errorf("%d cells of table %d follow from arithmetic, want %d", follows[n], n, want)
		}
	}
	if _, ok := ByNumber(9); ok {
		t.Error("there is a table 9")
	}
}

// TestCheck fails on a cell that neither follows nor has a reason, and on one that is
// off by more than the tolerance.
func TestCheck(t *testing.T) {
	for want, c := range map[string]Cell{
		"":                                {Paper: number(100), Follows: number(104.9)},
		"neither arithmetic nor a reason": {Paper: number(100)},
		"the paper has 100":               {Paper: number(100), Follows: number(94)},
		"the paper has compute":           {Paper: word("compute"), Follows: word("memory")},
		"arithmetic gives 1":              {Follows: number(1)},
		"and a reason why there is none":  {Paper: number(100), Follows: number(100), Reason: "measured"},
		"arithmetic gives memory":         {Paper: number(1), Follows: word("memory")},
	} {
		err := Table{Number: 1, Cells: []Cell{c}}.Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}

// TestOurs has what headinfer claims beside the paper: no longest context is shorter,
// smaller groups reach further, and streaming heads save about half.
func TestOurs(t *testing.T) {
	for _, n := range []int{3, 4, 5, 8} {
		table, _ := ByNumber(n)
		for _, c := range table.Cells {
			if c.Ours == nil || c.Ours.Number < c.Paper.Number {
				t.Errorf("table %d, %s, %s: %s, and the paper has %s", n, c.Row, c.Column, c.Show(c.Ours), c.Show(c.Paper))
			}
		}
	}
	five, _ := ByNumber(5)
	var groups []float64
	for _, row := range five.Rows[3:] {
		c, _ := five.Cell(row, "longest")
		groups = append(groups, c.Ours.Number)
	}
	if !slices.IsSorted(groups) {
		t.Errorf("smaller groups hold %v tokens", groups)
	}
	half, _ := ByNumber(14)
	exact, _ := half.Cell(half.Rows[0], "decode a token")
	streaming, _ := half.Cell(half.Rows[1], "decode a token")
	if share := streaming.Ours.Number / exact.Ours.Number; share < 0.5 || share > 0.52 {
		t.Errorf("with half of the heads streaming a step takes %g of the time", share)
	}
}

func TestShow(t *testing.T) {
	for want, c := range map[string]Cell{
		"25K": {Unit: Tokens, Paper: number(25 * ki)}, "15.08": {Unit: GiB, Paper: number(15.08)}, "172T": {Unit: Flop, Paper: number(172e12)},
		"524k": {Unit: Bytes, Paper: number(524288)}, "2033": {Unit: Seconds, Paper: number(2033)}, "0.11": {Unit: Seconds, Paper: number(0.11)},
		"memory": {Paper: word("memory")}, "—": {Unit: Seconds}, "820": {Unit: Intensity, Paper: number(820)}, "12": {Unit: Bytes, Paper: number(12)},
	} {
		if got := c.Show(c.Paper); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
