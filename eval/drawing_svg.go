package eval

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/color"
	"io"
	"strings"
)

// svg writes the drawing as one that a browser shows; it refers to nothing outside itself.
func (d *drawing) svg(w io.Writer) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="%[3]d">`+"\n", d.w, d.h, textSize)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="%s"/>`+"\n", d.w, d.h, hex(paper))
	for _, b := range d.boxes {
		fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", b.x, b.y, b.w, b.h, hex(b.fill))
	}
	for _, l := range d.lines {
		dash := ""
		if l.dash[0] > 0 {
			dash = fmt.Sprintf(` stroke-dasharray="%g %g"`, l.dash[0], l.dash[1])
		}
		fmt.Fprintf(&out, `<polyline points="%s" fill="none" stroke="%s" stroke-width="%g" stroke-linejoin="round"%s/>`+"\n", points(l.through), hex(l.ink), l.width, dash)
	}
	for _, m := range d.marks {
		if corners := m.shape.corners(m.at); corners != nil {
			fmt.Fprintf(&out, `<polygon points="%s" fill="%s"/>`+"\n", points(corners), hex(m.ink))
			continue
		}
		fmt.Fprintf(&out, `<circle cx="%.2f" cy="%.2f" r="%g" fill="%s"/>`+"\n", m.at.x, m.at.y, radius, hex(m.ink))
	}
	for _, l := range d.labels {
		anchor := map[align]string{left: "start", centre: "middle", right: "end"}[l.align]
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="%s" dominant-baseline="central" fill="%s">`, l.x, l.y, anchor, hex(l.ink))
		if err := xml.EscapeText(&out, []byte(l.text)); err != nil {
			return err
		}
		out.WriteString("</text>\n")
	}
	out.WriteString("</svg>\n")
	_, err := w.Write(out.Bytes())
	return err
}

func points(all []place) string {
	parts := make([]string, len(all))
	for i, p := range all {
		parts[i] = fmt.Sprintf("%.2f,%.2f", p.x, p.y)
	}
	return strings.Join(parts, " ")
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }
