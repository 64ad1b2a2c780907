package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"headinfer/config"
	"headinfer/config/matrix"
	"headinfer/kernels"
)

// ablateClaim is something that the figures should show, and whether they do.
type ablateClaim struct {
	Claim string   `json:"claim"`
	Holds bool     `json:"holds"`
	Where []string `json:"where"`         // it holds
	Not   []string `json:"not,omitempty"` // and where not, with the figures
	// Once are the places that were measured in one round, which has no spread.
	Once []string `json:"one_round,omitempty"`
}

// Differences of times that are noise, whatever the spread is.
const (
	// noiseOnce is that of one round, which does not say how far another would be off.
	noiseOnce = 0.02
	// leastNoise is that of several: two or three rounds may agree by chance.
	leastNoise = 0.01
)

// noiseOf is by how much two times may differ and still be the same; once says that one
// of them is of one round.
func noiseOf(a, b *float64) (noise float64, once bool) {
	noise = leastNoise
	for _, spread := range []*float64{a, b} {
		if spread == nil {
			once = true
			noise = max(noise, noiseOnce)
		} else {
			noise = max(noise, *spread)
		}
	}
	return noise, once
}

// onceText says how noise was judged without a spread.
var onceText = fmt.Sprintf("one round: differences under %.0f%% are taken for noise", 100*noiseOnce)

// String says it in a line.
func (c ablateClaim) String() string {
	text := c.verdict()
	switch {
	case len(c.Once) == 0:
	case len(c.Once) == len(c.Where)+len(c.Not):
		text += " (" + onceText + ")"
	default:
		text += " (at " + strings.Join(c.Once, ", ") + " " + onceText + ")"
	}
	return text
}

// verdict is String without how noise was judged.
func (c ablateClaim) verdict() string {
	if len(c.Not) == 0 {
		return "holds: " + c.Claim + ": at " + strings.Join(c.Where, ", ")
	}
	text := "does not hold everywhere: "
	if len(c.Where) == 0 {
		text = "does not hold: "
	}
	text += c.Claim + ": not " + strings.Join(c.Not, "; ")
	if len(c.Where) > 0 {
		text += "; holds at " + strings.Join(c.Where, ", ")
	}
	return text
}

const (
	groupOption = "heads.attention.group"
	adaptive    = "adaptive"
)

// claims checks what the figures allow to check.
func (r *ablateReport) claims() (all []ablateClaim) {
	for _, family := range r.families(groupOption) {
		all = append(all, r.adaptiveIsFastest(family)...)
		all = append(all, r.smallerTakesLess(family)...)
		all = append(all, r.smallerGoesFurther(family)...)
	}
	if len(all) == 0 {
		all = r.againstFirst()
	}
	return slices.DeleteFunc(all, func(c ablateClaim) bool { return len(c.Where)+len(c.Not) == 0 })
}

// family is rows that differ in one axis only.
type family struct {
	name string // the other axes' values; empty if there are none
	rows []*ablateRow
}

// families groups the rows that have an axis by the values of the others.
func (r *ablateReport) families(path string) (all []family) {
	for i := range r.Rows {
		row := &r.Rows[i]
		name, has := "", false
		for _, s := range row.Axes {
			if s.Path == path {
				has = true
			} else {
				name += " " + s.Path + "=" + s.Value
			}
		}
		if !has {
			continue
		}
		at := slices.IndexFunc(all, func(f family) bool { return f.name == name })
		if at < 0 {
			at = len(all)
			all = append(all, family{name: name})
		}
		all[at].rows = append(all[at].rows, row)
	}
	return all
}

// valueOf is a row's on an axis.
func (r *ablateRow) valueOf(path string) string {
	value, _ := matrix.Row{Axes: r.Axes}.Value(path)
	return value
}

// fixed are the rows whose group is a number, the largest first.
func (f family) fixed() []*ablateRow {
	number := func(r *ablateRow) int {
		n, _ := strconv.Atoi(r.valueOf(groupOption)) // those that are none are left out
		return n
	}
	rows := slices.DeleteFunc(slices.Clone(f.rows), func(r *ablateRow) bool { return number(r) == 0 })
	slices.SortStableFunc(rows, func(a, b *ablateRow) int { return number(b) - number(a) })
	return rows
}

// phaseOf is a row's prefill or decode at a context, with its spread; nil if that is of
// one round.
func (r *ablateRow) phaseOf(measure string, at cellAt) (p *benchPhase, spread *float64) {
	c := r.cell(at.tokens, at.filled)
	if c == nil {
		return nil, nil
	}
	if measure == matrix.Prefill {
		return c.Prefill, c.PrefillSpread
	}
	return c.Decode, c.DecodeSpread
}

// String is the context in a line.
func (at cellAt) String() string {
	text := config.Count(at.tokens).String()
	if at.filled {
		text += " filled"
	}
	return text
}

// phases are those of the times that the tables show.
func (r *ablateReport) phases() (all []string) {
	for _, m := range []string{matrix.Prefill, matrix.Decode} {
		if r.wants(m) {
			all = append(all, m)
		}
	}
	return all
}

