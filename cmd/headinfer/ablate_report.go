package main

import (
	"fmt"
	"slices"

	"headinfer/config/matrix"
	"headinfer/plan"
)

// ablateReport is what ablate prints and keeps. Times are in seconds, sizes in bytes.
type ablateReport struct {
	Machine  benchMachine   `json:"machine"`
	Matrix   string         `json:"matrix"`
	Model    string         `json:"model,omitempty"`
	Random   bool           `json:"random_weights"`
	Device   string         `json:"device"`
	Rates    *benchRates    `json:"rates,omitempty"` // nil: not measured
	Rounds   int            `json:"rounds"`
	Decoded  int            `json:"decode_tokens"` // after each context, a round
	Measures []string       `json:"measures"`
	Rows     []ablateRow    `json:"rows"`
	Claims   []ablateClaim  `json:"claims"`
	Samples  []ablateSample `json:"samples"`
	Files    []string       `json:"files"`
}

// ablateRow is a row of the matrix.
type ablateRow struct {
	Name     string           `json:"name"`
	Base     string           `json:"base"`
	Axes     []matrix.Setting `json:"axes,omitempty"`
	Set      []matrix.Setting `json:"set,omitempty"`
	Lossy    []string         `json:"lossy,omitempty"`
	Cells    []ablateCell     `json:"cells,omitempty"`
	Planned  *int             `json:"planned_longest_tokens,omitempty"` // by plan, in this machine's memory
	Longest  *longestRow      `json:"longest,omitempty"`
	Accuracy *accuracyFigure  `json:"accuracy,omitempty"`
	Distance *distanceFigure  `json:"distance,omitempty"`
	// Errors says why measures other than times have no figures.
	Errors map[string]string `json:"errors,omitempty"`
}

// ablateCell is a row at a context: figures, or Error.
type ablateCell struct {
	benchRow
	// Spreads are the largest less the smallest of the rounds' figures, as a share of
	// the median; nil if there was one.
	PrefillSpread *float64 `json:"prefill_spread,omitempty"`
	DecodeSpread  *float64 `json:"decode_spread,omitempty"`
	// Note says after how many rounds the row failed, and why; empty: in none.
	Note      string           `json:"note,omitempty"`
	Predicted *ablatePredicted `json:"predicted,omitempty"` // nil without rates, of pageable memory, or where attention leaves tokens out
}

// ablatePredicted are plan's times.
type ablatePredicted struct {
	Prefill *plan.Prediction `json:"prefill,omitempty"`
	Decode  plan.Prediction  `json:"decode"`
}

// any reports whether there is a figure.
func (r *ablateReport) any() bool {
	return slices.ContainsFunc(r.Samples, func(s ablateSample) bool { return s.Error == "" })
}

// wants reports whether the tables show a measure.
func (r *ablateReport) wants(measure string) bool { return slices.Contains(r.Measures, measure) }

// report sums up the samples that there are.
func (a *ablation) report() *ablateReport {
	r := &ablateReport{
		Machine: thisMachine(), Matrix: a.matrix.File, Device: a.device, Rates: a.rates,
		Rounds: a.matrix.Repeats, Decoded: a.matrix.DecodeTokens, Measures: a.matrix.Measures,
	}
	for _, state := range a.rows {
		row := ablateRow{Name: state.Name, Base: state.Base, Axes: state.Axes, Set: state.Set, Errors: map[string]string{}}
		for _, n := range a.matrix.Contexts {
			a.cell(r, state, &row, n, false)
		}
		for _, n := range a.matrix.Fill {
			a.cell(r, state, &row, n, true)
		}
		for _, u := range a.units {
			if u.row != state || u.kind == unitTime {
				continue
			}
			if reason := state.failed[u.place()]; reason != "" {
				row.Errors[u.kind] = reason
			}
			s := a.sample(u)
			if s == nil {
				continue
			}
			r.Samples = append(r.Samples, *s)
			row.Longest, row.Accuracy, row.Distance = or(row.Longest, s.Longest), or(row.Accuracy, s.Accuracy), or(row.Distance, s.Distance)
			if s.Longest != nil {
				s.Longest.Pipeline = state.Name // which a changed matrix may have changed
			}
		}
		r.Rows = append(r.Rows, row)
	}
	r.Claims = r.claims()
	return r
}

