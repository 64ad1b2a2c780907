package eval

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"unicode/utf8"
)

// SVG writes the map as a drawing that a browser shows; it refers to nothing outside itself.
func (m HeatMap) SVG(w io.Writer) error {
	if err := m.check(); err != nil {
		return err
	}
	d := m.draw()
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="%[3]d">`+"\n", d.w, d.h, textSize)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="%s"/>`+"\n", d.w, d.h, hex(paper))
	for _, b := range d.boxes {
		fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", b.x, b.y, b.w, b.h, hex(b.fill))
	}
	for _, l := range d.labels {
		anchor := map[align]string{left: "start", centre: "middle", right: "end"}[l.align]
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="%s" dominant-baseline="central" fill="%s">`, l.x, l.y, anchor, hex(l.ink))
		if err := xml.EscapeText(&out, []byte(l.text)); err != nil {
			return fmt.Errorf("heat map %q: %w", m.Title, err)
		}
		out.WriteString("</text>\n")
	}
	out.WriteString("</svg>\n")
	_, err := w.Write(out.Bytes())
	return err
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

// PNG writes the map as an image, in letters of its own.
func (m HeatMap) PNG(w io.Writer) error {
	if err := m.check(); err != nil {
		return err
	}
	d := m.draw()
	img := image.NewRGBA(image.Rect(0, 0, d.w, d.h))
	fill := func(r image.Rectangle, c color.RGBA) { draw.Draw(img, r, image.NewUniform(c), image.Point{}, draw.Src) }
	fill(img.Bounds(), paper)
	for _, b := range d.boxes {
		fill(image.Rect(b.x, b.y, b.x+b.w, b.y+b.h), b.fill)
	}
	for _, l := range d.labels {
		width := (utf8.RuneCountInString(l.text)*glyphAdvance - 1) * pixel
		x := l.x
		switch l.align {
		case centre:
			x -= width / 2
		case right:
			x -= width
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