// adaptiveIsFastest compares adaptive grouping with each fixed group.
func (r *ablateReport) adaptiveIsFastest(f family) (all []ablateClaim) {
	i := slices.IndexFunc(f.rows, func(row *ablateRow) bool { return row.valueOf(groupOption) == adaptive })
	if i < 0 {
		return nil
	}
	for _, measure := range r.phases() {
		c := ablateClaim{Claim: fmt.Sprintf("adaptive grouping is as fast in %s as every fixed group, or faster, within the noise%s", measure, f.name)}
		for _, at := range r.contexts() {
			own, spread := f.rows[i].phaseOf(measure, at)
			if own == nil {
				continue
			}
			var slower []string
			compared, anyOnce := 0, false
			for _, other := range f.fixed() {
				theirs, theirSpread := other.phaseOf(measure, at)
				if theirs == nil {
					continue
				}
				compared++
				noise, once := noiseOf(spread, theirSpread)
				anyOnce = anyOnce || once
				if own.Seconds > theirs.Seconds*(1+noise) {
					slower = append(slower, fmt.Sprintf("%s takes %s s and adaptive %s s", other.Name, number(theirs.Seconds), number(own.Seconds)))
				}
			}
			c.judge(at.String(), slower, compared)
			if anyOnce {
				c.Once = append(c.Once, at.String())
			}
		}
		c.Holds = len(c.Not) == 0
		all = append(all, c)
	}
	return all
}

// judge adds a place where something was compared.
func (c *ablateClaim) judge(at string, against []string, compared int) {
	switch {
	case len(against) > 0:
		c.Not = append(c.Not, "at "+at+" ("+strings.Join(against, ", ")+")")
	case compared > 0:
		c.Where = append(c.Where, at)
	}
}

// smallerTakesLess compares the device memory of fixed groups. Operators' workspace is
// none of the groups'.
func (r *ablateReport) smallerTakesLess(f family) []ablateClaim {
	c := ablateClaim{Claim: "smaller groups take less device memory" + f.name}
	for _, at := range r.contexts() {
		rows := slices.DeleteFunc(f.fixed(), func(row *ablateRow) bool {
			c := row.cell(at.tokens, at.filled)
			return c == nil || c.Memory == nil
		})
		var against []string
		for i := range rows[:max(len(rows)-1, 0)] {
			larger, smaller := rows[i].cell(at.tokens, at.filled), rows[i+1].cell(at.tokens, at.filled)
			if kvOf(smaller) >= kvOf(larger) {
				against = append(against, fmt.Sprintf("%s takes %s and %s %s", rows[i+1].Name, size(kvOf(smaller)), rows[i].Name, size(kvOf(larger))))
			}
		}
		c.judge(at.String(), against, len(rows)-1)
	}
	c.Holds = len(c.Not) == 0
	return []ablateClaim{c}
}

// kvOf is what tiles take.
func kvOf(c *ablateCell) int64 { return c.Memory.AtPeak[kernels.KVCache] }

// smallerGoesFurther compares how long a text fixed groups have room for.
func (r *ablateReport) smallerGoesFurther(f family) (all []ablateClaim) {
	for _, part := range []struct {
		how string
		of  func(*ablateRow) (int, bool)
	}{
		{"by plan", func(row *ablateRow) (int, bool) { return deref(row.Planned) }},
		{"measured", func(row *ablateRow) (int, bool) {
			if row.Longest == nil {
				return 0, false
			}
			return row.Longest.Tokens, true
		}},
	} {
		c := ablateClaim{Claim: "smaller groups go as far or further, " + part.how + f.name}
		rows := slices.DeleteFunc(f.fixed(), func(row *ablateRow) bool {
			_, ok := part.of(row)
			return !ok
		})
		for i := range rows[:max(len(rows)-1, 0)] {
			larger, _ := part.of(rows[i])
			smaller, _ := part.of(rows[i+1])
			pair := fmt.Sprintf("%s (%s) after %s (%s)", rows[i+1].Name, about(smaller), rows[i].Name, about(larger))
			// What is measured is found to within the search's resolution.
			if smaller < larger-2*resolution(larger) {
				c.Not = append(c.Not, pair)
			} else {
				c.Where = append(c.Where, pair)
			}
		}
		c.Holds = len(c.Not) == 0
		all = append(all, c)
	}
	return all
}

// about is tokens to three digits.
func about(tokens int) string { return fmt.Sprintf("%.0fK", float64(tokens)/1024) }

func deref(n *int) (int, bool) {
	if n == nil {
		return 0, false
	}
	return *n, true
}

// againstFirst compares rows by name with the first, whose base they share: what is
// taken away should cost time, and what loses something should save some.
func (r *ablateReport) againstFirst() (all []ablateClaim) {
	first := &r.Rows[0]
	for i := range r.Rows[1:] {
		other := &r.Rows[i+1]
		if first.Axes != nil || other.Axes != nil || other.Base != first.Base {
			continue
		}
		for _, measure := range r.phases() {
			all = append(all, r.against(first, other, measure))
		}
	}
	return all
}

// against compares a row's times with the first's.
func (r *ablateReport) against(first, other *ablateRow, measure string) ablateClaim {
	word, faster := "slower", len(other.Lossy) > len(first.Lossy)
	if faster {
		word = "faster"
	}
	c := ablateClaim{Claim: fmt.Sprintf("%s is %s in %s than %s", other.Name, word, measure, first.Name)}
	for _, at := range r.contexts() {
		its, spread := first.phaseOf(measure, at)
		own, ownSpread := other.phaseOf(measure, at)
		if its == nil || own == nil {
			continue
		}
		noise, once := noiseOf(spread, ownSpread)
		ratio := own.Seconds / its.Seconds
		if !faster && ratio > 1+noise || faster && ratio < 1-noise {
			c.Where = append(c.Where, fmt.Sprintf("%s (%.2f×)", at, ratio))
		} else {
			c.Not = append(c.Not, fmt.Sprintf("at %s (%.2f×%s)", at, ratio, spreadText(spread, ownSpread)))
		}
		if once {
			c.Once = append(c.Once, at.String())
		}
	}
	c.Holds = len(c.Not) == 0
	return c
}

// spreadText is the larger of two spreads behind a ratio, if both were measured.
func spreadText(a, b *float64) string {
	if a == nil || b == nil {
		return ""
	}
	return fmt.Sprintf(", spread %.0f%%", 100*max(*a, *b))
}
