package chat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// jsonWriter writes JSON as Python's json.dumps does.
type jsonWriter struct {
	strings.Builder
	run             *run
	ascii, sorted   bool
	indent          string // "" for one line
	lines           bool
	comma, colon    string
	innermostIndent string
}

// toJSON is transformers' tojson, which escapes nothing for HTML.
func toJSON(r *run, in any, args arguments) (any, error) {
	v, err := args.bind("tojson", 0, "ensure_ascii", "indent", "separators", "sort_keys")
	if err != nil {
		return nil, err
	}
	w := &jsonWriter{run: r, ascii: truth(orElse(v[0], false)), sorted: truth(orElse(v[3], false)), comma: ", ", colon: ": "}
	switch indent := orElse(v[1], nil).(type) {
	case nil:
	case int:
		if indent > MaxNesting {
			return nil, failf("tojson(indent=%d); at most %d is implemented", indent, MaxNesting)
		}
		w.lines, w.comma, w.indent = true, ",", strings.Repeat(" ", max(indent, 0))
	case string:
		w.lines, w.comma, w.indent = true, ",", indent
	default:
		return nil, failf("tojson(indent=%s); it is a number or a string", kindOf(indent))
	}
	if separators := orElse(v[2], nil); separators != nil {
		pair, err := r.iterate(separators)
		if err != nil {
			return nil, err
		}
		if len(pair) != 2 {
			return nil, failf("tojson with %d separators; there are two", len(pair))
		}
		var ok, ok2 bool
		w.comma, ok = pair[0].(string)
		w.colon, ok2 = pair[1].(string)
		if !ok || !ok2 {
			return nil, failf("tojson with separators that are no strings")
		}
	}
	if err := w.value(in); err != nil {
		return nil, err
	}
	return w.String(), nil
}

func (w *jsonWriter) value(v any) error {
	if err := w.run.enter(); err != nil {
		return err
	}
	defer w.run.leave()
	before := w.Len()
	switch v := v.(type) {
	case nil:
		w.WriteString("null")
	case bool:
		w.WriteString(strconv.FormatBool(v))
	case int:
		w.WriteString(strconv.Itoa(v))
	case float64:
		w.WriteString(jsonFloat(v))
	case string:
		if err := w.run.build(len(v)); err != nil {
			return err
		}
		w.quoted(v)
	case *list:
		if v.generator {
			return failf("tojson of what map, select or the like give; make it a list first")
		}
		return w.nested('[', ']', len(v.items), func(i int) error { return w.value(v.items[i]) })
	case *dict:
		order := make([]int, len(v.keys))
		for i := range order {
			order[i] = i
		}
		if w.sorted {
			var failed error
			slices.SortStableFunc(order, func(a, b int) int {
				c, _, err := w.run.compare(v.keys[a], v.keys[b])
				if err != nil && failed == nil {
					failed = err
				}
				return c
			})
			if failed != nil {
				return failed
			}
		}
		return w.nested('{', '}', len(order), func(i int) error {
			if err := w.key(v.keys[order[i]]); err != nil {
				return err
			}
			w.WriteString(w.colon)
			return w.value(v.values[order[i]])
		})
	default:
		return failf("tojson of %s", kindOf(v))
	}
	return w.run.build(w.Len() - before)
}

// key writes a key: JSON has only strings.
func (w *jsonWriter) key(key any) error {
	switch k := key.(type) {
	case nil:
		w.quoted("null")
	case bool:
		w.quoted(strconv.FormatBool(k))
	case int:
		w.quoted(strconv.Itoa(k))
	case float64:
		w.quoted(jsonFloat(k))
	case string:
		w.quoted(k)
		return w.run.build(len(k))
	}
	return nil
}

func (w *jsonWriter) nested(open, end byte, n int, item func(int) error) error {
	w.WriteByte(open)
	outer := w.innermostIndent
	w.innermostIndent += w.indent
	for i := range n {
		if i > 0 {
			w.WriteString(w.comma)
		}
		if w.lines {
			w.WriteString("\n" + w.innermostIndent)
		}
		if err := w.run.build(2 + len(w.innermostIndent)); err != nil {
			return err
		}
		if err := item(i); err != nil {
			return err
		}
	}
	w.innermostIndent = outer
	if w.lines && n > 0 {
		w.WriteString("\n" + outer)
	}
	w.WriteByte(end)
	return nil
}

func jsonFloat(f float64) string {
	switch s := floatText(f); s {
	case "nan":
		return "NaN"
	case "inf":
		return "Infinity"
	case "-inf":
		return "-Infinity"
	default:
		return s
	}
}

func (w *jsonWriter) quoted(s string) {
	w.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			w.WriteByte('\\')
			w.WriteRune(c)
		case c == '\n':
			w.WriteString(`\n`)
		case c == '\r':
			w.WriteString(`\r`)
		case c == '\t':
			w.WriteString(`\t`)
		case c == '\b':
			w.WriteString(`\b`)
		case c == '\f':
			w.WriteString(`\f`)
		case c < 0x20 || w.ascii && c >= 0x7f && c < 0x10000:
			fmt.Fprintf(w, `\u%04x`, c)
		case w.ascii && c >= 0x10000:
			c -= 0x10000
			fmt.Fprintf(w, `\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		default:
			w.WriteRune(c)
		}
	}
	w.WriteByte('"')
}
