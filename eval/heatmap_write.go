package eval

import (
	"fmt"
	"io"
)

// SVG writes the map as a drawing that a browser shows; it refers to nothing outside itself.
func (m HeatMap) SVG(w io.Writer) error { return m.write(w, (*drawing).svg) }

// PNG writes the map as an image, in letters of its own.
func (m HeatMap) PNG(w io.Writer) error { return m.write(w, (*drawing).png) }

func (m HeatMap) write(w io.Writer, as func(*drawing, io.Writer) error) error {
	if err := m.check(); err != nil {
		return err
	}
	d := m.draw()
	if err := as(&d, w); err != nil {
		return fmt.Errorf("heat map %q: %w", m.Title, err)
	}
	return nil
}
