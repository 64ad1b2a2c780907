package chat

import (
	"math"
	"strconv"
	"strings"
)

// primary reads a name, a literal or something in brackets.
func (p *parser) primary() (expression, error) {
	t := p.tag.take()
	switch {
	case t.kind == 'n':
		switch t.text {
		case "true", "True":
			return &constant{true}, nil
		case "false", "False":
			return &constant{false}, nil
		case "none", "None":
			return &constant{nil}, nil
		}
		if p.uses != nil {
			p.uses[t.text] = true
		}
		return &nameOf{t.text}, nil
	case t.kind == 's':
		var b strings.Builder
		b.WriteString(t.text)
		for p.tag.peek().kind == 's' {
			b.WriteString(p.tag.take().text)
		}
		return &constant{b.String()}, nil
	case t.kind == 'i':
		n, err := integer(t.text)
		if err != nil {
			p.tag.at--
			return nil, p.tag.errorf("%s is no integer of 64 bits", t.text)
		}
		return &constant{n}, nil
	case t.kind == 'f':
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil && !math.IsInf(f, 0) {
			p.tag.at--
			return nil, p.tag.errorf("%s is no number", t.text)
		}
		return &constant{f}, nil
	case t.kind == 'o':
		switch t.text {
		case "(":
			return p.parenthesis()
		case "[":
			items, err := p.list("]")
			return &listDisplay{items, false}, err
		case "{":
			return p.dict()
		}
	}
	p.tag.at--
	return nil, p.tag.errorf("found %s where an expression is expected", p.tag.peek().describe())
}

// integer reads a literal. A leading 0 is no sign of octal digits.
func integer(s string) (int, error) {
	base := 10
	if len(s) > 2 && s[0] == '0' && (s[1] > '9') {
		base = 0
	}
	n, err := strconv.ParseInt(s, base, 64)
	return int(n), err
}

func (p *parser) parenthesis() (expression, error) {
	if p.tag.skip(")") {
		return &listDisplay{nil, true}, nil
	}
	value, err := p.tuple(true, "")
	if err != nil {
		return nil, err
	}
	return value, p.tag.expect(")")
}

