// Package chat renders a conversation into the text that a model was trained on, with the model's own chat template.
//
// Templates are Jinja, as Hugging Face's transformers library runs them: trim_blocks and lstrip_blocks are on, loops have
// break and continue, generation blocks, raise_exception and strftime_now exist, tojson writes plain JSON, and lists and
// maps can't be changed. The package has its own lexer (lexer.go), parser (parser.go, expression.go) and interpreter
// (statements.go, operators.go, values.go), because what a template writes has to be equal to the byte: None and undefined
// are different things, maps keep their order, and an operation that Python refuses is an error, never an empty text.
//
// Templates come with model files, so they are run with bounds: no files, MaxTime, MaxDepth calls within calls, MaxRange
// numbers from range, and strings and lists of at most MaxBuilt bytes and 64 times what the conversation has. Whatever a
// template does, the outcome is a text or an error that names the template's line.
//
// A Template never changes once made and is safe for concurrent use.
package chat

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The bounds on a template and on what it does.
const (
	MaxTemplateBytes = 256 << 10 // real templates have 1 to 25 KiB
	MaxNesting       = 100       // brackets inside brackets, statements inside statements
	MaxDepth         = 10_000    // operations inside operations while it runs; a macro that calls itself takes about ten
	MaxRange         = 100_000   // numbers from one call of range; Jinja's sandbox has the same
	MaxBuilt         = 64 << 20  // bytes of strings and lists that one Render makes, and 64 times the conversation's own
	MaxTime          = time.Minute
)

// Sentinels that errors of New and Render wrap.
var (
	// ErrTemplate is for a template that can't be parsed, or fails while it runs.
	ErrTemplate = errors.New("chat template")
	// ErrRaised is for a conversation that the template itself refuses, by calling raise_exception.
	ErrRaised = errors.New("the chat template refuses the conversation")
	// ErrBound is for a template that passes one of the bounds above.
	ErrBound = errors.New("the chat template passes a bound")
)

// Message is one turn. Role is what the template knows: usually "system", "user" or "assistant". The template sees
// Content, or Parts where there are any: templates of models that read images take a list.
type Message struct {
	Role, Content string
	Parts         []Part
}

// Part is a piece of a message's content. Type is "text" for text.
type Part struct{ Type, Text string }

// Options are what else a template reads.
type Options struct {
	// AddGenerationPrompt ends the text where the model's answer begins.
	AddGenerationPrompt bool
	// Variables are the template's own, such as enable_thinking: nil, bool, int, float64, string, []any, []string or
	// map[string]any. They go before special tokens of the same name.
	Variables map[string]any
}

// Template is a parsed chat template.
type Template struct {
	body     []statement
	specials map[string]string
	now      func() time.Time
}

// New parses a template. specials are the names under which it finds special tokens, such as bos_token and eos_token.
// Errors wrap ErrTemplate or ErrBound, and name the line.
func New(template string, specials map[string]string) (*Template, error) {
	if len(template) > MaxTemplateBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, and may have %d", ErrBound, len(template), MaxTemplateBytes)
	}
	body, err := parse(template)
	if err != nil {
		return nil, err
	}
	return &Template{body: body, specials: maps.Clone(specials), now: time.Now}, nil
}

// Render writes the conversation as the model expects it; with addGenerationPrompt the text ends where the model's answer
// begins. Special tokens are part of the text, so encode it with Special set. Errors wrap ErrRaised, ErrBound or
// ErrTemplate.
func (t *Template) Render(messages []Message, addGenerationPrompt bool) (string, error) {
	return t.RenderWith(messages, Options{AddGenerationPrompt: addGenerationPrompt})
}

// RenderWith is Render with the template's own variables.
func (t *Template) RenderWith(messages []Message, o Options) (string, error) {
	return t.renderUntil(messages, o, time.Now().Add(MaxTime))
}

func (t *Template) renderUntil(messages []Message, o Options, deadline time.Time) (string, error) {
	r := &run{out: &strings.Builder{}, deadline: deadline, now: t.now, left: MaxBuilt, filters: filters, tests: tests}
	for _, m := range messages {
		r.left += 64 * (len(m.Role) + len(m.Content))
		for _, p := range m.Parts {
			r.left += 64 * (len(p.Type) + len(p.Text))
		}
	}
	top := &scope{vars: maps.Clone(globals)}
	for name, token := range t.specials {
		top.vars[name] = token
	}
	for name, v := range o.Variables {
		value, err := valueOf(v, 0)
		if err != nil {
			return "", fmt.Errorf("%w: variable %s: %w", ErrTemplate, name, err)
		}
		top.vars[name] = value
	}
	top.vars["messages"] = listOf(messages)
	top.vars["add_generation_prompt"] = o.AddGenerationPrompt
	for _, absent := range []string{"tools", "documents"} {
		if _, ok := top.vars[absent]; !ok {
			top.vars[absent] = nil
		}
	}
	if err := r.execute(t.body, top); err != nil {
		return "", err
	}
	return r.out.String(), nil
}

