package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

type optionKind int

const (
	kindText optionKind = iota
	kindBool
	kindWhole
	kindFloat
	kindTexts
	kindBytes
	kindCount
	kindChoice
)

// spec is one option as its field's tags declare it.
type spec struct {
	name  string // as written in YAML; "outer.inner" in a nested struct
	index []int  // for reflect.Value.FieldByIndex
	kind  optionKind
	// Tags, as written.
	defaultText, unit, doc, example, min, max string
	hasDefault, hasExample                    bool     // an empty default is still one
	words                                     []string // what enum or words allow
	// Bounds: of whole kinds, and of kindFloat.
	low, high           int64
	lowFloat, highFloat float64
	bounded             bool // the author gave a max
}

var (
	typeTexts  = reflect.TypeFor[[]string]()
	typeBytes  = reflect.TypeFor[Bytes]()
	typeCount  = reflect.TypeFor[Count]()
	typeChoice = reflect.TypeFor[Choice]()
)

// structOf returns the options' struct type; options is a struct, a pointer to one, or nil (a stage without options).
func structOf(options any) (reflect.Type, error) {
	if options == nil {
		return reflect.TypeFor[struct{}](), nil
	}
	t := reflect.TypeOf(options)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("options are a %s; expected a struct or a pointer to one", t)
	}
	return t, nil
}

// specsOf reads the declarations of an options struct in the order of its fields. The error is the first field whose
// declaration cannot be used; what merely lacks documentation is for Lint.
func specsOf(options any) ([]spec, error) {
	t, err := structOf(options)
	if err != nil {
		return nil, err
	}
	return fieldSpecs(t, "", nil)
}

func fieldSpecs(t reflect.Type, prefix string, index []int) ([]spec, error) {
	var specs []spec
	seen := map[string]bool{}
	for i := range t.NumField() {
		field := t.Field(i)
		name := field.Tag.Get("yaml")
		if name == "-" {
			continue
		}
		where := fmt.Sprintf("%s.%s", t, field.Name)
		if name == "" || !field.IsExported() {
			return nil, fmt.Errorf("field %s: expected an exported field with a yaml tag, or yaml:\"-\"", where)
		}
		if !isOptionName(name) {
			return nil, fmt.Errorf("field %s: the name %q; expected lower-case letters, digits and _", where, name)
		}
		if seen[name] || prefix == "" && (name == keyID || name == keyFrom) {
			return nil, fmt.Errorf("field %s: the name %q is taken; expected another", where, name)
		}
		seen[name] = true
		at := append(append([]int(nil), index...), i)
		if field.Type.Kind() == reflect.Struct && field.Type != typeChoice {
			if prefix != "" {
				return nil, fmt.Errorf("field %s: a struct two levels deep; expected one level", where)
			}
			inner, err := fieldSpecs(field.Type, name+".", at)
			if err != nil {
				return nil, err
			}
			specs = append(specs, inner...)
			continue
		}
		s, err := newSpec(field)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", where, err)
		}
		s.name, s.index = prefix+name, at
		specs = append(specs, s)
	}
	return specs, nil
}

// newSpec reads one field's tags.
func newSpec(field reflect.StructField) (spec, error) {
	tag := field.Tag
	s := spec{
		defaultText: tag.Get("default"), unit: tag.Get("unit"), doc: tag.Get("doc"), example: tag.Get("example"),
		min: tag.Get("min"), max: tag.Get("max"),
	}
	_, s.hasDefault = tag.Lookup("default")
	_, s.hasExample = tag.Lookup("example")
	switch t := field.Type; {
	case t == typeTexts:
		s.kind = kindTexts
	case t == typeBytes:
		s.kind = kindBytes
	case t == typeCount:
		s.kind = kindCount
	case t == typeChoice:
		s.kind = kindChoice
	case t.Kind() == reflect.String:
		s.kind = kindText
	case t.Kind() == reflect.Bool:
		s.kind = kindBool
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64:
		s.kind = kindWhole
	case t.Kind() == reflect.Float64:
		s.kind = kindFloat
	default:
		return s, fmt.Errorf("the type %s; expected string, bool, int, int64, float64, []string, Bytes, Count, Choice or a struct", t)
	}
	enum, words := tag.Get("enum"), tag.Get("words")
	switch {
	case enum != "" && s.kind != kindText:
		return s, fmt.Errorf("enum on a %s; expected it on a string", field.Type)
	case (words != "") != (s.kind == kindChoice):
		return s, fmt.Errorf("a Choice has a words tag, and nothing else has")
	case (s.min != "" || s.max != "") && !s.isNumber():
		return s, fmt.Errorf("min or max on a %s; expected them on a number", field.Type)
	case enum+words != "":
		s.words = strings.Split(enum+words, ",")
	}
	return s, s.readBounds(field.Type)
}

