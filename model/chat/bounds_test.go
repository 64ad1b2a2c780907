package chat

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRefusedTemplates(t *testing.T) {
	for template, want := range map[string]string{
		"{% macro f() %}{{ f() }}{% endmacro %}\n{{ f() }}":           "a macro call itself",
		"{% include '/etc/passwd' %}":                                 "line 1: include",
		"{% extends 'x' %}":                                           "extends",
		"{% import 'x' as y %}":                                       "import",
		"{% for m in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}": "10000 deep",
		"{% if true %}":                                               "line 1: the template ends without endif",
		"a\n{% for x in y %}\n{% if z %}\n{% endfor %}":               "line 4: unknown statement endfor; what begins on line 3",
		"a\n\n{{ 'open":                                               "line 3",
		"\n{{ a }\n\n }}":                                             "line 2: } closes nothing",
		"{% raw %} {{":                                                "endraw",
		"{# never":                                                    "line 1",
		"{{ 1 +* 2 }}":                                                `found "*" where an expression`,
		"\n{{ a b }}":                                                 `line 2: found "b"`,
		"{% break %}":                                                 "break outside of a loop",
		"{% for x in y %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}": "continue outside",
		"{{ x | nofilter }}":                           "no filter is named nofilter; known are abs",
		"{{ x is notest }}":                            "no test is named notest",
		"{% if true %}\n{{ x | nofilter }}{% endif %}": "line 2: no filter",
		"{% set true = 1 %}":                           "the name of a variable",
		"{% do x %}":                                   "unknown statement do",
		"{% %}":                                        "a statement is expected",
		"{{ }}":                                        "an expression is expected",
		"{{ x[] }}":                                    "an index is empty",
		"{{ x[1:2:3:4] }}":                             "]",
		"{{ f(a=1, 2) }}":                              "without a name",
		"{{ 99999999999999999999 }}":                   "64 bits",
		"{{ § }}":                                      "means nothing",
		strings.Repeat("x", MaxTemplateBytes+1):        "262145 bytes",
		"{{" + strings.Repeat("(", 40000) + "1" + strings.Repeat(")", 40000) + "}}": "more than 100 deep",
		"{{" + strings.Repeat("- ", 16000) + "1}}":                                  "more than 100 deep",
		"{{" + strings.Repeat("1 + ", 20000) + "1}}":                                "10000 deep",
		"{{" + strings.Repeat("not ", 4000) + "x}}":                                 "more than 100 deep",
		"{{" + strings.Repeat("1 if 1 else ", 4000) + "x}}":                         "more than 100 deep",
		strings.Repeat("{% if 1 %}", 6000):                                          "more than 100 deep",
		"{{ " + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + " }}":     "more than 100 deep",
	} {
		tmpl, err := New(template, nil)
		if err == nil {
			// Some mistakes are found only when the template runs.
			_, err = tmpl.Render([]Message{{Role: "user", Content: "x"}}, true)
		}
		name := template[:min(len(template), 60)]
		if !errors.Is(err, ErrTemplate) && !errors.Is(err, ErrBound) {
			t.Errorf("%q: error %v, want an ErrTemplate or ErrBound", name, err)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %.300s: doesn't say %q", name, err, want)
		}
	}
}

