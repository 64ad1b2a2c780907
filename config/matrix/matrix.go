// Package matrix reads the files of `headinfer ablate`: which pipelines to measure beside each other, at which contexts,
// and what of them. A matrix starts from a base pipeline and has rows, each the base with some options set: one for every
// combination of its axes' values, and those that it lists by name. It is checked as a pipeline is, row by row, before
// anything runs, with errors that name file, line and column.
package matrix

import (
	"strings"

	"headinfer/config"
)

// Options are the keys of a matrix beside set, axes and rows.
type Options struct {
	Base         string   `yaml:"base" default:"adaptive" doc:"What rows start from: a method's name (see headinfer bench --help) or a pipeline file, whose path is relative to the matrix." example:"adaptive"`
	Contexts     []string `yaml:"contexts" default:"" unit:"tokens" doc:"Lengths of prompts that are read and then decoded from." example:"[8Ki, 32Ki, 128Ki]"`
	Fill         []string `yaml:"fill" default:"" unit:"tokens" doc:"Contexts whose cache is filled with random numbers instead of reading a prompt: decode figures only." example:"[256Ki, 800k]"`
	Measures     []string `yaml:"measures" default:"[prefill, decode, memory, moved, hidden]" doc:"What the tables show: prefill (seconds), decode (of a token), memory (of the device at its peak, by purpose), moved (bytes between host and device), hidden (which part of the copies the device computed meanwhile), longest (the longest context, by real allocations), accuracy (a task's score), distance (of logits from those of standard)." example:"[prefill, decode, longest]"`
	Repeats      int      `yaml:"repeats" default:"3" min:"1" max:"1000" doc:"Rounds over all rows and contexts. Figures are medians." example:"5"`
	FillRepeats  int      `yaml:"fill_repeats" default:"1" min:"1" max:"1000" doc:"In how many of the rounds the contexts of fill are measured." example:"3"`
	DecodeTokens int      `yaml:"decode_tokens" default:"8" min:"1" max:"100000" unit:"tokens" doc:"How many are decoded after each context." example:"4"`
	Accuracy     struct {
		Task      string       `yaml:"task" default:"niah_single" doc:"The task that is asked (see headinfer eval --help)." example:"vt"`
		Length    config.Count `yaml:"length" default:"4Ki" min:"64" unit:"tokens" doc:"How long its prompts are." example:"8Ki"`
		Questions int          `yaml:"questions" default:"10" min:"1" max:"100000" doc:"How many are asked, with the fact at so many depths of the text." example:"20"`
	} `yaml:"accuracy"`
	Distance struct {
		Tokens config.Count `yaml:"tokens" default:"2Ki" min:"128" unit:"tokens" doc:"How long the text is." example:"8Ki"`
		Forced int          `yaml:"forced" default:"32" min:"1" max:"10000" unit:"tokens" doc:"At how many tokens at its end the logits are compared." example:"64"`
	} `yaml:"distance"`
}

// The measures.
const (
	Prefill  = "prefill"
	Decode   = "decode"
	Memory   = "memory"
	Moved    = "moved"
	Hidden   = "hidden"
	Longest  = "longest"
	Accuracy = "accuracy"
	Distance = "distance"
)

// Measures lists all that there are; those before Longest come of timing rows at contexts.
func Measures() []string {
	return []string{Prefill, Decode, Memory, Moved, Hidden, Longest, Accuracy, Distance}
}

// Keys of a matrix that are not Options.
const (
	keySet  = "set"
	keyAxes = "axes"
	keyRows = "rows"
)

// Matrix is a checked file.
type Matrix struct {
	File string
	Options
	Contexts, Fill []int // tokens, as written
	Rows           []Row // the axes' combinations, the last axis turning fastest, and then those by name
}

// Row is one pipeline to measure.
type Row struct {
	Name     string
	Base     string
	Axes     []Setting // of a combination; nil for a row by name
	Set      []Setting // of its own, for a row by name
	Pipeline *config.Pipeline
	Key      string // as Host.Key says
	Line     int

	read func(sets []string) (*config.Pipeline, error)
}

// With reads the row's pipeline with more options set, for which those of the command
// line still count more. It must still pass Host.Check.
func (r Row) With(sets ...string) (*config.Pipeline, error) { return r.read(sets) }

// Setting is an option's path, as --set has it, and its value as written.
type Setting struct {
	Path  string `json:"option"`
	Value string `json:"value"`
}

// Value returns that of one of the row's axes; ok is false if it has no such axis.
func (r Row) Value(path string) (value string, ok bool) {
	for _, s := range r.Axes {
		if s.Path == path {
			return s.Value, true
		}
	}
	return "", false
}

// Wants reports whether the matrix has a measure.
func (m *Matrix) Wants(measure string) bool {
	for _, have := range m.Measures {
		if have == measure {
			return true
		}
	}
	return false
}

// Times reports whether rows are timed at contexts.
func (m *Matrix) Times() bool {
	for _, measure := range m.Measures {
		if measure != Longest && measure != Accuracy && measure != Distance {
			return true
		}
	}
	return false
}

// Host is what a matrix needs to know of pipelines.
type Host struct {
	Vocabulary config.Vocabulary
	// Base returns a pipeline that a matrix starts from, and what errors call it. matrix is the matrix's file.
	Base func(matrix, name string) (file string, src []byte, err error)
	// Check says what in a pipeline does not fit together: config.Problems, or nil.
	Check func(*config.Pipeline) error
	// Key is the same for two pipelines that measure the same.
	Key func(*config.Pipeline) string
	// Tasks are those that accuracy may ask.
	Tasks []string
	// Sets are overrides of a command line, for every row.
	Sets []string
	Env  func(string) (string, bool)
}

// Looks reports whether a file is meant to be a matrix, by its top keys: it has some of a matrix's and none of a pipeline's
// levels.
func Looks(src []byte) bool {
	root, problems := config.ParseNode("", src, func(string) (string, bool) { return "0", true })
	if len(problems) > 0 {
		return looksBroken(string(src))
	}
	ours := false
	pairs, _ := root.Pairs()
	for _, p := range pairs {
		switch p.Key {
		case string(config.Documents), string(config.Heads):
			return false
		case "base", keyAxes, keyRows, "contexts", "fill", "measures", "repeats":
			ours = true
		}
	}
	return ours
}

// looksBroken is Looks for a text that is no YAML: by how its lines begin.
func looksBroken(text string) bool {
	ours := false
	for line := range strings.Lines(text) {
		key, _, _ := strings.Cut(line, ":")
		switch key {
		case string(config.Documents), string(config.Heads):
			return false
		case "base", keyAxes, keyRows, "contexts", "measures":
			ours = true
		}
	}
	return ours
}
