package chat

import (
	"strconv"
	"strings"
)

// layouts gives Go's layout for each directive of Python's strftime that dates in templates use.
var layouts = map[string]string{
	"a": "Mon", "A": "Monday", "b": "Jan", "B": "January", "d": "02", "m": "01", "y": "06", "Y": "2006", "j": "002", "e": "_2",
	"H": "15", "I": "03", "M": "04", "S": "05", "p": "PM", "Z": "", "z": "", "F": "2006-01-02", "T": "15:04:05", "D": "01/02/06", "R": "15:04",
	"-d": "2", "-m": "1", "-I": "3", "-M": "4", "-S": "5", "c": "Mon Jan _2 15:04:05 2006", "x": "01/02/06", "X": "15:04:05",
}

// strftimeNow is the time of rendering, in the machine's zone, in a format of Python's strftime.
func strftimeNow(r *run, args arguments) (any, error) {
	v, err := args.bind("strftime_now", 1, "format")
	if err != nil {
		return nil, err
	}
	format, ok := v[0].(string)
	if !ok {
		return nil, failf("strftime_now of %s; it takes the format, a string", kindOf(v[0]))
	}
	if err := r.build(16 * len(format)); err != nil {
		return nil, err
	}
	now := r.now()
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			out.WriteByte(format[i])
			continue
		}
		if i++; i == len(format) {
			return nil, failf("strftime_now(%q) ends in a lone %%", format)
		}
		directive := format[i : i+1]
		if directive == "-" && i+1 < len(format) {
			i++
			directive = format[i-1 : i+1]
		}
		layout, ok := layouts[directive]
		switch {
		case directive == "%":
			out.WriteByte('%')
		case directive == "-H":
			out.WriteString(strconv.Itoa(now.Hour()))
		case ok && layout != "":
			out.WriteString(now.Format(layout))
		case !ok:
			known := map[string]bool{"%%": true, "%-H": true}
			for name := range layouts {
				known["%"+name] = true
			}
			return nil, failf("strftime_now(%q): %%%s is not implemented; known are %s", format, directive, names(known))
		}
	}
	return out.String(), nil
}
