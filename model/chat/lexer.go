package chat

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The lexer cuts a template into text and tags by Jinja's rules of white space (jinja2.lexer, with trim_blocks and
// lstrip_blocks), and tags into tokens.

// piece is a run of text, or the tokens of a tag. kind is 't' for text, '{' for an output and '%' for a statement.
type piece struct {
	kind   byte
	text   string
	tokens []token
	line   int
}

// token is a word of a tag. kind is 'n' for a name, 's' for a string, 'i' and 'f' for numbers, and 'o' for an operator.
type token struct {
	kind byte
	text string // of a string, what it stands for
	line int
}

var (
	rawBegin  = regexp.MustCompile(`^\{%[-+]?\s*raw\s*(-?)%\}`)
	rawEnd    = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*([-+]?)%\}`)
	number    = regexp.MustCompile(`^(?i:0b(_?[01])+|0o(_?[0-7])+|0x(_?[0-9a-f])+|[0-9](_?[0-9])*)`)
	fraction  = regexp.MustCompile(`^(?i:(\.[0-9](_?[0-9])*)?e[-+]?[0-9](_?[0-9])*|\.[0-9](_?[0-9])*)`)
	operators = []string{"//", "**", "==", "!=", ">=", "<=", ">", "<", "=", "+", "-", "*", "/", "%", "~", "(", ")", "[", "]", "{", "}", ",", ":", ".", "|"}
	closings  = map[byte]string{'%': "%}", '{': "}}", '#': "#}"}
)

// lexer goes through a template once.
type lexer struct {
	src       string
	at        int
	line      int // of src[counted]
	counted   int
	pieces    []piece
	lineStart bool // the last tag took the end of its line with it, or there was none yet
}

// lex cuts a template into pieces.
func lex(template string) ([]piece, error) {
	src := strings.ReplaceAll(strings.ReplaceAll(template, "\r\n", "\n"), "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1, lineStart: true}
	for l.at < len(l.src) {
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	return l.pieces, nil
}

// lineOf is the line of a place that is not before the last one asked for.
func (l *lexer) lineOf(at int) int {
	if at > l.counted {
		l.line += strings.Count(l.src[l.counted:at], "\n")
		l.counted = at
	}
	return l.line
}

func (l *lexer) errorf(at int, format string, args ...any) error {
	return &fault{kind: ErrTemplate, line: l.lineOf(at), what: fmt.Sprintf(format, args...)}
}

// next takes the text up to a tag, and the tag.
func (l *lexer) next() error {
	begin := l.tagBegin()
	text := l.src[l.at:begin]
	if begin == len(l.src) {
		l.text(text)
		l.at = begin
		return nil
	}
	kind, body := l.src[begin+1], begin+2
	sign := signAt(l.src, body)
	l.text(l.before(text, kind, sign))
	if m := rawBegin.FindStringSubmatchIndex(l.src[begin:]); m != nil {
		return l.raw(begin+m[1], m[2] != m[3])
	}
	if sign != 0 {
		body++
	}
	line := l.lineOf(begin)
	if kind == '#' {
		length := strings.Index(l.src[body:], "#}")
		if length < 0 {
			return l.errorf(begin, "{# without #}")
		}
		end := body + length
		sign := byte(0)
		if length > 0 {
			if s := signAt(l.src, end-1); s != 0 {
				sign = s
			}
		}
		l.after(end+2, kind, sign)
		return nil
	}
	tokens, end, sign, err := l.tag(kind, begin, body)
	if err != nil {
		return err
	}
	l.pieces = append(l.pieces, piece{kind: kind, tokens: tokens, line: line})
	l.after(end, kind, sign)
	return nil
}

func (l *lexer) text(s string) {
	if s != "" {
		l.pieces = append(l.pieces, piece{kind: 't', text: s})
	}
}

// tagBegin is where the next tag begins, or the end of the template.
func (l *lexer) tagBegin() int {
	for i := l.at; i+1 < len(l.src); i++ {
		if l.src[i] == '{' && closings[l.src[i+1]] != "" {
			return i
		}
	}
	return len(l.src)
}

func signAt(s string, at int) byte {
	if at < len(s) && (s[at] == '-' || s[at] == '+') {
		return s[at]
	}
	return 0
}

// before is what stays of the text in front of a tag.
func (l *lexer) before(text string, kind, sign byte) string {
	switch {
	case sign == '-':
		return strings.TrimRightFunc(text, isSpace)
	case sign == '+' || kind == '{':
		return text
	}
	line := strings.LastIndexByte(text, '\n') + 1
	if (line > 0 || l.lineStart) && strings.TrimLeftFunc(text[line:], isSpace) == "" {
		return text[:line]
	}
	return text
}

// after skips what a tag that ends at end takes of the text behind it.
func (l *lexer) after(end int, kind, sign byte) {
	l.at = end
	switch {
	case sign == '-':
		l.at = len(l.src) - len(strings.TrimLeftFunc(l.src[end:], isSpace))
	case sign != '+' && kind != '{' && strings.HasPrefix(l.src[end:], "\n"):
		l.at++
	}
	l.lineStart = l.at > end && l.src[l.at-1] == '\n'
}

// raw copies what is between raw and endraw.
func (l *lexer) raw(begin int, trim bool) error {
	m := rawEnd.FindStringSubmatchIndex(l.src[begin:])
	if m == nil {
		return l.errorf(begin, "raw without endraw")
	}
	sign := func(group int) byte {
		if m[group] == m[group+1] {
			return 0
		}
		return l.src[begin+m[group]]
	}
	text := l.src[begin : begin+m[0]]
	l.lineStart = false
	if trim {
		rest := strings.TrimLeftFunc(text, isSpace)
		l.lineStart = strings.HasSuffix(text[:len(text)-len(rest)], "\n")
		text = rest
	}
	l.text(l.before(text, '%', sign(2)))
	l.after(begin+m[1], '%', sign(4))
	return nil
}

// tag reads the tokens of a tag up to its closing bracket. Brackets inside other brackets don't close it.
func (l *lexer) tag(kind byte, begin, from int) (tokens []token, end int, sign byte, err error) {
	closing := closings[kind]
	depth := 0
	for i := from; i < len(l.src); {
		rest := l.src[i:]
		if depth == 0 {
			if strings.HasPrefix(rest, closing) {
				return tokens, i + 2, 0, nil
			}
			if (rest[0] == '-' || rest[0] == '+' && kind != '{') && strings.HasPrefix(rest[1:], closing) {
				return tokens, i + 3, rest[0], nil
			}
		}
		c, size := utf8.DecodeRuneInString(rest)
		if isSpace(c) {
			i += size
			continue
		}
		t, length, err := l.token(i, tokens)
		if err != nil {
			return nil, 0, 0, err
		}
		if t.kind == 'o' {
			switch t.text {
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				if depth--; depth < 0 {
					return nil, 0, 0, l.errorf(i, "%s closes nothing", t.text)
				}
			}
		}
		tokens = append(tokens, t)
		i += length
	}
	return nil, 0, 0, &fault{kind: ErrTemplate, line: l.lineOf(begin), what: fmt.Sprintf("{%c without %s", kind, closing)}
}

// token reads the token at i.
func (l *lexer) token(i int, before []token) (t token, length int, err error) {
	rest := l.src[i:]
	t.line = l.lineOf(i)
	c, _ := utf8.DecodeRuneInString(rest)
	switch {
	case c == '\'' || c == '"':
		end := stringEnd(rest)
		if end < 0 {
			return t, 0, l.errorf(i, "a string without its closing %c", c)
		}
		t.kind, t.text = 's', unescape(rest[1:end])
		return t, end + 1, nil
	case '0' <= c && c <= '9':
		digits := number.FindString(rest)
		t.kind = 'i'
		// In x.0.1 the numbers are two indexes.
		if len(before) == 0 || before[len(before)-1].text != "." {
			if f := fraction.FindString(rest[len(digits):]); f != "" {
				t.kind, digits = 'f', digits+f
			}
		}
		t.text = strings.ReplaceAll(digits, "_", "")
		return t, len(digits), nil
	case isNameRune(c, true):
		length := strings.IndexFunc(rest, func(c rune) bool { return !isNameRune(c, false) })
		if length < 0 {
			length = len(rest)
		}
		t.kind, t.text = 'n', rest[:length]
		return t, length, nil
	}
	if op := slices.IndexFunc(operators, func(op string) bool { return strings.HasPrefix(rest, op) }); op >= 0 {
		t.kind, t.text = 'o', operators[op]
		return t, len(t.text), nil
	}
	return t, 0, l.errorf(i, "%q means nothing in a tag", c)
}

func isNameRune(c rune, first bool) bool {
	return c == '_' || unicode.IsLetter(c) || !first && unicode.IsDigit(c)
}

// stringEnd is where the string literal that s begins with has its closing quote, or -1.
func stringEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i
		}
	}
	return -1
}

var simpleEscapes = map[byte]string{
	'\n': "", '\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
}

// unescape is what the inside of a string literal stands for. As in Python, an unknown escape stands for itself.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if plain, ok := simpleEscapes[s[i]]; ok {
			b.WriteString(plain)
			continue
		}
		digits, base, skip := 0, 16, 1
		switch s[i] {
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		case '0', '1', '2', '3', '4', '5', '6', '7':
			base, skip = 8, 0
			for digits < 3 && i+digits < len(s) && '0' <= s[i+digits] && s[i+digits] <= '7' {
				digits++
			}
		}
		if digits > 0 && i+skip+digits <= len(s) {
			if n, err := strconv.ParseUint(s[i+skip:i+skip+digits], base, 32); err == nil && n <= unicode.MaxRune {
				b.WriteRune(rune(n))
				i += skip + digits - 1
				continue
			}
		}
		b.WriteByte('\\')
		b.WriteByte(s[i])
	}
	return b.String()
}

// isSpace is Python's str.isspace of one character.
func isSpace(c rune) bool { return unicode.IsSpace(c) || 0x1c <= c && c <= 0x1f }
