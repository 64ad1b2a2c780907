package chat

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRefusedTemplates(t *testing.T) {
	for template, want := range map[string]string{
		"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}":                   "macro",
		"{% include '/etc/passwd' %}":                                       "include",
		"{% extends 'x' %}":                                                 "extends",
		"{% import 'x' as y %}":                                             "import",
		"{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}": "recursive",
		"{% if true %}":                                                     "",
		"a\n\n{{ 'open":                                                     "line 3",
		"{% raw %} {{":                                                      "endraw",
		"{# never":                                                          "line 1",
		"{{ 1 +* 2 }}":                                                      "",
		strings.Repeat("x", MaxTemplateBytes+1):                             "65537",
		"{{" + strings.Repeat("(", 40000) + "1" + strings.Repeat(")", 20000) + "}}":         "101 deep",
		"{{" + strings.Repeat("- ", 16000) + "1}}":                                          "16385 bytes",
		"{{" + strings.Repeat("-", 16000) + "1}}":                                           "",
		"{{" + strings.Repeat("not ", 4000) + "(}}":                                         "",
		"{{" + strings.Repeat("not ", 15000) + "}}":                                         "",
		strings.Repeat("{% if 1 %}", 6000):                                                  "",
		"{{ " + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + "| length | q }}": "",
	} {
		tmpl, err := New(template, nil)
		if err == nil {
			// Some mistakes are found only when the template runs.
			_, err = tmpl.Render([]Message{{"user", "x"}}, true)
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
		"{% for i in range(1000000) %}x{% endfor %}": {ErrBound, "range(0, 1000000, 1)"},
		"{{ range(1, 2, 0) }}":                       {ErrTemplate, "step of 0"},
		"{{ range('a') }}":                           {ErrTemplate, "range(a)"},
		"{{ range() }}":                              {ErrTemplate, "0 arguments"},
		"{{ strftime_now('%Q') }}":                   {ErrTemplate, "%Q"},
		"{{ strftime_now('%') }}":                    {ErrTemplate, "lone %"},
		"{{ strftime_now(1) }}":                      {ErrTemplate, "one argument"},
		"{{ raise_exception('no: ' + bos_token) }}":  {ErrRaised, "no: <s>"},
		"{{ messages | tojson(indent=2) }}":          {ErrTemplate, "tojson"},
		"{{ nothing.at.all }}":                       {ErrTemplate, ""},
		"{{ messages | nofilter }}":                  {ErrTemplate, "nofilter"},
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
	if got, err := tmpl.renderUntil(nil, false, time.Now().Add(MaxTime)); err != nil || got != "012" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := tmpl.renderUntil(nil, false, time.Now().Add(-time.Second)); !errors.Is(err, ErrBound) {
		t.Errorf("past its time: error %v, want ErrBound", err)
	}
}

func TestRewrite(t *testing.T) {
	for template, want := range map[string]string{
		"":                                   "",
		"a\r\nb\n":                           "a\nb",
		"{{ m[-1].x[ - 2 ] }}":               "{{ m[-1:][0].x[-2:-1][0]  }}",
		"{{ x in [-1] }}":                    "{{ x in [-1]  }}",
		"{{ 'm[-1]' }}":                      "{{ 'm[-1]'  }}",
		"{{ f('a')[-1] }}{{ 'it''s'[-1] }}":  "{{ f('a')[-1:][0]  }}{{ 'it''s'[-1:][0]  }}",
		"{{ '}}' ~ {'a': {}} }}":             "{{ '}}' ~ {'a': {}}  }}",
		"  {%- if x -%}  y  {%- endif +%}\n": "{% if x  %}y{% endif  %}",
	} {
		if got, err := rewrite(template); err != nil || got != want {
			t.Errorf("%q became %q, %v; want %q", template, got, err, want)
		}
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
	f.Fuzz(func(t *testing.T, template, role, content string) {
		for _, grows := range []string{"*", "range", "center", "indent", "wordwrap", "replace", "for", "format", "ljust", "rjust", "zfill", "%"} {
			if strings.Contains(strings.NewReplacer("{%", "", "%}", "").Replace(template), grows) && strings.ContainsAny(template, "123456789") {
				return // asks for as much memory as it has digits; the package promises nothing there
			}
		}
		tmpl, err := New(template, map[string]string{"bos_token": "<s>"})
		if err != nil {
			return
		}
		messages := []Message{{role, content}, {"user", "x"}}
		if _, err := tmpl.Render(messages, true); err != nil && !errors.Is(err, ErrTemplate) && !errors.Is(err, ErrRaised) && !errors.Is(err, ErrBound) {
			t.Fatalf("error without a kind: %v", err)
		}
	})
}
