package eval

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"math/bits"
)

// png writes the drawing as an image, in letters of its own.
func (d *drawing) png(w io.Writer) error {
	img := image.NewRGBA(image.Rect(0, 0, d.w, d.h))
	fill := func(r image.Rectangle, c color.RGBA) { draw.Draw(img, r, image.NewUniform(c), image.Point{}, draw.Src) }
	fill(img.Bounds(), paper)
	for _, b := range d.boxes {
		fill(image.Rect(b.x, b.y, b.x+b.w, b.y+b.h), b.fill)
	}
	for _, l := range d.lines {
		m := newMask(img.Bounds())
		for _, s := range l.strokes() {
			m.stroke(s[0], s[1], l.width/2)
		}
		m.paint(img, l.ink)
	}
	for _, s := range d.marks {
		m := newMask(img.Bounds())
		m.shape(s.at, s.shape.corners(s.at))
		m.paint(img, s.ink)
	}
	for _, l := range d.labels {
		x := l.x
		switch l.align {
		case centre:
			x -= widthOf(l.text) / 2
		case right:
			x -= widthOf(l.text)
		}
		for _, r := range l.text {
			for row, bits := range glyphOf(r) {
				for column := range glyphWidth {
					if bits&(1<<(glyphWidth-1-column)) != 0 {
						at := image.Pt(x+column*pixel, l.y+(row-glyphMiddle)*pixel-pixel/2)
						fill(image.Rectangle{at, at.Add(image.Pt(pixel, pixel))}, l.ink)
					}
				}
			}
			x += glyphAdvance * pixel
		}
	}
	return png.Encode(w, img)
}

// strokes are the straight parts of a line that are drawn.
func (l line) strokes() (all [][2]place) {
	at := 0.0 // of the line, from its beginning
	for i := 1; i < len(l.through); i++ {
		a, b := l.through[i-1], l.through[i]
		length := math.Hypot(b.x-a.x, b.y-a.y)
		if l.dash[0] <= 0 || length == 0 {
			all = append(all, [2]place{a, b})
			continue
		}
		on := func(t float64) place {
			t = min(max(t/length, 0), 1)
			return place{a.x + t*(b.x-a.x), a.y + t*(b.y-a.y)}
		}
		period := l.dash[0] + l.dash[1]
		for from := math.Floor(at/period) * period; from < at+length; from += period {
			if from+l.dash[0] > at {
				all = append(all, [2]place{on(from - at), on(from + l.dash[0] - at)})
			}
		}
		at += length
	}
	return all
}

// samples is into how many parts a pixel is divided each way, so that slanted edges
// are smooth; a mask has a bit for each.
const samples = 4

// mask says which parts of an image's pixels something covers. What covers a part
// twice counts once, so that the joints of a line are no darker than the line.
type mask struct {
	bounds image.Rectangle
	bits   map[image.Point]uint16
}

func newMask(bounds image.Rectangle) *mask {
	return &mask{bounds, map[image.Point]uint16{}}
}

// cover adds the samples of a rectangle that are inside.
func (m *mask) cover(x0, y0, x1, y1 float64, inside func(x, y float64) bool) {
	within := image.Rect(int(math.Floor(x0)), int(math.Floor(y0)), int(math.Ceil(x1)), int(math.Ceil(y1))).Intersect(m.bounds)
	for y := within.Min.Y; y < within.Max.Y; y++ {
		for x := within.Min.X; x < within.Max.X; x++ {
			bits := uint16(0)
			for i := range samples * samples {
				if inside(float64(x)+(float64(i%samples)+0.5)/samples, float64(y)+(float64(i/samples)+0.5)/samples) {
					bits |= 1 << i
				}
			}
			if bits != 0 {
				m.bits[image.Pt(x, y)] |= bits
			}
		}
	}
}

// stroke covers what is nearer than half a width to the stroke from a to b.
func (m *mask) stroke(a, b place, half float64) {
	dx, dy := b.x-a.x, b.y-a.y
	square := dx*dx + dy*dy
	m.cover(min(a.x, b.x)-half, min(a.y, b.y)-half, max(a.x, b.x)+half, max(a.y, b.y)+half, func(x, y float64) bool {
		t := 0.0
		if square > 0 {
			t = min(max(((x-a.x)*dx+(y-a.y)*dy)/square, 0), 1)
		}
		ex, ey := x-a.x-t*dx, y-a.y-t*dy
		return ex*ex+ey*ey <= half*half
	})
}

// shape covers what lies within corners, which go clockwise, or else a disc.
func (m *mask) shape(at place, corners []place) {
	const r = 8 // no shape is larger
	m.cover(at.x-r, at.y-r, at.x+r, at.y+r, func(x, y float64) bool {
		if corners == nil {
			return (x-at.x)*(x-at.x)+(y-at.y)*(y-at.y) <= radius*radius
		}
		for i, a := range corners {
			b := corners[(i+1)%len(corners)]
			if (b.x-a.x)*(y-a.y)-(b.y-a.y)*(x-a.x) < 0 {
				return false
			}
		}
		return true
	})
}

// paint lays ink over an image where the mask covers it.
func (m *mask) paint(img *image.RGBA, ink color.RGBA) {
	for at, covered := range m.bits {
		n, under := bits.OnesCount16(covered), img.RGBAAt(at.X, at.Y)
		mix := func(a, b uint8) uint8 {
			const all = samples * samples
			return uint8((int(a)*(all-n) + int(b)*n + all/2) / all)
		}
		img.SetRGBA(at.X, at.Y, color.RGBA{mix(under.R, ink.R), mix(under.G, ink.G), mix(under.B, ink.B), 255})
	}
}
