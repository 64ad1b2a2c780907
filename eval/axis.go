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

// plot is where axes are: from the upper left corner to the lower right one.
type plot struct{ x0, y0, x1, y1 float64 }

// decades draws the lines of two axes and what they say.
func (p plot) decades(d *drawing, x, y axis, across, up func(float64) string) {
	ink := func(t tick) ink {
		if t.decade {
			return decadeInk
		}
		return gridInk
	}
	end := math.Inf(-1) // of the text before
	for _, t := range x.ticks(wideDecade, across) {
		at := x.at(t.value)
		d.rule(place{at, p.y0}, place{at, p.y1}, ink(t))
		if half := roomFor(t.text, smallSize, false) / 2; t.text != "" && at-half > end+4 {
			d.note(at, p.y1+15, centre, t.text)
			end = at + half
		}
	}
	end = math.Inf(1)
	for _, t := range y.ticks(highDecade, up) {
		at := y.at(t.value)
		d.rule(place{p.x0, at}, place{p.x1, at}, ink(t))
		if t.text != "" && at+smallSize < end {
			d.note(p.x0-8, at, right, t.text)
			end = at
		}
	}
	d.lines = append(d.lines, line{through: []place{{p.x0, p.y0}, {p.x0, p.y1}, {p.x1, p.y1}}, width: 1.5, ink: black})
}

// even returns a step of 1, 2 or 5 times a power of ten of which there are about n up
// to a value.
func even(most float64, n int) float64 {
	if most <= 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most/float64(n))))
	for _, times := range []float64{1, 2, 5, 10} {
		if most/(times*step) <= float64(n) {
			return times * step
		}
	}
	return 10 * step
}

// Rounded leaves a value three digits, for texts.
func Rounded(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	if err != nil {
		return v
	}
	return r
}

// plain writes a value to three digits, those before the point in threes from 10,000 on.
func plain(v float64) string {
	text := strconv.FormatFloat(Rounded(v), 'f', -1, 64)
	if math.Abs(v) < 1e4 {
		return text
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Scaled writes a value with the prefix of its size: 2.05e12 is 2.05 T.
func Scaled(v float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e15, " P"}, {1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}} {
		if Rounded(v) >= unit.size {
			return plain(v/unit.size) + unit.name
		}
	}
	return plain(v) + " "
}

// Seconds writes a time as people say it: 0.02 is 20 ms, 0.0005 is 0.5 ms.
func Seconds(s float64) string {
	if s < 1 {
		// Written with few digits: 1e3 times 0.07 is not 70.
		return strconv.FormatFloat(1e3*s, 'g', 6, 64) + " ms"
	}
	return strconv.FormatFloat(s, 'g', 6, 64) + " s"
}
