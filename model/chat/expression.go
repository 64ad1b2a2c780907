package chat

import (
	"fmt"
	"strconv"
)

// Expressions of a tag, by the grammar of jinja2.parser: from the loosest, "a if b else c", or, and, not, comparisons,
// + and -, ~, * / // %, **, signs, then what follows an operand: .name, [index], (arguments), |filter and "is test".

// expression is something with a value.
type expression interface {
	eval(r *run, s *scope) (any, error)
}

type (
	constant    struct{ value any }
	nameOf      struct{ name string }
	listDisplay struct {
		items []expression
		tuple bool
	}
	dictDisplay struct{ keys, values []expression }
	conditional struct{ yes, test, no expression } // no may be nil
	logical     struct {
		left, right expression
		or          bool
	}
	negation   struct{ of expression }
	signed     struct{ of expression }
	comparison struct {
		first expression
		ops   []string
		rest  []expression
	}
	binary struct {
		op          string
		left, right expression
	}
	attribute struct {
		of   expression
		name string
	}
	index   struct{ of, key expression }
	slicing struct{ of, start, stop, step expression } // each but of may be nil
	call    struct {
		of   expression
		args callArguments
	}
	filtered struct { // of is nil for the text of a block
		of   expression
		name string
		args callArguments
	}
	tested struct {
		of     expression
		name   string
		args   callArguments
		negate bool
	}
)

type callArguments struct {
	positional []expression
	names      []string
	named      []expression
	list, dict expression // behind * and **, or nil
}

// tag is the parser's place in the tokens of a tag.
type tag struct {
	tokens []token
	at     int
	line   int // of the tag's beginning
}

var endOfTag = token{kind: 'e', text: "the end of the tag"}

func (t *tag) peek() token {
	if t.at < len(t.tokens) {
		return t.tokens[t.at]
	}
	return endOfTag
}

func (t *tag) take() token {
	next := t.peek()
	t.at++
	return next
}

func (t *tag) lineHere() int {
	if t.at < len(t.tokens) {
		return t.tokens[t.at].line
	}
	return t.line
}

// is reports whether the next token is that operator or name.
func (t *tag) is(text string) bool {
	next := t.peek()
	return next.text == text && (next.kind == 'o' || next.kind == 'n')
}

// skip takes the next token if it is that operator or name.
func (t *tag) skip(text string) bool {
	if !t.is(text) {
		return false
	}
	t.at++
	return true
}

func (t *tag) errorf(format string, args ...any) error {
	return &fault{kind: ErrTemplate, line: t.lineHere(), what: fmt.Sprintf(format, args...)}
}

func (t *tag) expect(text string) error {
	if !t.skip(text) {
		return t.errorf("found %s where %s is expected", t.peek().describe(), text)
	}
	return nil
}

func (t token) describe() string {
	if t.kind == 'e' {
		return t.text
	}
	return strconv.Quote(t.text)
}

// nest bounds the stack that parsing takes. Each nest that succeeds has an unnest.
func (p *parser) nest() error {
	if p.depth == MaxNesting {
		return &fault{kind: ErrBound, line: p.tag.lineHere(), what: fmt.Sprintf("it is nested more than %d deep", MaxNesting)}
	}
	p.depth++
	return nil
}

func (p *parser) unnest() { p.depth-- }

// tuple reads "a" or "a, b". With conditions, each may be "a if b else c"; until is the name that ends a list early.
func (p *parser) tuple(conditions bool, until string) (expression, error) {
	var items []expression
	for {
		if next := p.tag.peek(); next.kind == 'e' || next.text == ")" && next.kind == 'o' || next.text == "=" && next.kind == 'o' || until != "" && p.tag.is(until) {
			break
		}
		read := p.or
		if conditions {
			read = p.expression
		}
		item, err := read()
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		if !p.tag.skip(",") {
			if len(items) == 1 {
				return item, nil
			}
			break
		}
	}
	if len(items) == 0 {
		return nil, p.tag.errorf("found %s where an expression is expected", p.tag.peek().describe())
	}
	return &listDisplay{items, true}, nil
}

func (p *parser) expression() (expression, error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer p.unnest()
	value, err := p.or()
	if err != nil {
		return nil, err
	}
	for p.tag.skip("if") {
		test, err := p.or()
		if err != nil {
			return nil, err
		}
		c := &conditional{yes: value, test: test}
		if p.tag.skip("else") {
			if c.no, err = p.expression(); err != nil {
				return nil, err
			}
		}
		value = c
	}
	return value, nil
}

// or may be entered without expression, so it counts its own depth.
func (p *parser) or() (expression, error) {
	left, err := p.and()
	for err == nil && p.tag.skip("or") {
		var right expression
		right, err = p.and()
		left = &logical{left, right, true}
	}
	return left, err
}

func (p *parser) and() (expression, error) {
	left, err := p.not()
	for err == nil && p.tag.skip("and") {
		var right expression
		right, err = p.not()
		left = &logical{left, right, false}
	}
	return left, err
}

func (p *parser) not() (expression, error) {
	if !p.tag.skip("not") {
		return p.comparison()
	}
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer p.unnest()
	of, err := p.not()
	return &negation{of}, err
}

func (p *parser) comparison() (expression, error) {
	first, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	c := &comparison{first: first}
	for {
		op := p.tag.peek()
		switch {
		case op.kind == 'o' && (op.text == "==" || op.text == "!=" || op.text == "<" || op.text == "<=" || op.text == ">" || op.text == ">="):
			p.tag.take()
		case p.tag.skip("in"):
		case p.tag.is("not") && p.tag.at+1 < len(p.tag.tokens) && p.tag.tokens[p.tag.at+1].text == "in":
			p.tag.at += 2
			op.text = "not in"
		case len(c.ops) == 0:
			return first, nil
		default:
			return c, nil
		}
		operand, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		c.ops, c.rest = append(c.ops, op.text), append(c.rest, operand)
	}
}

// levels are the operators that group from the left, the loosest first.
var levels = [][]string{{"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}}

func (p *parser) binary(level int) (expression, error) {
	if level == len(levels) {
		return p.unary(true)
	}
	left, err := p.binary(level + 1)
	for err == nil {
		op := p.tag.peek()
		found := false
		for _, o := range levels[level] {
			found = found || op.kind == 'o' && op.text == o
		}
		if !found {
			break
		}
		p.tag.take()
		var right expression
		right, err = p.binary(level + 1)
		left = &binary{op.text, left, right}
	}
	return left, err
}

// unary reads an operand with its sign and what follows it. Filters and tests take the sign with them.
func (p *parser) unary(filters bool) (value expression, err error) {
	switch {
	case p.tag.is("-") || p.tag.is("+"):
		minus := p.tag.take().text == "-"
		if err := p.nest(); err != nil {
			return nil, err
		}
		defer p.unnest()
		if value, err = p.unary(false); err != nil {
			return nil, err
		}
		if minus {
			value = &signed{value}
		}
	default:
		if value, err = p.primary(); err != nil {
			return nil, err
		}
	}
	if value, err = p.postfix(value); err != nil || !filters {
		return value, err
	}
	for {
		switch {
		case p.tag.is("|"):
			value, err = p.filter(value)
		case p.tag.is("is"):
			value, err = p.test(value)
		case p.tag.is("("):
			value, err = p.call(value)
		default:
			return value, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
