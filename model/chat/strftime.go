package chat

import (
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// layouts gives Go's layout for each directive of Python's strftime that dates in templates use.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'd': "02", 'm': "01", 'y': "06", 'Y': "2006", 'j': "002",
	'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'Z': "MST", 'z': "-0700", 'F': "2006-01-02", 'T': "15:04:05",
}

// strftimeNow is the time of rendering, in the machine's zone, in a format of Python's strftime.
func (t *Template) strftimeNow(e *exec.Evaluator, params *exec.VarArgs) (string, error) {
	state := runOf(e.Environment.Context)
	if len(params.Args) != 1 || !params.Args[0].IsString() {
		return "", state.fail("%w: strftime_now takes one argument, the format", ErrTemplate)
	}
	format := params.Args[0].String()
	now := t.now()
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			out.WriteByte(format[i])
			continue
		}
		if i++; i == len(format) {
			return "", state.fail("%w: strftime_now(%q) ends in a lone %%", ErrTemplate, format)
		}
		layout, ok := layouts[format[i]]
		switch {
		case format[i] == '%':
			out.WriteByte('%')
		case ok:
			out.WriteString(now.Format(layout))
		default:
			known := make(map[string]bool, len(layouts))
			for c := range layouts {
				known["%"+string(c)] = true
			}
			return "", state.fail("%w: strftime_now(%q): %%%c is not implemented; known are %s", ErrTemplate, format, format[i], names(known))
		}
	}
	return out.String(), nil
}
