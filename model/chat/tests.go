package chat

import (
	"strings"
	"unicode"
)

// test is what stands behind is.
type test func(r *run, of any, args arguments) (bool, error)

// ofKind is a test without arguments.
func ofKind(name string, holds func(v any) bool) test {
	return func(_ *run, of any, args arguments) (bool, error) {
		_, err := args.bind(name, 0)
		return holds(of), err
	}
}

// ofText is a test of the value as text: some letter is of the kind, and none of the other.
func ofText(is, isOther func(rune) bool) test {
	return func(r *run, of any, _ arguments) (bool, error) {
		s, err := r.str(of)
		return strings.IndexFunc(s, is) >= 0 && strings.IndexFunc(s, isOther) < 0, err
	}
}

// related is a test with one argument.
func related(name string, holds func(r *run, of, other any) (bool, error)) test {
	return func(r *run, of any, args arguments) (bool, error) {
		v, err := args.bind(name, 1, "other")
		if err != nil {
			return false, err
		}
		return holds(r, of, v[0])
	}
}

func operator(op string) test {
	return related(op, func(r *run, of, other any) (bool, error) { return r.holds(op, of, other) })
}

// remainder is a test of what a division leaves.
func remainder(name string, of any, by int, want int) (bool, error) {
	n, f, isInt, ok := numberOf(of)
	switch {
	case !ok:
		return false, failf("%s of %s; it takes a number", name, kindOf(of))
	case by == 0:
		return false, failf("%s 0", name)
	case isInt:
		left, err := integers("%", n, by)
		return left == want, err
	}
	left, err := floats("%", f, float64(by))
	return left == float64(want), err
}

var tests = map[string]test{
	"defined":   ofKind("defined", func(v any) bool { return !isA[undefined](v) }),
	"undefined": ofKind("undefined", isA[undefined]),
	"none":      ofKind("none", func(v any) bool { return v == nil }),
	"string":    ofKind("string", isA[string]),
	"mapping":   ofKind("mapping", isA[*dict]),
	"boolean":   ofKind("boolean", isA[bool]),
	"integer":   ofKind("integer", isA[int]),
	"float":     ofKind("float", isA[float64]),
	"callable":  ofKind("callable", func(v any) bool { return isA[*function](v) || isA[*loopState](v) || isA[undefined](v) }),
	"number": ofKind("number", func(v any) bool {
		_, _, _, ok := numberOf(v)
		return ok
	}),
	"iterable": ofKind("iterable", func(v any) bool {
		return isA[string](v) || isA[*list](v) || isA[*dict](v) || isA[undefined](v)
	}),
	"sequence": ofKind("sequence", func(v any) bool {
		l, isList := v.(*list)
		return isA[string](v) || isA[*dict](v) || isA[undefined](v) || isList && !l.generator
	}),
	"true":    ofKind("true", func(v any) bool { return v == true }),
	"false":   ofKind("false", func(v any) bool { return v == false }),
	"escaped": ofKind("escaped", func(any) bool { return false }),
	"upper":   ofText(unicode.IsUpper, unicode.IsLower),
	"lower":   ofText(unicode.IsLower, unicode.IsUpper),
	"even":    func(_ *run, of any, _ arguments) (bool, error) { return remainder("even", of, 2, 0) },
	"odd":     func(_ *run, of any, _ arguments) (bool, error) { return remainder("odd", of, 2, 1) },
	"divisibleby": related("divisibleby", func(_ *run, of, other any) (bool, error) {
		by, ok := other.(int)
		if !ok {
			return false, failf("divisibleby %s; it takes a number", kindOf(other))
		}
		return remainder("divisibleby", of, by, 0)
	}),
	"in": related("in", func(r *run, of, other any) (bool, error) { return r.contains(other, of) }),
	"sameas": related("sameas", func(_ *run, of, other any) (bool, error) {
		switch of.(type) {
		case nil, bool, int, string, *list, *dict, *namespace, *function, *loopState:
			return of == other, nil
		}
		return false, nil
	}),
	"eq": operator("=="), "equalto": operator("=="), "==": operator("=="),
	"ne": operator("!="), "!=": operator("!="),
	"lt": operator("<"), "lessthan": operator("<"), "<": operator("<"),
	"le": operator("<="), "<=": operator("<="),
	"gt": operator(">"), "greaterthan": operator(">"), ">": operator(">"),
	"ge": operator(">="), ">=": operator(">="),
	"filter": func(r *run, of any, _ arguments) (bool, error) {
		name, _ := of.(string)
		_, ok := r.filters[name]
		return ok, nil
	},
	"test": func(r *run, of any, _ arguments) (bool, error) {
		name, _ := of.(string)
		_, ok := r.tests[name]
		return ok, nil
	},
}

func isA[T any](v any) bool {
	_, ok := v.(T)
	return ok
}
