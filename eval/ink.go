package eval

import (
	"fmt"
	"image/color"
)

// ink is a colour of a drawing. A page that shows the drawing as a part of itself can
// put another in its place, for dark screens, by the ink's name: SVG has it in a class,
// "f-NAME" of what is filled and "s-NAME" of strokes. An ink without a name stays as
// it is, such as the cells of a map and the figures on them.
type ink struct {
	color.RGBA
	name string
}

func inkOf(rgb uint32, name string) ink {
	return ink{color.RGBA{uint8(rgb >> 16), uint8(rgb >> 8), uint8(rgb), 255}, name}
}

var (
	paper     = inkOf(0xffffff, "paper")
	black     = inkOf(0x1e1e1e, "ink")
	quietInk  = inkOf(0x5f6368, "quiet")
	gridInk   = inkOf(0xe6e6e6, "grid")
	decadeInk = inkOf(0xb4b4b4, "rule")
	limitInk  = inkOf(0x5a5a5a, "limit")
	boxInk    = inkOf(0xf5f6f7, "box")
	// Told apart without seeing red or green (Okabe and Ito), and by marks in grey: their
	// number and that of shapes have no factor in common, so that pairs come back late.
	inks = []ink{
		inkOf(0x0072b2, "c0"), inkOf(0xd55e00, "c1"), inkOf(0x009e73, "c2"), inkOf(0xa04687, "c3"),
		inkOf(0xbe8700, "c4"), inkOf(0x4696c8, "c5"), inkOf(0x3c3c3c, "c6"), inkOf(0x7d4f32, "c7"),
		inkOf(0x8c9196, "c8"),
	}
	// stackInks are those of parts of a whole, of which the first is the same in every
	// bar and says least.
	stackInks = []ink{inkOf(0xa9b0b7, "p0"), inkOf(0x0072b2, "p1"), inkOf(0xe69f00, "p2"), inkOf(0x56b4a0, "p3"), inkOf(0xa04687, "p4")}
)

// A Tone is a colour of drawings, in light and on a dark screen, as a page's style
// sheet has them.
type Tone struct{ Name, Light, Dark string }

// Tones lists the colours that a page may put others in the place of.
func Tones() []Tone {
	dark := map[string]string{
		"paper": "transparent", "ink": "#e8e8e6", "quiet": "#a3a8ad", "grid": "#2e3236", "rule": "#5a6066", "limit": "#b4b8bc", "box": "#22262a",
		"c0": "#58b1ea", "c1": "#f58a45", "c2": "#3cc79e", "c3": "#d68cc4", "c4": "#e0b040", "c5": "#8cc4ee", "c6": "#c8c8c8", "c7": "#b07d5a",
		"c8": "#868c92",
		"p0": "#6b737a", "p1": "#4aa6e0", "p2": "#e6ab2c", "p3": "#56b4a0", "p4": "#d68cc4",
	}
	var all []Tone
	for _, i := range append(append([]ink{paper, black, quietInk, gridInk, decadeInk, limitInk, boxInk}, inks...), stackInks...) {
		light := i.hex()
		if i.name == paper.name {
			light = "transparent" // the page's own shows through
		}
		all = append(all, Tone{i.name, light, dark[i.name]})
	}
	return all
}

func (i ink) hex() string { return fmt.Sprintf("#%02x%02x%02x", i.R, i.G, i.B) }
