package eval

import (
	"fmt"
	"io"
)

// SVG writes the map as a drawing that a browser shows; it refers to nothing outside itself.
func (m HeatMap) SVG(w io.Writer) error { return m.write(w, (*drawing).svg) }

// PNG writes the map as an image.
func (m HeatMap) PNG(w io.Writer) error { return m.write(w, (*drawing).png) }

// Narrow returns the map with narrower cells.
func (m HeatMap) Narrow() Picture {
	m.narrow = true
	return m
}

func (m HeatMap) write(w io.Writer, as func(*drawing, io.Writer) error) error {
	return write(w, fmt.Sprintf("heat map %q", m.Title), m.check(), m.draw, as)
}