// listOf gives the conversation as templates see it.
func listOf(messages []Message) *list {
	all := &list{items: make([]any, len(messages))}
	for i, m := range messages {
		d := newDict()
		d.put("role", m.Role)
		if m.Parts == nil {
			d.put("content", m.Content)
		} else {
			parts := &list{items: make([]any, len(m.Parts))}
			for j, p := range m.Parts {
				part := newDict()
				part.put("type", p.Type)
				if p.Type == "text" || p.Text != "" {
					part.put("text", p.Text)
				}
				parts.items[j] = part
			}
			d.put("content", parts)
		}
		all.items[i] = d
	}
	return all
}

// valueOf gives a Go value as templates see it. Keys of maps are in alphabetical order.
func valueOf(v any, depth int) (any, error) {
	if depth > MaxNesting {
		return nil, fmt.Errorf("%w: lists and maps are more than %d deep", ErrBound, MaxNesting)
	}
	switch v := v.(type) {
	case nil, bool, int, float64, string:
		return v, nil
	case []string:
		l := &list{}
		for _, s := range v {
			l.items = append(l.items, s)
		}
		return l, nil
	case []any:
		l := &list{}
		for _, e := range v {
			item, err := valueOf(e, depth+1)
			if err != nil {
				return nil, err
			}
			l.items = append(l.items, item)
		}
		return l, nil
	case map[string]any:
		d := newDict()
		for _, name := range slices.Sorted(maps.Keys(v)) {
			item, err := valueOf(v[name], depth+1)
			if err != nil {
				return nil, err
			}
			d.put(name, item)
		}
		return d, nil
	}
	return nil, fmt.Errorf("it is a %T; templates take nil, bool, int, float64, string, []string, []any and map[string]any", v)
}

// run is the state of one Render.
type run struct {
	out      *strings.Builder
	deadline time.Time
	now      func() time.Time
	left     int // bytes that may still be built
	depth    int // operations that wait for one another
	ticks    int
	filters  map[string]filter // those of the package; here because filters call filters
	tests    map[string]test
}

// enter counts an operation in, and looks at the clock now and then. Each enter that succeeds has a leave.
func (r *run) enter() error {
	if r.ticks++; r.ticks&0x3ff == 1 && time.Now().After(r.deadline) {
		return boundf("it runs longer than %v", MaxTime)
	}
	if r.depth == MaxDepth {
		return boundf("operations wait for one another %d deep; does a macro call itself?", MaxDepth)
	}
	r.depth++
	return nil
}

func (r *run) leave() { r.depth-- }

// build counts bytes that are about to be made.
func (r *run) build(bytes int) error {
	if bytes < 0 || bytes > r.left {
		return boundf("it builds more text than %d MiB and 64 times the conversation", MaxBuilt>>20)
	}
	r.left -= bytes
	return nil
}

func (r *run) write(s string) error {
	if err := r.build(len(s)); err != nil {
		return err
	}
	r.out.WriteString(s)
	return nil
}

// fault is an error at a line of the template; the line is 0 until the statement it happens in is known.
type fault struct {
	kind error
	line int
	what string
}

func (f *fault) Error() string {
	if f.line == 0 || errors.Is(f.kind, ErrRaised) {
		return fmt.Sprintf("%v: %s", f.kind, f.what)
	}
	return fmt.Sprintf("%v: line %d: %s", f.kind, f.line, f.what)
}

func (f *fault) Unwrap() error { return f.kind }

// failf is a failure of the template while it runs.
func failf(format string, args ...any) error {
	return &fault{kind: ErrTemplate, what: fmt.Sprintf(format, args...)}
}

// boundf is failf for a bound.
func boundf(format string, args ...any) error {
	return &fault{kind: ErrBound, what: fmt.Sprintf(format, args...)}
}

// at says where an error happened, unless it knows.
func at(err error, line int) error {
	if f := new(fault); errors.As(err, &f) && f.line == 0 {
		f.line = line
	}
	return err
}