func (s *spec) isNumber() bool {
	return s.kind == kindWhole || s.kind == kindFloat || s.kind == kindBytes || s.kind == kindCount || s.kind == kindChoice
}

// readBounds turns min and max into numbers. Without min a number is at least 0.
func (s *spec) readBounds(t reflect.Type) error {
	s.high, s.highFloat = math.MaxInt64, math.MaxFloat64
	if t.Kind() == reflect.Int || s.kind == kindChoice {
		s.high = math.MaxInt
	}
	s.bounded = s.max != ""
	for _, bound := range []struct {
		text  string
		whole *int64
		float *float64
	}{{s.min, &s.low, &s.lowFloat}, {s.max, &s.high, &s.highFloat}} {
		if bound.text == "" {
			continue
		}
		var err error
		if s.kind == kindFloat {
			*bound.float, err = parseFloat(bound.text)
		} else {
			*bound.whole, err = s.parseWhole(bound.text)
		}
		if err != nil {
			return fmt.Errorf("the bound %q: %w", bound.text, err)
		}
	}
	if s.low > s.high || s.lowFloat > s.highFloat {
		return fmt.Errorf("min %s is over max %s", s.min, s.max)
	}
	return nil
}

// parseWhole reads a number of any whole kind, without its bounds.
func (s *spec) parseWhole(text string) (int64, error) {
	switch s.kind {
	case kindBytes:
		return parseQuantity(text, byteUnits, math.MaxInt64)
	case kindCount, kindChoice:
		return parseQuantity(text, countUnits, math.MaxInt)
	}
	digits := strings.TrimLeft(text, "+-")
	if digits == "" || !isDigit(digits[0]) || !isDigit(digits[len(digits)-1]) {
		return 0, errNotNumber
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			return 0, errTooLarge
		}
		if f, floatErr := parseFloat(text); floatErr == nil && f != math.Trunc(f) {
			return 0, errNotWhole
		}
		return 0, errNotNumber
	}
	return n, nil
}

// parseFloat reads a finite decimal number.
func parseFloat(text string) (float64, error) {
	if strings.ContainsAny(text, "xXpP_") {
		return 0, errNotNumber
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case math.IsInf(f, 0) && err != nil:
		return 0, errTooLarge
	case err != nil || math.IsInf(f, 0) || math.IsNaN(f):
		return 0, errNotNumber
	}
	return f, nil
}

// want says what the option takes, for "expected …".
func (s *spec) want() string {
	of := ""
	if s.unit != "" && s.kind != kindBytes {
		of = " of " + s.unit
	}
	switch s.kind {
	case kindBool:
		return "true or false"
	case kindTexts:
		return "a list of texts, or one text"
	case kindWhole:
		return "a whole number" + of + ", " + s.bounds()
	case kindFloat:
		return "a number" + of + ", " + s.bounds()
	case kindBytes:
		return "a size such as 2GiB or 512 MB, " + s.bounds()
	case kindCount:
		return "a count" + of + " such as 4096 or 32Ki, " + s.bounds()
	case kindChoice:
		return strings.Join(s.words, ", ") + " or a count" + of + " such as 4096 or 32Ki, " + s.bounds()
	}
	if s.words != nil {
		return oneOf(s.words)
	}
	return "a text"
}

// bounds writes the range in the units the author used.
func (s *spec) bounds() string {
	low := s.min
	if low == "" {
		low = "0"
	}
	if s.bounded {
		return "from " + low + " to " + s.max
	}
	return "at least " + low
}

// allowed is the values' column of a table: empty when any value of the type will do.
func (s *spec) allowed() string {
	words := strings.Join(s.words, ", ")
	switch {
	case s.kind == kindChoice:
		return words + " or a count, " + s.bounds()
	case s.isNumber():
		return s.bounds()
	}
	return words
}

// typeName is what a person calls the option's type.
func (s *spec) typeName() string {
	switch s.kind {
	case kindBool:
		return "true or false"
	case kindTexts:
		return "list of texts"
	case kindWhole:
		return "whole number"
	case kindFloat:
		return "number"
	case kindBytes:
		return "size"
	case kindCount:
		return "count"
	case kindChoice:
		return "word or count"
	}
	if s.words != nil {
		return "word"
	}
	return "text"
}

func isOptionName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !('a' <= c && c <= 'z' || i > 0 && (isDigit(c) || c == '_')) {
			return false
		}
	}
	return name != ""
}
