package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
)

// What a template may use of the engine. What isn't here can reach files, or call itself without end.
var (
	statements = []string{"if", "set", "with", "do", "raw", "filter", "break", "continue"}
	functions  = []string{"namespace", "dict", "cycler", "joiner"}
)

func (t *Template) environment() *exec.Environment {
	allowed := map[string]parser.ControlStructureParser{"for": parseFor}
	for _, name := range statements {
		if p, ok := builtins.ControlStructures.Get(name); ok {
			allowed[name] = p
		}
	}
	globals := map[string]any{"range": rangeOf, "raise_exception": raise, "strftime_now": t.strftimeNow}
	for _, name := range functions {
		if f, ok := builtins.GlobalFunctions.Get(name); ok {
			globals[name] = f
		}
	}
	filters := exec.NewFilterSet(map[string]exec.FilterFunction{}).Update(builtins.Filters).
		Update(exec.NewFilterSet(map[string]exec.FilterFunction{"tojson": toJSON}))
	return &exec.Environment{
		Context: exec.NewContext(globals), Filters: filters, Tests: builtins.Tests,
		ControlStructures: exec.NewControlStructureSet(allowed), Methods: builtins.Methods,
	}
}

// boundedFor is a loop that checks the time before it starts.
type boundedFor struct {
	*controlStructures.ForControlStructure
}

func parseFor(p, args *parser.Parser) (nodes.ControlStructure, error) {
	parse, ok := builtins.ControlStructures.Get("for")
	if !ok {
		return nil, errors.New("the template engine has no for")
	}
	node, err := parse(p, args)
	if err != nil {
		return nil, err
	}
	loop, ok := node.(*controlStructures.ForControlStructure)
	if !ok {
		return nil, fmt.Errorf("the template engine's for is a %T", node)
	}
	if loop.Recursive {
		return nil, args.Error("recursive loops are not implemented, because they may never end", nil)
	}
	return &boundedFor{loop}, nil
}

func (f *boundedFor) Execute(r *exec.Renderer, tag *nodes.ControlStructureBlock) error {
	if state := runOf(r.Environment.Context); time.Now().After(state.deadline) {
		return state.fail("%w: it runs longer than %v", ErrBound, MaxTime)
	}
	return f.ForControlStructure.Execute(r, tag)
}

// rangeOf is Python's range, as a list.
func rangeOf(e *exec.Evaluator, params *exec.VarArgs) ([]int, error) {
	state := runOf(e.Environment.Context)
	bounds := [3]int{0, 0, 1}
	for _, a := range params.Args {
		if !a.IsInteger() {
			return nil, state.fail("%w: range(%s): its arguments are whole numbers", ErrTemplate, a.String())
		}
	}
	switch n := len(params.Args); n {
	case 1:
		bounds[1] = params.Args[0].Integer()
	case 2, 3:
		for i, a := range params.Args {
			bounds[i] = a.Integer()
		}
	default:
		return nil, state.fail("%w: range with %d arguments; it takes 1 to 3", ErrTemplate, n)
	}
	start, stop, step := bounds[0], bounds[1], bounds[2]
	if step == 0 {
		return nil, state.fail("%w: range with a step of 0", ErrTemplate)
	}
	list := []int{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(list) == MaxRange {
			return nil, state.fail("%w: range(%d, %d, %d) has more than %d numbers", ErrBound, start, stop, step, MaxRange)
		}
		list = append(list, i)
	}
	return list, nil
}

// raise is how a template refuses a conversation.
func raise(e *exec.Evaluator, params *exec.VarArgs) (string, error) {
	message := ""
	if len(params.Args) > 0 {
		message = params.Args[0].String()
	}
	return "", runOf(e.Environment.Context).fail("%w: %s", ErrRaised, message)
}

// toJSON writes plain JSON on one line, with Python's spaces: transformers' tojson, which escapes nothing for HTML. Keys
// are in alphabetical order.
func toJSON(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	if len(params.Args) > 0 || len(params.KwArgs) > 0 {
		return exec.AsValue(runOf(e.Environment.Context).fail("%w: tojson with arguments; only tojson without any is implemented", ErrTemplate))
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(in.ToGoSimpleType(false)); err != nil {
		return exec.AsValue(runOf(e.Environment.Context).fail("%w: tojson: %w", ErrTemplate, err))
	}
	return exec.AsSafeValue(spaced(strings.TrimSuffix(b.String(), "\n")))
}

// spaced puts a space after each comma and colon outside of strings.
func spaced(compact string) string {
	var b strings.Builder
	quoted := false
	for i := range len(compact) {
		c := compact[i]
		b.WriteByte(c)
		switch {
		case quoted && c == '"' && !escaped(compact, i):
			quoted = false
		case !quoted && c == '"':
			quoted = true
		case !quoted && (c == ',' || c == ':'):
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// escaped reports whether an odd number of backslashes stands before s[i].
func escaped(s string, i int) bool {
	before := s[:i]
	return (len(before)-len(strings.TrimRight(before, `\`)))%2 == 1
}
