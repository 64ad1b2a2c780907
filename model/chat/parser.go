package chat

import (
	"fmt"
	"slices"
	"strings"
)

// Statements, by the grammar of jinja2.parser, and of the extensions that transformers turns on.

// statement is something that writes, or changes a scope.
type statement interface {
	execute(r *run, s *scope) error
}

type (
	text   struct{ text string }
	output struct {
		of   expression
		line int
	}
	ifElse struct {
		tests  []expression
		bodies [][]statement // one more than tests where there is an else
		line   int
	}
	forIn struct {
		targets   []string
		of        expression
		keep      expression // the loop's own if, or nil
		recursive bool
		body, no  []statement
		line      int
	}
	set struct {
		targets []target
		of      expression
		line    int
	}
	setBlock struct {
		to     target
		filter expression // with the text as its innermost operand, or nil
		body   []statement
		line   int
	}
	macro struct {
		name     string
		params   []string
		defaults []expression // of the last parameters
		body     []statement
		uses     map[string]bool // names in the body
		line     int
	}
	callBlock struct {
		caller *macro
		of     *call
		line   int
	}
	filterBlock struct {
		filter expression
		body   []statement
		line   int
	}
	with struct {
		names  []string
		values []expression
		body   []statement
		line   int
	}
	block   struct{ body []statement } // with names of its own
	control struct{ signal error }
)

// target is what set assigns to: a name, or an attribute of a namespace.
type target struct{ name, attribute string }

type parser struct {
	pieces []piece
	at     int
	tag    *tag
	depth  int
	ifs    int             // around the place; in them, an unknown filter fails only when it is reached, as in Jinja
	loops  int             // around the place, within the innermost macro
	uses   map[string]bool // names that the innermost macro has read so far, or nil
}

// parse reads a whole template.
func parse(template string) ([]statement, error) {
	pieces, err := lex(template)
	if err != nil {
		return nil, err
	}
	p := &parser{pieces: pieces, tag: &tag{line: 1}}
	body, _, err := p.body("", 1)
	return body, err
}

// body reads statements up to a tag that begins with one of ends, such as "elif else endif", and says which. The tag is
// then the parser's, its first word taken. opener is for errors: what has to be closed, and where it stands.
func (p *parser) body(ends string, opener int) (list []statement, end string, err error) {
	for p.at < len(p.pieces) {
		piece := p.pieces[p.at]
		p.at++
		if piece.kind == 't' {
			list = append(list, &text{piece.text})
			continue
		}
		p.tag = &tag{tokens: piece.tokens, line: piece.line}
		if piece.kind == '{' {
			of, err := p.tuple(true, "")
			if err != nil {
				return nil, "", err
			}
			if err := p.endTag(); err != nil {
				return nil, "", err
			}
			list = append(list, &output{of, piece.line})
			continue
		}
		word := p.tag.take()
		if word.kind != 'n' {
			p.tag.at--
			return nil, "", p.tag.errorf("found %s where a statement is expected", word.describe())
		}
		if slices.Contains(strings.Fields(ends), word.text) {
			return list, word.text, nil
		}
		s, err := p.statement(word.text, piece.line, ends, opener)
		if err != nil {
			return nil, "", err
		}
		list = append(list, s)
	}
	if ends != "" {
		fields := strings.Fields(ends)
		return nil, "", &fault{kind: ErrTemplate, line: opener, what: fmt.Sprintf("the template ends without %s", fields[len(fields)-1])}
	}
	return list, "", nil
}

func (p *parser) endTag() error {
	if next := p.tag.peek(); next.kind != 'e' {
		return p.tag.errorf("found %s where the tag should end", next.describe())
	}
	return nil
}

// block reads a body with one end, and the end of its tag.
func (p *parser) block(end string, line int) ([]statement, error) {
	body, _, err := p.body(end, line)
	if err != nil {
		return nil, err
	}
	return body, p.endTag()
}

var (
	errBreak    = fmt.Errorf("%w: break", ErrTemplate)
	errContinue = fmt.Errorf("%w: continue", ErrTemplate)
)