func TestFailuresWhileRunning(t *testing.T) {
	for template, c := range map[string]struct {
		kind error
		want string
	}{
		"{% for i in range(1000000) %}x{% endfor %}":    {ErrBound, "line 1: range(0, 1000000, 1)"},
		"{{ range(1, 2, 0) }}":                          {ErrTemplate, "step of 0"},
		"{{ range('a') }}":                              {ErrTemplate, "range of a string"},
		"{{ range() }}":                                 {ErrTemplate, "0 arguments"},
		"{{ strftime_now('%Q') }}":                      {ErrTemplate, "%Q"},
		"{{ strftime_now('%') }}":                       {ErrTemplate, "lone %"},
		"{{ strftime_now(1) }}":                         {ErrTemplate, "the format, a string"},
		"{{ raise_exception('no: ' + bos_token) }}":     {ErrRaised, "no: <s>"},
		"{{ messages | tojson(indent=[]) }}":            {ErrTemplate, "tojson"},
		"\n\n{{ nothing.at.all }}":                      {ErrTemplate, "line 3: nothing is undefined, and has no at"},
		"{{ 'a' + 1 }}":                                 {ErrTemplate, "a string + a number"},
		"{{ 'a' + none }}":                              {ErrTemplate, "a string + none"},
		"{{ 1 // 0 }}":                                  {ErrTemplate, "1 // 0"},
		"{{ 9223372036854775807 + 1 }}":                 {ErrBound, "64 bits"},
		"{{ 10 ** 30 }}":                                {ErrBound, "64 bits"},
		"{{ messages.append(1) }}":                      {ErrTemplate, "can't change lists"},
		"{{ nothing() }}":                               {ErrTemplate, "nothing is undefined"},
		"{% set messages.x = 1 %}":                      {ErrTemplate, "only a namespace"},
		"{% set ns = namespace(_x=1) %}":                {ErrTemplate, "begin with _"},
		"{% set a, b = [1, 2, 3] %}":                    {ErrTemplate, "3 values for 2 names"},
		"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}":   {ErrTemplate, "macro m gets 2 arguments and takes 1"},
		"{% macro m(a) %}{% endmacro %}{{ m(b=2) }}":    {ErrTemplate, "macro m has no parameter b"},
		"{{ 'x' * 10000000000 }}":                       {ErrBound, "64 MiB"},
		"{{ [1] * 10000000000 }}":                       {ErrBound, "64 MiB"},
		"{{ 'x'.zfill(10000000000) }}":                  {ErrBound, "64 MiB"},
		"{{ 'a\nb' | indent(10000000000) }}":            {ErrBound, "64 MiB"},
		"{{ ('x' * 100000).replace('', 'y' * 10000) }}": {ErrBound, "64 MiB"},
		"{{ range(90000) | join('y' * 10000) }}":        {ErrBound, "64 MiB"},
		"{{ '%100000000d' % 1 }}":                       {ErrTemplate, "too large"},
		"{% set ns = namespace(s='x') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}":                     {ErrBound, "64 MiB"},
		"{% set ns = namespace(s=[1]) %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}":                     {ErrBound, "64 MiB"},
		"{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}":          {ErrBound, ""},
		"{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson }}": {ErrBound, ""},
	} {
		tmpl, err := New(template, map[string]string{"bos_token": "<s>"})
		if err == nil {
			_, err = tmpl.Render(nil, false)
		}
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %v that says %q", template, err, c.kind, c.want)
		}
	}
}

func TestDeadline(t *testing.T) {
	tmpl, err := New("{% for a in range(3) %}{{ a }}{% endfor %}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tmpl.renderUntil(nil, Options{}, time.Now().Add(MaxTime)); err != nil || got != "012" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := tmpl.renderUntil(nil, Options{}, time.Now().Add(-time.Second)); !errors.Is(err, ErrBound) {
		t.Errorf("past its time: error %v, want ErrBound", err)
	}
}

// FuzzTemplate looks for templates that panic or don't end.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{
		"{{ bos_token }}{% for m in messages %}{{ m.role ~ m['content'] | trim }}{% endfor %}", "{%- set ns = namespace(a=1) -%}\n{{ ns.a }}",
		"{% raw -%} {{ {%- endraw %}{# c -#} x", "{{ messages[-1].content[1:] if messages else none }}", "{{ range(3) | tojson }}{% break %}",
	} {
		f.Add(s, "user", "hello")
	}
	for _, template := range hostileTemplates() {
		if len(template) < 1<<10 {
			f.Add(template, "user", "a b")
		}
	}
	for _, path := range must(filepath.Glob(filepath.Join("testdata", "families", "*.jinja"))) {
		f.Add(string(must(os.ReadFile(path))), "assistant", "<think>a</think> b")
	}
	f.Fuzz(func(t *testing.T, template, role, content string) {
		tmpl, err := New(template, map[string]string{"bos_token": "<s>"})
		if err == nil {
			messages := []Message{{Role: role, Content: content}, {Role: "user", Content: "x"}, {Role: "user", Parts: []Part{{"text", content}}}}
			_, err = tmpl.renderUntil(messages, Options{}, time.Now().Add(2*time.Second))
		}
		if err != nil && !errors.Is(err, ErrTemplate) && !errors.Is(err, ErrRaised) && !errors.Is(err, ErrBound) {
			t.Fatalf("error without a kind: %v", err)
		}
		if f := new(fault); errors.As(err, &f) && f.line == 0 {
			t.Fatalf("error without a line: %v", err)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
