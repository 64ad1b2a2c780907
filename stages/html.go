package stages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// unseen are the elements whose text is not a page's.
var unseen = map[atom.Atom]bool{
	atom.Script: true, atom.Style: true, atom.Noscript: true, atom.Template: true, atom.Iframe: true, atom.Svg: true, atom.Math: true,
}

// breaks are the elements that begin and end a line of their own; a number is
// how many line ends stand before and behind.
var breaks = map[atom.Atom]int{
	atom.Br: 1, atom.Li: 1, atom.Tr: 1, atom.Dt: 1, atom.Dd: 1, atom.Div: 1, atom.Section: 1, atom.Article: 1, atom.Header: 1, atom.Footer: 1,
	atom.Main: 1, atom.Nav: 1, atom.Aside: 1, atom.Figcaption: 1, atom.Option: 1, atom.Caption: 1, atom.Hr: 1,
	atom.P: 2, atom.H1: 2, atom.H2: 2, atom.H3: 2, atom.H4: 2, atom.H5: 2, atom.H6: 2, atom.Pre: 2, atom.Blockquote: 2, atom.Ul: 2, atom.Ol: 2,
	atom.Dl: 2, atom.Table: 2, atom.Title: 2, atom.Body: 2,
}

// htmlText returns the text of a page: its paragraphs apart by an empty line,
// cells of a table by a tab, white space as a browser shows it.
func htmlText(page []byte) ([]byte, error) {
	var out pageText
	z := html.NewTokenizer(bytes.NewReader(page))
	var hidden atom.Atom // the element that is left out
	deep := 0            // how many of it are open
	pre := 0
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			if err := z.Err(); !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("HTML: %w", err)
			}
			return out.end(), nil
		}
		token := z.Token()
		opens, closes := kind == html.StartTagToken, kind == html.EndTagToken
		if deep > 0 {
			if token.DataAtom == hidden && opens {
				deep++
			} else if token.DataAtom == hidden && closes {
				deep--
			}
			continue
		}
		switch {
		case opens && unseen[token.DataAtom]:
			hidden, deep = token.DataAtom, 1
		case kind == html.TextToken && pre > 0:
			out.verbatim(token.Data)
		case kind == html.TextToken:
			out.text(token.Data)
		case token.DataAtom == atom.Td, token.DataAtom == atom.Th:
			if opens {
				out.cell()
			}
		case opens || closes || kind == html.SelfClosingTagToken:
			out.lines(breaks[token.DataAtom])
			if token.DataAtom == atom.Pre {
				pre = max(0, pre+map[bool]int{true: 1, false: -1}[opens])
			}
		}
	}
}

// pageText gathers text with the white space between its parts held back.
type pageText struct {
	b     strings.Builder
	ends  int  // line ends that are due before the next word
	space bool // a space is due before it
	tab   bool // a tab is due before it
}

// due writes the white space that is due.
func (p *pageText) due() {
	switch {
	case p.b.Len() == 0:
	case p.ends > 0:
		p.b.WriteString(strings.Repeat("\n", p.ends))
	case p.tab:
		p.b.WriteByte('\t')
	case p.space:
		p.b.WriteByte(' ')
	}
	p.ends, p.space, p.tab = 0, false, false
}

func (p *pageText) text(s string) {
	for i, word := range strings.FieldsFunc(s, isSpace) {
		p.space = p.space || i > 0 || isSpace(rune(s[0]))
		p.due()
		p.b.WriteString(word)
	}
	p.space = p.space || s != "" && isSpace(rune(s[len(s)-1]))
}

// isSpace is white space that a page shows as one space.
func isSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\f' }

func (p *pageText) verbatim(s string) {
	if s != "" {
		p.due()
		p.b.WriteString(s)
	}
}

func (p *pageText) lines(n int) { p.ends = max(p.ends, n) }

func (p *pageText) cell() { p.tab = true }

func (p *pageText) end() []byte { return []byte(strings.TrimSpace(p.b.String())) }
