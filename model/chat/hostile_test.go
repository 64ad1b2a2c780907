package chat

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"headinfer/model/internal/hostile"
)

// hostileTemplates go in circles, or make much of little.
func hostileTemplates() []string {
	circle := "{% set ns = namespace(a=1) %}{% set ns.a = [ns, {'x': ns}] %}{% set other = namespace(a=1) %}{% set other.a = [other, {'x': other}] %}"
	templates := []string{
		strings.Repeat("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", 100),
		"{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{{ a() }}{% endmacro %}{{ a() }}",
		"{% macro a(n) %}{% for i in range(100) %}{{ a(n) if n else 1 }}{% endfor %}{% endmacro %}{{ a(1) }}",
		"{% for a in messages recursive %}{{ loop(messages) }}{% endfor %}",
		"{% call m() %}{{ caller() }}{% endcall %}{% macro m() %}{{ caller() }}{% endmacro %}",
		"{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}",
		"{% import 'x' as x %}", "{% from 'x' import y %}", "{% include ['x', 'y'] %}", "{% extends x %}{% block b %}{{ super() }}{% endblock %}",
		"{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ self.__init__.__globals__ }}", "{{ cycler.__init__ }}",
		"{{ 'x'.center(9223372036854775807) }}", "{{ 'x'.ljust(1000000000) }}", "{{ 'x'.rjust(1000000000) }}", "{{ 'a\tb'.expandtabs(1000000000) }}",
		"{{ '%1000000000s' % 'x' }}", "{{ '%*d' % (1000000000, 1) }}", "{{ '%.1000000000f' % 1.5 }}", "{{ '{:1000000000}'.format(1) }}", "{{ '{0:>{1}}'.format(1, 1000000000) }}",
		"{{ 'x' | wordwrap(1000000000) }}", "{{ 'x' | truncate(1000000000) }}", "{{ 'x' | indent(1000000000, true) }}", "{{ 1.5 | round(1000000000) }}", "{{ 'x' | center(1000000000) }}",
		"{{ [1] | batch(1000000000, 'x') | list }}", "{{ [1] | slice(1000000000) | list }}", "{{ range(100000) | list | tojson(indent=1000000000) }}", "{{ {'a': 1} | tojson(indent=4611686018427387904) }}",
		"{{ ('x' * 1000000) | replace('x', 'y' * 1000) }}", "{{ ('x' * 60000000).split('x') | length }}", "{{ ('x ' * 30000000).split() | length }}", "{{ ('\n' * 60000000).splitlines() | length }}",
		"{{ ('x' * 60000000) | list | length }}", "{{ ('x' * 10000000) | map('upper') | list | length }}", "{{ range(100000) | map('string') | join | length }}",
		"{% for i in range(100000) %}{% for j in range(100000) %}{{ 'x' * 1000 }}{% endfor %}{% endfor %}",
		"{% set ns = namespace(s='x') %}{% for i in range(100000) %}{% set ns.s = ns.s ~ 'xxxxxxxxxx' %}{% endfor %}{{ ns.s | length }}",
		"{% set ns = namespace(d={}) %}{% for i in range(100000) %}{% set ns.d = dict(ns.d, x=ns.d) %}{% endfor %}{{ ns.d }}",
		"{{ 9223372036854775807 // -1 }}", "{{ (0 - 9223372036854775807 - 1) // -1 }}", "{{ (0 - 9223372036854775807 - 1) % -1 }}", "{{ 2 ** 9223372036854775807 }}", "{{ 2 ** -9223372036854775807 }}", "{{ -(0 - 9223372036854775807 - 1) }}",
		"{{ (0 - 9223372036854775807 - 1) | abs }}", "{{ 1e308 * 10 }}", "{{ (1e308 * 10) | int }}", "{{ (1e308 * 10 - 1e308 * 10) | int }}", "{{ 'abc'[9223372036854775807:0:-9223372036854775807] }}", "{{ 'abc'[::0] }}", "{{ [1, 2][-9223372036854775807] }}",
		"{{ range(-9223372036854775807, 9223372036854775807) | length }}", "{{ range(0, 9223372036854775807, 9223372036854775807) | list }}", "{{ range(9223372036854775807, -9223372036854775807, -9223372036854775807) | list }}",
		"{{ '\\ud800' }}", "{{ '\\U00110000' }}", "{{ '\xff' | upper }}", "{{ '\xff'.encode() }}", "{{ '\x00' }}",
	}
	for _, use := range []string{"ns", "ns.a", "ns.a | tojson", "ns | string", "ns.a == other.a", "ns.a < other.a", "ns.a in other.a", "ns.a | sort", "ns.a | unique | list", "{ns: 1}", "ns.a | join", "ns.a | length", "(ns.a + ns.a) | list", "ns.a | sum(start=[])", "ns.a | map('string') | list", "ns.a | pprint", "'%s' % ns.a", "'{}'.format(ns.a)", "ns.a | first | list", "ns.a | groupby('x')", "ns.a * 3"} {
		templates = append(templates, circle+"{{ "+use+" }}")
	}
	for _, nest := range []string{"[", "(", "{'a':", "{{", "-", "not ", "a[", "a(", "a.b|c(", "1 if ", "1 + ", "1 ~ ", "1 ** ", "a.b", "a|upper", "1 < ", "1 and ", "'a' 'b' ", "a if b else "} {
		templates = append(templates, "{{ "+strings.Repeat(nest, (MaxTemplateBytes-16)/len(nest))+" }}")
	}
	for _, nest := range []string{"{% if 1 %}", "{% for x in y %}", "{% macro m() %}", "{% filter upper %}", "{% set x %}", "{% call m() %}", "{% with %}", "{% generation %}", "{# ", "{% raw %}", "{%", "{{", "{#", "{% elif 1 %}", "{% if 1 %}{% else %}{% endif %}", "{{ a }}", "{% set a = 1 %}", "\n", "-%}", "}}"} {
		templates = append(templates, strings.Repeat(nest, MaxTemplateBytes/len(nest)))
	}
	return templates
}

// TestHostileTemplates runs them. What they write does not matter: that they end,
// within bounds, does.
func TestHostileTemplates(t *testing.T) {
	for _, template := range hostileTemplates() {
		t.Run(fmt.Sprintf("%.80s", template), func(t *testing.T) {
			// What a template may build is bounded by itself.
			err := hostile.Bounded(t, int64(len(template)+MaxBuilt), func() error {
				tmpl, err := New(template, nil)
				if err == nil {
					_, err = tmpl.Render([]Message{{Role: "user", Content: "x"}, {Role: "assistant", Content: "y"}}, true)
				}
				return err
			})
			if err != nil && !errors.Is(err, ErrTemplate) && !errors.Is(err, ErrBound) {
				t.Errorf("error %v, want an ErrTemplate or ErrBound", err)
			}
		})
	}
}
