package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// evalReport is what eval prints. Times are in seconds.
type evalReport struct {
	Machine   benchMachine     `json:"machine"`
	Model     string           `json:"model"`
	Random    bool             `json:"random_weights"`
	Device    string           `json:"device"`
	Seed      uint64           `json:"seed"`
	Depths    []float64        `json:"depths"`
	Methods   []evalMethodName `json:"methods"`
	Cells     []evalCell       `json:"cells"`
	Identical evalIdentical    `json:"identical_answers"`
	Files     []string         `json:"files"`
}

// evalMethodName is a method, and what it loses; an exact one loses nothing.
type evalMethodName struct {
	Name  string   `json:"name"`
	Lossy []string `json:"lossy,omitempty"`
}

// evalCell is a method's score of a task at a length: figures, or Error.
type evalCell struct {
	Method  string  `json:"method"`
	Task    string  `json:"task"`
	Tokens  int     `json:"tokens"` // asked for, or the most that were allowed
	Error   string  `json:"error,omitempty"`
	Samples int     `json:"samples"` // answered
	Score   float64 `json:"score"`   // mean, 0 to 1
	Seconds float64 `json:"seconds"` // of all samples
	evalGiven

	of      int // samples there are
	number  int // of the case
	answers []string
	scores  []float64
}

// evalIdentical compares the answers of exact methods.
type evalIdentical struct {
	Same int `json:"same"`
	Of   int `json:"of"` // questions that two exact methods or more answered
}

// exact says whether a method is.
func (r *evalReport) exact(method string) bool {
	for _, m := range r.Methods {
		if m.Name == method {
			return len(m.Lossy) == 0
		}
	}
	return false
}

// lossy notes what the engine of the method that was begun last says it loses.
func (r *evalReport) lossy(what []string) {
	last := &r.Methods[len(r.Methods)-1]
	last.Lossy = append(last.Lossy, what...)
}

// compare counts the questions that all exact methods answered alike.
func (r *evalReport) compare(cases int) {
	for number := range cases {
		var all [][]string
		most := 0
		for _, c := range r.Cells {
			if c.number == number && r.exact(c.Method) {
				all = append(all, c.answers)
				most = max(most, len(c.answers))
			}
		}
		for i := range most {
			times, alike, first := 0, true, ""
			for _, answers := range all {
				if i >= len(answers) {
					continue
				}
				if times == 0 {
					first = answers[i]
				}
				alike = alike && answers[i] == first
				times++
			}
			if times < 2 {
				continue
			}
			r.Identical.Of++
			if alike {
				r.Identical.Same++
			}
		}
	}
}

// cell returns a method's cell of a task at a length; nil if there is none.
func (r *evalReport) cell(method, task string, tokens int) *evalCell {
	for i, c := range r.Cells {
		if c.Method == method && c.Task == task && c.Tokens == tokens {
			return &r.Cells[i]
		}
	}
	return nil
}

// print writes the report for a person: scores, whether the exact methods
// agree, what was measured, and why there are cells without a score.
func (r *evalReport) print(w io.Writer) error {
	var out strings.Builder
	r.table().write(&out)
	out.WriteByte('\n')
	if r.Identical.Of > 0 {
		fmt.Fprintf(&out, "identical answers across exact methods: %d of %d\n", r.Identical.Same, r.Identical.Of)
	}
	if r.Model != "" {
		fmt.Fprintf(&out, "model: %s\n", r.Model)
	}
	fmt.Fprintf(&out, "machine: %s\n", r.Machine)
	if r.Device != "" {
		fmt.Fprintf(&out, "device: %s\n", r.Device)
	}
	for _, m := range r.Methods {
		for _, what := range m.Lossy {
			fmt.Fprintf(&out, "%s is lossy: %s\n", m.Name, what)
		}
	}
	r.skipped(&out)
	for _, file := range r.Files {
		fmt.Fprintf(&out, "written: %s\n", file)
	}
	for _, c := range r.Cells {
		if c.Error != "" {
			fmt.Fprintf(&out, "%s, %s at %d tokens: %s\n", c.Method, c.Task, c.Tokens, c.Error)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// table is the scores in percent: a row for each task and length, a column for
// each method.
func (r *evalReport) table() table {
	head := []string{"task", "tokens", "samples"}
	for _, m := range r.Methods {
		head = append(head, m.Name)
	}
	t := table{head}
	rows := map[string]bool{}
	// Task by task, which is not the order of measuring.
	for _, first := range r.Cells {
		for _, c := range r.Cells {
			name := c.Task + " " + strconv.Itoa(c.Tokens)
			if c.Task != first.Task || rows[name] {
				continue
			}
			rows[name] = true
			t = append(t, r.row(c))
			t = append(t, r.partRows(c)...)
		}
	}
	return t
}

// row is the row of a cell.
func (r *evalReport) row(of evalCell) []string {
	samples := 0
	var scores []string
	for _, m := range r.Methods {
		c := r.cell(m.Name, of.Task, of.Tokens)
		if c == nil || c.Samples == 0 {
			scores = append(scores, none)
			continue
		}
		samples = max(samples, c.Samples)
		text := inPercent(c.Score)
		if c.Samples < c.of {
			text += fmt.Sprintf(" (%d of %d)", c.Samples, c.of)
		}
		scores = append(scores, text)
	}
	return append([]string{of.Task, of.length(), strconv.Itoa(samples)}, scores...)
}

func inPercent(score float64) string {
	return strconv.FormatFloat(math.Round(1000*score)/10, 'f', 1, 64)
}
