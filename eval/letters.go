package eval

import (
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// The letters of images. A browser has others for SVG, which the widths stand for too.
var regularFont, boldFont = parseFont(goregular.TTF), parseFont(gobold.TTF)

// parseFont reads a font that the program carries.
func parseFont(data []byte) *sfnt.Font {
	f, err := sfnt.Parse(data)
	if err != nil {
		panic(err) // at the program's start, and not with another input
	}
	return f
}

func fontOf(bold bool) *sfnt.Font {
	if bold {
		return boldFont
	}
	return regularFont
}

// widthOf returns the pixels that a text takes.
func widthOf(text string, size float64, bold bool) float64 {
	var buffer sfnt.Buffer
	var sum fixed.Int26_6
	f := fontOf(bold)
	for _, r := range text {
		// A letter that the font lacks is drawn as its glyph 0.
		glyph, err := f.GlyphIndex(&buffer, r)
		if err != nil {
			glyph = 0
		}
		if advance, err := f.GlyphAdvance(&buffer, glyph, fixed.Int26_6(64*size), font.HintingNone); err == nil {
			sum += advance
		}
	}
	return float64(sum) / 64
}

// roomFor is what to leave for a text: a browser's letters may be wider than ours.
func roomFor(text string, size float64, bold bool) float64 { return 1.15 * widthOf(text, size, bold) }

// clip shortens a text to what fits in so many pixels.
func clip(text string, width, size float64) string {
	if roomFor(text, size, false) <= width {
		return text
	}
	const rest = "…"
	runes := []rune(text)
	for len(runes) > 0 {
		runes = runes[:len(runes)-1]
		if short := strings.TrimRight(string(runes), " ,.;") + rest; roomFor(short, size, false) <= width {
			return short
		}
	}
	return ""
}

// wrap breaks a text into lines that fit in so many pixels, between words where it can.
func wrap(text string, width, size float64, bold bool) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch longer := strings.TrimSpace(line + " " + word); {
		case roomFor(longer, size, bold) <= width:
			line = longer
		case line == "":
			lines = append(lines, clip(word, width, size))
		default:
			lines, line = append(lines, line), clip(word, width, size)
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
