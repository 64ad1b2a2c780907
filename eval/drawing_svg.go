package eval

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// svg writes the drawing as one that a browser shows; it refers to nothing outside itself.
func (d *drawing) svg(w io.Writer) error {
	out := &svgWriter{}
	out.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %[1]s %[2]s" font-family="system-ui, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="%[3]d">`+"\n", pixels(d.w), pixels(d.h), textSize)
	out.printf(`<rect width="%s" height="%s"%s/>`+"\n", pixels(d.w), pixels(d.h), paper.fill())
	out.strokes(d.grid)
	for _, b := range d.boxes {
		round, edge := "", ""
		if b.round > 0 {
			round = fmt.Sprintf(` rx="%s"`, pixels(b.round))
		}
		if b.edge != (ink{}) {
			edge = b.edge.stroke()
		}
		out.shape("rect", fmt.Sprintf(`x="%s" y="%s" width="%s" height="%s"%s%s`, pixels(b.x), pixels(b.y), pixels(b.w), pixels(b.h), round, both(b.fill.fill(), edge)), b.title)
	}
	out.strokes(d.lines)
	for _, m := range d.marks {
		if corners := m.shape.corners(m.at); corners != nil {
			out.shape("polygon", fmt.Sprintf(`points="%s"%s`, points(corners), m.ink.fill()), m.title)
			continue
		}
		out.shape("circle", fmt.Sprintf(`cx="%.2f" cy="%.2f" r="%g"%s`, m.at.x, m.at.y, radius, m.ink.fill()), m.title)
	}
	for _, l := range d.labels {
		anchor, size, weight := "", "", ""
		if l.align != left {
			anchor = ` text-anchor="` + map[align]string{centre: "middle", right: "end"}[l.align] + `"`
		}
		if l.size != textSize {
			size = fmt.Sprintf(` font-size="%g"`, l.size)
		}
		if l.bold {
			weight = ` font-weight="600"`
		}
		out.printf(`<text x="%s" y="%s"%s dominant-baseline="central"%s%s%s>%s</text>`+"\n", pixels(l.x), pixels(l.y), anchor, size, weight, l.ink.fill(), escaped(l.text))
	}
	out.printf("</svg>\n")
	_, err := w.Write(out.Bytes())
	return err
}

type svgWriter struct{ bytes.Buffer }

func (w *svgWriter) printf(format string, args ...any) { fmt.Fprintf(w, format, args...) }

// strokes writes lines.
func (w *svgWriter) strokes(lines []line) {
	for _, l := range lines {
		dash := ""
		if l.dash[0] > 0 {
			dash = fmt.Sprintf(` stroke-dasharray="%g %g"`, l.dash[0], l.dash[1])
		}
		w.printf(`<polyline points="%s" fill="none"%s stroke-width="%g" stroke-linejoin="round"%s/>`+"\n", points(l.through), l.ink.stroke(), l.width, dash)
	}
}

// shape writes an element, with what a pointer over it tells.
func (w *svgWriter) shape(name, attributes, title string) {
	if title == "" {
		w.printf("<%s %s/>\n", name, attributes)
		return
	}
	w.printf("<%s %s><title>%s</title></%[1]s>\n", name, attributes, escaped(title))
}

func escaped(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a Builder takes all
	return out.String()
}

// attributes of an ink: its colour, and the class by which a page can choose another.
func (i ink) fill() string   { return i.attributes("fill", "f") }
func (i ink) stroke() string { return i.attributes("stroke", "s") }

func (i ink) attributes(what, class string) string {
	text := fmt.Sprintf(` %s="%s"`, what, i.hex())
	if i.name != "" {
		text += fmt.Sprintf(` class="%s-%s"`, class, i.name)
	}
	return text
}

// both joins the attributes of a fill and a stroke, of which an element can have one
// class attribute.
func both(fill, stroke string) string {
	a, classA, _ := strings.Cut(fill, ` class="`)
	b, classB, _ := strings.Cut(stroke, ` class="`)
	classes := strings.TrimSpace(strings.TrimSuffix(classA, `"`) + " " + strings.TrimSuffix(classB, `"`))
	if classes == "" {
		return a + b
	}
	return a + b + ` class="` + classes + `"`
}

// pixels writes a measure to a hundredth.
func pixels(v float64) string {
	text := strconv.FormatFloat(v, 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

func points(all []place) string {
	parts := make([]string, len(all))
	for i, p := range all {
		parts[i] = fmt.Sprintf("%.2f,%.2f", p.x, p.y)
	}
	return strings.Join(parts, " ")
}