// statement reads the rest of a tag that begins with word, and the statement's body.
func (p *parser) statement(word string, line int, ends string, opener int) (s statement, err error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer p.unnest()
	switch word {
	case "if":
		return p.ifElse(line)
	case "for":
		return p.forIn(line)
	case "set":
		return p.set(line)
	case "macro":
		return p.macro(line)
	case "call":
		return p.callBlock(line)
	case "filter":
		f := &filterBlock{line: line}
		if f.filter, err = p.filters(nil); err == nil {
			f.body, err = p.block("endfilter", line)
		}
		return f, err
	case "with":
		return p.with(line)
	case "generation":
		if err := p.endTag(); err != nil {
			return nil, err
		}
		body, err := p.block("endgeneration", line)
		return &block{body}, err
	case "break", "continue":
		if p.loops == 0 {
			return nil, p.tag.errorf("%s outside of a loop", word)
		}
		signal := errBreak
		if word == "continue" {
			signal = errContinue
		}
		return &control{signal}, p.endTag()
	case "include", "import", "from", "extends", "block":
		return nil, p.tag.errorf("%s is not implemented: a chat template stands alone", word)
	}
	if ends != "" {
		return nil, p.tag.errorf("unknown statement %s; what begins on line %d needs %s", word, opener, strings.ReplaceAll(ends, " ", " or "))
	}
	return nil, p.tag.errorf("unknown statement %s", word)
}

func (p *parser) ifElse(line int) (statement, error) {
	s := &ifElse{line: line}
	p.ifs++
	defer func() { p.ifs-- }()
	for {
		test, err := p.tuple(false, "")
		if err != nil {
			return nil, err
		}
		if err := p.endTag(); err != nil {
			return nil, err
		}
		body, end, err := p.body("elif else endif", line)
		if err != nil {
			return nil, err
		}
		s.tests, s.bodies = append(s.tests, test), append(s.bodies, body)
		switch end {
		case "elif":
			continue
		case "else":
			if err := p.endTag(); err != nil {
				return nil, err
			}
			if body, err = p.block("endif", line); err != nil {
				return nil, err
			}
			s.bodies = append(s.bodies, body)
			return s, nil
		}
		return s, p.endTag()
	}
}

func (p *parser) forIn(line int) (statement, error) {
	f := &forIn{line: line}
	brackets := p.tag.skip("(")
	for {
		name, err := p.name("a loop's variable")
		if err != nil {
			return nil, err
		}
		f.targets = append(f.targets, name)
		if !p.tag.skip(",") {
			break
		}
	}
	if brackets {
		if err := p.tag.expect(")"); err != nil {
			return nil, err
		}
	}
	err := p.tag.expect("in")
	if err != nil {
		return nil, err
	}
	if f.of, err = p.tuple(false, "recursive"); err != nil {
		return nil, err
	}
	if p.tag.skip("if") {
		if f.keep, err = p.expression(); err != nil {
			return nil, err
		}
	}
	f.recursive = p.tag.skip("recursive")
	if err := p.endTag(); err != nil {
		return nil, err
	}
	p.loops++
	body, end, err := p.body("else endfor", line)
	p.loops--
	if err != nil {
		return nil, err
	}
	f.body = body
	if err := p.endTag(); err != nil {
		return nil, err
	}
	if end == "else" {
		f.no, err = p.block("endfor", line)
	}
	return f, err
}

// name reads a name that a value can have.
func (p *parser) name(what string) (string, error) {
	t := p.tag.take()
	if t.kind != 'n' || slices.Contains([]string{"true", "false", "none", "True", "False", "None", "and", "or", "not", "in", "is", "if", "else"}, t.text) {
		p.tag.at--
		return "", p.tag.errorf("found %s where the name of %s is expected", t.describe(), what)
	}
	return t.text, nil
}

func (p *parser) set(line int) (statement, error) {
	s := &set{line: line}
	for {
		name, err := p.name("a variable")
		if err != nil {
			return nil, err
		}
		to := target{name: name}
		if p.tag.skip(".") {
			if to.attribute, err = p.name("an attribute"); err != nil {
				return nil, err
			}
		}
		s.targets = append(s.targets, to)
		if !p.tag.skip(",") {
			break
		}
	}
	var err error
	if p.tag.skip("=") {
		if s.of, err = p.tuple(true, ""); err != nil {
			return nil, err
		}
		return s, p.endTag()
	}
	if len(s.targets) > 1 {
		return nil, p.tag.expect("=")
	}
	b := &setBlock{to: s.targets[0], line: line}
	if p.tag.is("|") {
		b.filter, err = p.filters(p.tag)
	} else {
		err = p.endTag()
	}
	if err == nil {
		b.body, err = p.block("endset", line)
	}
	return b, err
}

// filters reads filters that apply to a block: "name|name", or with begun those behind a |.
func (p *parser) filters(begun *tag) (value expression, err error) {
	if begun == nil {
		p.tag.at-- // filter takes the | in front of the name; here it takes the word "filter"
		if value, err = p.filter(nil); err != nil {
			return nil, err
		}
	}
	for p.tag.is("|") {
		if value, err = p.filter(value); err != nil {
			return nil, err
		}
	}
	return value, p.endTag()
}
