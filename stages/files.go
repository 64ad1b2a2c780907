package stages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"headinfer/config"
	"headinfer/graph"
)

type filesOptions struct {
	Paths    []string `yaml:"paths" default:"[]" doc:"Files, or patterns with * and ?, read in the order of their names." example:"[\"notes/*.txt\"]"`
	Question string   `yaml:"question" default:"" doc:"The question about files that have none of their own. A file's own stands beside it: notes/a.question for notes/a.txt." example:"What is the access code?"`
}

// Check refuses a list without paths, and patterns that cannot be read.
func (o *filesOptions) Check() []config.OptionError {
	if len(o.Paths) == 0 {
		return []config.OptionError{{Option: "paths", What: "is empty", Want: "at least one file or pattern, such as paths: [\"notes/*.txt\"]"}}
	}
	var bad []config.OptionError
	for _, pattern := range o.Paths {
		if _, err := filepath.Match(pattern, ""); err != nil {
			bad = append(bad, config.OptionError{Option: "paths", What: fmt.Sprintf("has the pattern %q: %v", pattern, err), Want: "a [ to be closed, or written \\[ if a file's name has it"})
		}
	}
	return bad
}

type files struct {
	paths    []string
	question string
}

func newFiles(_ *Engine, o *filesOptions) (graph.Source[*Document], error) {
	paths, err := expand(o.Paths)
	if err != nil {
		return nil, err
	}
	return &files{paths, o.Question}, nil
}

// Produce reads the files one by one.
func (f *files) Produce(ctx context.Context, emit func(*Document) error) error {
	for _, path := range f.paths {
		doc, err := f.read(path)
		if err != nil {
			if err := graph.Drop(ctx, &graph.DocumentError{ID: path, Err: err}); err != nil {
				return err
			}
			continue
		}
		if err := emit(doc); err != nil {
			return err
		}
	}
	return nil
}

// expand resolves patterns to files, each once.
func expand(patterns []string) ([]string, error) {
	var all []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("option paths: no file matches %q, seen from the directory where headinfer was started", pattern)
		}
		all = append(all, found...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (f *files) read(path string) (*Document, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := CheckText(text); err != nil {
		return nil, err
	}
	doc := &Document{ID: path, Text: string(text), Question: f.question}
	question, err := os.ReadFile(strings.TrimSuffix(path, filepath.Ext(path)) + ".question")
	switch {
	case err == nil:
		doc.Question = strings.TrimSpace(string(question))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return doc, nil
}

// CheckText refuses what no model should be asked to read: text that is empty
// but for white space, or not UTF-8. The error names the byte.
func CheckText(text []byte) error {
	if len(strings.TrimSpace(string(text))) == 0 {
		return errors.New("the document is empty")
	}
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n == 1 {
			return fmt.Errorf("byte %d is not valid UTF-8; convert the document first", at)
		}
		at += n
	}
	return nil
}
