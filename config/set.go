package config

import (
	"fmt"
	"slices"
	"strings"
)

// inlineValue reads the value of an override or a tag. What begins with [ or a quote is YAML; everything else is the text as
// it stands, so a glob, a colon or a template needs no quoting beyond the shell's.
func inlineValue(label, text string, env func(string) (string, bool)) (*node, Problems) {
	if text != "" && strings.ContainsRune("[\"'", rune(text[0])) {
		n, problems := parseTree(label, true, []byte(text), env)
		for i := range problems {
			if problems[i].Want == "" {
				problems[i].Want = "a text, or a list as in [a, b]; a text that begins with [ or a quote is quoted once more"
			}
		}
		return n, problems
	}
	n := &node{at: place{file: label}, size: 1}
	if isNull(text) {
		return n, nil
	}
	value, _, what, want := expand(text, env, 0)
	if what != "" {
		return nil, Problems{n.at.problem(what, want, "")}
	}
	n.kind, n.text = scalar, value
	return n, nil
}

// isNull reports whether YAML reads the unquoted text as no value.
func isNull(text string) bool { return text == "" || text == "~" || strings.EqualFold(text, "null") }

// applySets overlays the overrides of a command line, in order: the last of two for one option wins.
func (l *loader) applySets(sets []string, top map[string]*node, drafts map[Level][]*draft) {
	for _, set := range sets {
		at := place{file: setPrefix + set}
		path, text, ok := strings.Cut(set, "=")
		words := strings.Split(strings.TrimSpace(path), ".")
		if !ok || slices.Contains(words, "") {
			l.add(at, "an override without a path and a value", setForm, "")
			continue
		}
		value, problems := inlineValue(at.file, text, l.env)
		l.problems = append(l.problems, problems...)
		if value == nil {
			continue
		}
		l.apply(Override{path: path, at: at, value: value}, top, drafts)
	}
}

// apply overlays one override. model and device, in top, are the file's mappings, which may be nil; they get new ones.
// Entries are changed in place.
func (l *loader) apply(o Override, top map[string]*node, drafts map[Level][]*draft) {
	words := strings.Split(strings.TrimSpace(o.path), ".")
	switch level := Level(words[0]); {
	case words[0] == keyModel || words[0] == keyDevice:
		if len(words) != 2 && len(words) != 3 {
			l.add(o.at, fmt.Sprintf("%q names no option", clip(o.path)), o.form(), "")
			return
		}
		if n := top[words[0]]; n == nil || n.kind == nothing || n.kind == mapping {
			top[words[0]] = overlay(n, words[1:], o)
		}
	case level == Documents || level == Heads:
		l.setEntry(o, words, drafts[level])
	default:
		l.add(o.at, fmt.Sprintf("unknown level %q", clip(words[0])), oneOf(topKeys), Nearest(words[0], topKeys))
	}
}

// setPrefix begins the File of a problem with an override.
const setPrefix = "--set "

const setForm = "--set heads.ID.OPTION=VALUE, documents.ID.OPTION=VALUE, device.OPTION=VALUE or model.OPTION=VALUE"

// form says how the path of an override is written.
func (o Override) form() string {
	if o.at.Line == 0 {
		return setForm
	}
	return "heads.ID.OPTION, documents.ID.OPTION, device.OPTION or model.OPTION"
}

// setEntry overrides an option of the stage whose id is the path's second word.
func (l *loader) setEntry(o Override, words []string, drafts []*draft) {
	if len(words) != 3 && len(words) != 4 {
		l.add(o.at, fmt.Sprintf("%q names no option of a stage", clip(o.path)), o.form(), "")
		return
	}
	if words[2] == keyID {
		l.add(o.at, "an id cannot be overridden", "an option's name: ids are what overrides go by", "")
		return
	}
	ids := make([]string, len(drafts))
	for i, d := range drafts {
		ids[i] = d.id
	}
	i := slices.Index(ids, words[1])
	if i < 0 {
		l.add(o.at, fmt.Sprintf("no stage in %s has the id %q", words[0], clip(words[1])), oneOf(ids), Nearest(words[1], ids))
		return
	}
	if n := drafts[i].options; n == nil || n.kind == nothing || n.kind == mapping {
		drafts[i].options = overlay(n, words[2:], o)
	}
}

// overlay returns the mapping with the value at the path of one or two keys replaced.
func overlay(n *node, path []string, o Override) *node {
	value := o.value
	if len(path) == 2 {
		inner := n.get(path[0])
		if inner != nil && inner.kind != mapping {
			inner = nil
		}
		value = inner.with(pair{path[1], o.at, value})
	}
	return n.with(pair{path[0], o.at, value})
}
