package chat

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The engine and Python's Jinja disagree in two places that chat templates meet all the time: which white space around a
// tag goes away, and what x[-1] is when x has one element. So this file applies Jinja's rules of white space itself
// (jinja2.lexer, with trim_blocks and lstrip_blocks), writes negative indexes as slices, and hands over tags that have
// nothing left to trim.

const blank = " \t\n\r\f\v"

var (
	rawBegin = regexp.MustCompile(`^\{%[-+]?\s*raw\s*(-?)%\}`)
	rawEnd   = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*([-+]?)%\}`)
	closings = map[byte]string{'%': "%}", '{': "}}", '#': "#}"}
)

// rewriter goes through a template once.
type rewriter struct {
	src       string
	at        int
	out       strings.Builder
	lineStart bool // the last tag took the end of its line with it, or there was none yet
}

// rewrite gives the template as the engine should read it. A tag keeps its line, or an earlier one that it was joined to.
func rewrite(template string) (string, error) {
	src := strings.ReplaceAll(strings.ReplaceAll(template, "\r\n", "\n"), "\r", "\n")
	r := &rewriter{src: strings.TrimSuffix(src, "\n"), lineStart: true}
	for r.at < len(r.src) {
		if err := r.next(); err != nil {
			return "", err
		}
	}
	return r.out.String(), nil
}

// next takes the text up to a tag, and the tag.
func (r *rewriter) next() error {
	begin := r.tagBegin()
	text := r.src[r.at:begin]
	if begin == len(r.src) {
		r.out.WriteString(text)
		r.at = begin
		return nil
	}
	kind, body := r.src[begin+1], begin+2
	sign := signAt(r.src, body)
	kept := r.before(text, kind, sign)
	r.out.WriteString(kept)
	lines := strings.Count(text[len(kept):], "\n")
	if m := rawBegin.FindStringSubmatchIndex(r.src[begin:]); m != nil {
		return r.raw(begin+m[1], m[2] != m[3], lines)
	}
	if sign != 0 {
		body++
	}
	end, endSign, err := r.tagEnd(kind, body)
	if err != nil {
		return err
	}
	inside := r.src[body:end]
	if endSign != 0 {
		end++
	}
	r.after(end+2, kind, endSign)
	if kind == '#' {
		lines += strings.Count(inside, "\n")
		inside = ""
	} else {
		// The engine wants the first word on the line of the bracket.
		word := strings.TrimLeft(inside, blank)
		lines += strings.Count(inside[:len(inside)-len(word)], "\n")
		inside = " " + slicesForNegatives(word) + " "
	}
	lines += strings.Count(r.src[end:r.at], "\n")
	r.out.WriteString("{" + string(kind) + inside + strings.Repeat("\n", lines) + closings[kind])
	return nil
}

// tagBegin is where the next tag begins, or the end of the template.
func (r *rewriter) tagBegin() int {
	for i := r.at; i+1 < len(r.src); i++ {
		if r.src[i] == '{' && closings[r.src[i+1]] != "" {
			return i
		}
	}
	return len(r.src)
}

func signAt(s string, at int) byte {
	if at < len(s) && (s[at] == '-' || s[at] == '+') {
		return s[at]
	}
	return 0
}

// before is what stays of the text in front of a tag.
func (r *rewriter) before(text string, kind, sign byte) string {
	switch {
	case sign == '-':
		return strings.TrimRight(text, blank)
	case sign == '+' || kind == '{':
		return text
	}
	line := strings.LastIndexByte(text, '\n') + 1
	if (line > 0 || r.lineStart) && strings.Trim(text[line:], blank) == "" {
		return text[:line]
	}
	return text
}

// after skips what a tag that ends at end takes of the text behind it.
func (r *rewriter) after(end int, kind, sign byte) {
	r.at = end
	switch {
	case sign == '-':
		r.at = len(r.src) - len(strings.TrimLeft(r.src[end:], blank))
	case sign != '+' && kind != '{' && strings.HasPrefix(r.src[end:], "\n"):
		r.at++
	}
	r.lineStart = r.at > end && r.src[r.at-1] == '\n'
}

// raw copies what is between raw and endraw.
func (r *rewriter) raw(begin int, trim bool, lines int) error {
	m := rawEnd.FindStringSubmatchIndex(r.src[begin:])
	if m == nil {
		return r.unclosed(begin, "raw", "endraw")
	}
	sign := func(group int) byte {
		if m[group] == m[group+1] {
			return 0
		}
		return r.src[begin+m[group]]
	}
	text := r.src[begin : begin+m[0]]
	r.lineStart = false
	if trim {
		rest := strings.TrimLeft(text, blank)
		r.lineStart = strings.HasSuffix(text[:len(text)-len(rest)], "\n")
		text = rest
	}
	text = r.before(text, '%', sign(2))
	r.after(begin+m[1], '%', sign(4))
	r.out.WriteString("{% raw" + strings.Repeat("\n", lines) + " %}" + text + "{% endraw %}")
	return nil
}

// tagEnd is where the sign or the bracket that ends a tag is. Brackets inside strings and inside other brackets don't count.
func (r *rewriter) tagEnd(kind byte, from int) (end int, sign byte, err error) {
	closing := closings[kind]
	depth := 0
	for i := from; i < len(r.src); i++ {
		c := r.src[i]
		if kind != '#' && (depth > MaxNesting || i-from > MaxTagBytes) {
			return 0, 0, fmt.Errorf("%w: line %d: a tag has %d bytes so far and brackets %d deep; the bounds are %d and %d",
				ErrBound, 1+strings.Count(r.src[:from], "\n"), i-from, depth, MaxTagBytes, MaxNesting)
		}
		if depth == 0 || kind == '#' {
			if strings.HasPrefix(r.src[i:], closing) {
				return i, 0, nil
			}
			if (c == '-' || c == '+' && kind != '{') && strings.HasPrefix(r.src[i+1:], closing) {
				return i, c, nil
			}
		}
		switch {
		case kind == '#':
		case c == '\'' || c == '"':
			i = stringEnd(r.src, i)
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth--
		}
	}
	return 0, 0, r.unclosed(from, "{"+string(kind), closing)
}

func (r *rewriter) unclosed(at int, what, closing string) error {
	return fmt.Errorf("%w: line %d: %s without %s", ErrTemplate, 1+strings.Count(r.src[:at], "\n"), what, closing)
}

// stringEnd is where the string literal that begins at from has its closing quote, or the end of s.
func stringEnd(s string, from int) int {
	for i := from + 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[from]:
			return i
		}
	}
	return len(s)
}

// negative is an index such as [-1] after a name or a closing bracket.
var negative = regexp.MustCompile(`^\[\s*-\s*([0-9]{1,9})\s*\]`)

// slicesForNegatives writes x[-1] as x[-1:][0], and x[-2] as x[-2:-1][0].
func slicesForNegatives(expression string) string {
	var out strings.Builder
	for i := 0; i < len(expression); i++ {
		c := expression[i]
		if c == '\'' || c == '"' {
			end := min(stringEnd(expression, i)+1, len(expression))
			out.WriteString(expression[i:end])
			i = end - 1
			continue
		}
		if m := negative.FindStringSubmatch(expression[i:]); m != nil && isOperand(expression[:i]) {
			if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
				to := ""
				if n > 1 {
					to = strconv.Itoa(1 - n)
				}
				fmt.Fprintf(&out, "[-%d:%s][0]", n, to)
				i += len(m[0]) - 1
				continue
			}
		}
		out.WriteByte(c)
	}
	return out.String()
}

var keywords = regexp.MustCompile(`(^|\W)(in|not|and|or|if|else|elif|is|set|for)$`)

// isOperand reports whether an expression ends in something that can be indexed.
func isOperand(expression string) bool {
	s := strings.TrimRight(expression, blank)
	if s == "" || keywords.MatchString(s) {
		return false
	}
	c := s[len(s)-1]
	return strings.IndexByte(`_)]'"`, c) >= 0 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
