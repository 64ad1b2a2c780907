package eval

import (
	"math"
	"strconv"
)

// axis maps values to pixels by their logarithms: from the least value at pixel from
// to the largest at pixel to, which may be less.
type axis struct {
	least, most float64
	from, to    float64
}

// newAxis returns an axis that holds some values, all above 0, with a margin on either
// side, and a decade at least.
func newAxis(values []float64, from, to float64) axis {
	const margin, decade = 1.15, 10
	a := axis{least: math.Inf(1), from: from, to: to}
	for _, v := range values {
		a.least, a.most = min(a.least, v), max(a.most, v)
	}
	a.least, a.most = a.least/margin, a.most*margin
	if short := decade / (a.most / a.least); short > 1 {
		a.least, a.most = a.least/math.Sqrt(short), a.most*math.Sqrt(short)
	}
	return a
}

// at returns the pixel of a value.
func (a axis) at(value float64) float64 {
	return a.from + (a.to-a.from)*math.Log(value/a.least)/math.Log(a.most/a.least)
}

// tick is a value with a line across the drawing, and a text if it is not empty.
type tick struct {
	value  float64
	decade bool
	text   string
}

// ticks returns the values 1 to 9 of every decade of the axis. Decades have a text,
// and where they have room, in pixels each, twice and five times a decade do too.
func (a axis) ticks(room float64, text func(float64) string) (all []tick) {
	dense := math.Abs(a.to-a.from) >= room*math.Log10(a.most/a.least)
	for n := int(math.Floor(math.Log10(a.least))); ; n++ {
		for digit := 1; digit <= 9; digit++ {
			// Written and read, so that it is the number nearest to what it says.
			value, err := strconv.ParseFloat(strconv.Itoa(digit)+"e"+strconv.Itoa(n), 64)
			if err != nil || value > a.most {
				return all
			}
			if value < a.least {
				continue
			}
			t := tick{value: value, decade: digit == 1}
			if t.decade || dense && (digit == 2 || digit == 5) {
				t.text = text(value)
			}
			all = append(all, t)
		}
	}
}

// Seconds writes a time as people say it: 0.02 is 20 ms, 0.0005 is 0.5 ms.
func Seconds(s float64) string {
	if s < 1 {
		// Written with few digits: 1e3 times 0.07 is not 70.
		return strconv.FormatFloat(1e3*s, 'g', 6, 64) + " ms"
	}
	return strconv.FormatFloat(s, 'g', 6, 64) + " s"
}
