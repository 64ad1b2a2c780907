package eval

import (
	"image"
	"image/draw"
	"image/png"
	"io"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// imageScale is how many pixels of an image a pixel of SVG becomes, each way.
const imageScale = 2

// canvas is an image that a drawing is painted on.
type canvas struct {
	*image.RGBA
	faces map[faceKey]font.Face
}

type faceKey struct {
	size float64
	bold bool
}

// png writes the drawing as an image.
func (d *drawing) png(w io.Writer) error {
	c := &canvas{image.NewRGBA(image.Rect(0, 0, int(math.Ceil(imageScale*d.w)), int(math.Ceil(imageScale*d.h)))), map[faceKey]font.Face{}}
	draw.Draw(c.RGBA, c.Bounds(), image.NewUniform(paper.RGBA), image.Point{}, draw.Src)
	c.strokes(d.grid)
	for _, b := range d.boxes {
		if b.edge != (ink{}) {
			c.fill(b.edge, b.outline(0.5))
			c.fill(b.fill, b.outline(-0.5))
			continue
		}
		c.fill(b.fill, b.outline(0))
	}
	c.strokes(d.lines)
	for _, m := range d.marks {
		corners := m.shape.corners(m.at)
		if corners == nil {
			corners = circle(m.at, radius)
		}
		c.fill(m.ink, corners)
	}
	for _, l := range d.labels {
		if err := c.text(l); err != nil {
			return err
		}
	}
	return png.Encode(w, c.RGBA)
}

// strokes paints lines.
func (c *canvas) strokes(lines []line) {
	for _, l := range lines {
		var parts [][]place
		for _, s := range l.strokes() {
			parts = append(parts, stroke(s[0], s[1], l.width/2))
		}
		// Joints are round; dashes have none.
		if l.dash[0] <= 0 && len(l.through) > 2 {
			for _, p := range l.through[1 : len(l.through)-1] {
				parts = append(parts, circle(p, l.width/2))
			}
		}
		c.fill(l.ink, parts...)
	}
}

// fill paints closed shapes, all of whose corners go clockwise: where they lie over
// each other they are no darker.
func (c *canvas) fill(i ink, all ...[]place) {
	within := image.Rectangle{}
	for _, corners := range all {
		for _, p := range corners {
			x, y := int(math.Floor(imageScale*p.x)), int(math.Floor(imageScale*p.y))
			within = within.Union(image.Rect(x, y, x+2, y+2))
		}
	}
	if within = within.Intersect(c.Bounds()); within.Empty() {
		return
	}
	r := vector.NewRasterizer(within.Dx(), within.Dy())
	for _, corners := range all {
		for n, p := range corners {
			x, y := float32(imageScale*p.x-float64(within.Min.X)), float32(imageScale*p.y-float64(within.Min.Y))
			if n == 0 {
				r.MoveTo(x, y)
			} else {
				r.LineTo(x, y)
			}
		}
		r.ClosePath()
	}
	r.Draw(c.RGBA, within, image.NewUniform(i.RGBA), image.Point{})
}

// text writes a label with its middle line, half the height of capitals, at y.
func (c *canvas) text(l label) error {
	face := c.faces[faceKey{l.size, l.bold}]
	if face == nil {
		var err error
		face, err = opentype.NewFace(fontOf(l.bold), &opentype.FaceOptions{Size: imageScale * l.size, DPI: 72, Hinting: font.HintingNone})
		if err != nil {
			return err
		}
		c.faces[faceKey{l.size, l.bold}] = face
	}
	x := l.bounds().x0
	base := imageScale*l.y + float64(face.Metrics().CapHeight)/64/2
	drawer := font.Drawer{Dst: c.RGBA, Src: image.NewUniform(l.ink.RGBA), Face: face, Dot: fixed.Point26_6{X: fixed.Int26_6(64 * imageScale * x), Y: fixed.Int26_6(64 * base)}}
	drawer.DrawString(l.text)
	return nil
}

// outline returns the corners of a box that is larger by so much on each side; round
// ones are made of short strokes.
func (b box) outline(by float64) (corners []place) {
	x0, y0, x1, y1 := b.x-by, b.y-by, b.x+b.w+by, b.y+b.h+by
	r := min(max(b.round+by, 0), (x1-x0)/2, (y1-y0)/2)
	if b.round <= 0 || r <= 0 {
		return []place{{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}}
	}
	const steps = 8 // a quarter of a circle
	for quarter, at := range []place{{x1 - r, y0 + r}, {x1 - r, y1 - r}, {x0 + r, y1 - r}, {x0 + r, y0 + r}} {
		for i := range steps + 1 {
			angle := (float64(quarter-1) + float64(i)/steps) * math.Pi / 2
			corners = append(corners, place{at.x + r*math.Cos(angle), at.y + r*math.Sin(angle)})
		}
	}
	return corners
}

// circle returns corners so many that they look round.
func circle(at place, r float64) (corners []place) {
	const steps = 48
	for i := range steps {
		angle := 2 * math.Pi * float64(i) / steps
		corners = append(corners, place{at.x + r*math.Cos(angle), at.y + r*math.Sin(angle)})
	}
	return corners
}

// stroke returns the corners of a straight line from a to b, clockwise.
func stroke(a, b place, half float64) []place {
	length := math.Hypot(b.x-a.x, b.y-a.y)
	if length == 0 {
		return circle(a, half)
	}
	nx, ny := (b.y-a.y)/length*half, -(b.x-a.x)/length*half
	return []place{{a.x + nx, a.y + ny}, {b.x + nx, b.y + ny}, {b.x - nx, b.y - ny}, {a.x - nx, a.y - ny}}
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