func or[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// cell adds a row's figures at a context to the row, and its samples to the report; it
// adds nothing of what is not measured yet.
func (a *ablation) cell(r *ablateReport, state *ablateRowState, row *ablateRow, tokens int, filled bool) {
	c := ablateCell{benchRow: benchRow{Pipeline: state.Name, Context: tokens, Filled: filled}}
	rounds := 0
	var samples []benchSample
	var facts *rowFacts
	var prefills, decodes []float64
	for _, u := range a.units {
		if u.row != state || u.kind != unitTime || u.context != tokens || u.filled != filled {
			continue
		}
		rounds++
		c.Error = state.failed[u.place()]
		s := a.sample(u)
		if s == nil {
			continue
		}
		r.Samples = append(r.Samples, *s)
		if s.Error != "" {
			continue
		}
		if facts == nil {
			facts = s.Facts
		}
		samples = append(samples, s.sample())
		prefills, decodes = append(prefills, s.Prefill), append(decodes, median(s.Steps))
	}
	switch {
	case len(samples) > 0:
		if c.Error != "" {
			c.Note = fmt.Sprintf("%d of %d rounds, and then: %s", len(samples), rounds, c.Error)
		}
		c.benchRow = facts.Bench
		c.model, c.how = facts.Model, facts.How // for pictures
		c.Pipeline = state.Name
		rates := a.rates
		if facts.Partial {
			rates = nil // the limits are those of the whole context
		}
		c.figures(samples, facts.Model, rates)
		c.DecodeSpread = spreadOf(decodes)
		if !filled {
			c.PrefillSpread = spreadOf(prefills)
		}
		if a.rates != nil && a.rates.Device == c.Device {
			c.Predicted = predict(facts, a.rates.plan(), tokens, filled)
		}
		r.Model, r.Random = c.Model, c.Random
		row.Lossy = c.Lossy
		if row.Planned == nil {
			planned := facts.Model.Longest(facts.Least, a.room.of(state.Device), mostPlanned)
			row.Planned = &planned
		}
	case c.Error == "":
		return
	}
	row.Cells = append(row.Cells, c)
}

// mostPlanned is where plan stops looking for a longer context, in tokens.
const mostPlanned = 1 << 30

// predict is what plan says of a row's times; nil if it says nothing.
func predict(facts *rowFacts, r plan.Rates, tokens int, filled bool) *ablatePredicted {
	if facts.How.Pageable || facts.Partial {
		return nil // plan's arithmetic is that of the whole context, by way of pinned memory
	}
	p := &ablatePredicted{Decode: facts.Model.DecodeTime(facts.How, r, tokens)}
	if !filled {
		prefill := facts.Model.PrefillTime(facts.How, r, tokens)
		p.Prefill = &prefill
	}
	return p
}

// median of figures; of an even number the larger of the two in the middle, as bench
// has it.
func median(figures []float64) float64 {
	if len(figures) == 0 {
		return 0
	}
	ordered := slices.Sorted(slices.Values(figures))
	return ordered[len(ordered)/2]
}

// spreadOf is the largest less the smallest as a share of the median; nil of one figure.
func spreadOf(figures []float64) *float64 {
	if len(figures) < 2 {
		return nil
	}
	m := median(figures)
	if m == 0 {
		return nil
	}
	s := (slices.Max(figures) - slices.Min(figures)) / m
	return &s
}

// cell returns a row's at a context; nil if it has none.
func (r *ablateRow) cell(tokens int, filled bool) *ablateCell {
	for i, c := range r.Cells {
		if c.Context == tokens && c.Filled == filled {
			return &r.Cells[i]
		}
	}
	return nil
}

// contexts lists those of the report's cells, prompts before filled caches, each in
// ascending order.
func (r *ablateReport) contexts() (all []cellAt) {
	for _, row := range r.Rows {
		for _, c := range row.Cells {
			if at := (cellAt{c.Context, c.Filled}); !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	slices.SortFunc(all, func(x, y cellAt) int {
		if x.filled != y.filled {
			if y.filled {
				return -1
			}
			return 1
		}
		return x.tokens - y.tokens
	})
	return all
}

// cellAt is where a cell stands.
type cellAt struct {
	tokens int
	filled bool
}