// list reads expressions up to a closing bracket; a comma may stand behind the last.
func (p *parser) list(closing string) (items []expression, err error) {
	for !p.tag.skip(closing) {
		if len(items) > 0 {
			if err := p.tag.expect(","); err != nil {
				return nil, err
			}
			if p.tag.skip(closing) {
				break
			}
		}
		item, err := p.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func (p *parser) dict() (expression, error) {
	d := &dictDisplay{}
	for !p.tag.skip("}") {
		if len(d.keys) > 0 {
			if err := p.tag.expect(","); err != nil {
				return nil, err
			}
			if p.tag.skip("}") {
				break
			}
		}
		key, err := p.expression()
		if err != nil {
			return nil, err
		}
		if err := p.tag.expect(":"); err != nil {
			return nil, err
		}
		value, err := p.expression()
		if err != nil {
			return nil, err
		}
		d.keys, d.values = append(d.keys, key), append(d.values, value)
	}
	return d, nil
}

// postfix reads .name, [index] and (arguments).
func (p *parser) postfix(value expression) (expression, error) {
	for {
		var err error
		switch {
		case p.tag.skip("."):
			switch t := p.tag.take(); t.kind {
			case 'n':
				value = &attribute{value, t.text}
			case 'i':
				n, err := integer(t.text)
				if err != nil {
					return nil, p.tag.errorf("%s is no index", t.text)
				}
				value = &index{value, &constant{n}}
			default:
				p.tag.at--
				return nil, p.tag.errorf("found %s behind a dot, where a name or a number is expected", p.tag.peek().describe())
			}
		case p.tag.skip("["):
			value, err = p.subscript(value)
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

// subscript reads [key] or [start:stop:step], its opening bracket taken.
func (p *parser) subscript(of expression) (expression, error) {
	var parts [3]expression
	colons := 0
	for !p.tag.skip("]") {
		switch {
		case p.tag.is(":") && colons < 2:
			p.tag.take()
			colons++
		case parts[colons] == nil:
			var err error
			if parts[colons], err = p.expression(); err != nil {
				return nil, err
			}
		default:
			return nil, p.tag.errorf("found %s in an index, where ] is expected", p.tag.peek().describe())
		}
	}
	switch {
	case colons > 0:
		return &slicing{of, parts[0], parts[1], parts[2]}, nil
	case parts[0] == nil:
		return nil, p.tag.errorf("an index is empty")
	}
	return &index{of, parts[0]}, nil
}

func (p *parser) call(of expression) (expression, error) {
	args, err := p.arguments()
	return &call{of, args}, err
}

// arguments reads (a, b, name=c, *list, **map).
func (p *parser) arguments() (args callArguments, err error) {
	if err := p.tag.expect("("); err != nil {
		return args, err
	}
	for first := true; !p.tag.skip(")"); first = false {
		if !first {
			if err := p.tag.expect(","); err != nil {
				return args, err
			}
			if p.tag.skip(")") {
				break
			}
		}
		if p.tag.is("*") || p.tag.is("**") {
			to := &args.list
			if p.tag.take().text == "**" {
				to = &args.dict
			}
			if *to != nil {
				return args, p.tag.errorf("* or ** stands twice in a call")
			}
			if *to, err = p.expression(); err != nil {
				return args, err
			}
			continue
		}
		name := ""
		if t := p.tag.peek(); t.kind == 'n' && p.tag.at+1 < len(p.tag.tokens) && p.tag.tokens[p.tag.at+1].text == "=" && p.tag.tokens[p.tag.at+1].kind == 'o' {
			p.tag.at += 2
			name = t.text
		}
		value, err := p.expression()
		switch {
		case err != nil:
			return args, err
		case name != "":
			args.names, args.named = append(args.names, name), append(args.named, value)
		case len(args.named) > 0:
			return args, p.tag.errorf("an argument without a name stands behind one with a name")
		default:
			args.positional = append(args.positional, value)
		}
	}
	return args, nil
}

// filter reads |name or |name(arguments).
func (p *parser) filter(of expression) (expression, error) {
	p.tag.take()
	name, err := p.dotted("filter")
	if err != nil {
		return nil, err
	}
	if _, ok := filters[name]; !ok && p.ifs == 0 {
		return nil, p.tag.errorf("no filter is named %s; known are %s", name, names(filters))
	}
	f := &filtered{of: of, name: name}
	if p.tag.is("(") {
		f.args, err = p.arguments()
	}
	return f, err
}

// test reads "is name", "is not name", with one argument or several in brackets.
func (p *parser) test(of expression) (expression, error) {
	p.tag.take()
	t := &tested{of: of, negate: p.tag.skip("not")}
	var err error
	if t.name, err = p.dotted("test"); err != nil {
		return nil, err
	}
	if _, ok := tests[t.name]; !ok && p.ifs == 0 {
		return nil, p.tag.errorf("no test is named %s; known are %s", t.name, names(tests))
	}
	next := p.tag.peek()
	switch {
	case p.tag.is("("):
		t.args, err = p.arguments()
	case p.tag.is("is"):
		return nil, p.tag.errorf("a test behind a test needs brackets around the first")
	case next.kind == 's' || next.kind == 'i' || next.kind == 'f' || p.tag.is("[") || p.tag.is("{") ||
		next.kind == 'n' && next.text != "else" && next.text != "or" && next.text != "and":
		var argument expression
		if argument, err = p.primary(); err == nil {
			argument, err = p.postfix(argument)
		}
		t.args.positional = []expression{argument}
	}
	return t, err
}

// dotted reads the name of a filter or a test.
func (p *parser) dotted(what string) (string, error) {
	t := p.tag.take()
	if t.kind != 'n' {
		p.tag.at--
		return "", p.tag.errorf("found %s where the name of a %s is expected", p.tag.peek().describe(), what)
	}
	return t.text, nil
}
