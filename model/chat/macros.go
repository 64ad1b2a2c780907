package chat

// Statements with parameters or names of their own.

func (p *parser) macro(line int) (statement, error) {
	name, err := p.name("a macro")
	if err != nil {
		return nil, err
	}
	m := &macro{name: name, line: line}
	if err := p.params(m); err != nil {
		return nil, err
	}
	if err := p.endTag(); err != nil {
		return nil, err
	}
	return m, p.macroBody(m, "endmacro")
}

// params reads (a, b=default).
func (p *parser) params(m *macro) error {
	if err := p.tag.expect("("); err != nil {
		return err
	}
	for !p.tag.skip(")") {
		if len(m.params) > 0 {
			if err := p.tag.expect(","); err != nil {
				return err
			}
		}
		name, err := p.name("a parameter")
		if err != nil {
			return err
		}
		m.params = append(m.params, name)
		switch {
		case p.tag.skip("="):
			value, err := p.expression()
			if err != nil {
				return err
			}
			m.defaults = append(m.defaults, value)
		case len(m.defaults) > 0:
			return p.tag.errorf("parameter %s without a default stands behind one with a default", name)
		}
	}
	return nil
}

func (p *parser) macroBody(m *macro, end string) (err error) {
	loops, uses := p.loops, p.uses
	p.loops, p.uses = 0, map[string]bool{}
	m.body, err = p.block(end, m.line)
	m.uses = p.uses
	for name := range m.uses {
		if uses != nil {
			uses[name] = true
		}
	}
	p.loops, p.uses = loops, uses
	return err
}

func (p *parser) callBlock(line int) (statement, error) {
	c := &callBlock{caller: &macro{name: "caller", line: line}, line: line}
	if p.tag.is("(") {
		if err := p.params(c.caller); err != nil {
			return nil, err
		}
	}
	of, err := p.unary(true)
	if err != nil {
		return nil, err
	}
	called, ok := of.(*call)
	if !ok {
		return nil, p.tag.errorf("call needs a call, such as name(argument)")
	}
	c.of = called
	if err := p.endTag(); err != nil {
		return nil, err
	}
	return c, p.macroBody(c.caller, "endcall")
}

func (p *parser) with(line int) (statement, error) {
	w := &with{line: line}
	for p.tag.peek().kind != 'e' {
		if len(w.names) > 0 {
			if err := p.tag.expect(","); err != nil {
				return nil, err
			}
		}
		name, err := p.name("a variable")
		if err != nil {
			return nil, err
		}
		if err := p.tag.expect("="); err != nil {
			return nil, err
		}
		value, err := p.expression()
		if err != nil {
			return nil, err
		}
		w.names, w.values = append(w.names, name), append(w.values, value)
	}
	var err error
	w.body, err = p.block("endwith", line)
	return w, err
}
