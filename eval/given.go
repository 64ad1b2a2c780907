package eval

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Given says whether a task's texts are those of a file, which [Read] reads, and not made by a [Generator].
func (t Task) Given() bool { return t.questions != nil }

// Read reads the questions of a file, in its order, for a task whose texts are given: JSON in UTF-8, an array of
// records or a record a line. The samples' Tokens and Real are 0: they are for those to count who know the tokenizer.
// The error names the file, the record, the field, what it is, and what was expected.
func Read(t Task, path string) ([]Sample, error) {
	if !t.Given() {
		return nil, fmt.Errorf("eval: the texts of task %q are not read from a file; take Generator.Sample", t.Name)
	}
	text, file, err := openData(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	all, err := parseGiven(t, text)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", t.Name, path, err)
	}
	return all, nil
}

// parseGiven reads the questions of all records.
func parseGiven(t Task, text io.Reader) ([]Sample, error) {
	var all []Sample
	if err := eachRecord(text, func(r record) error {
		some, err := t.questions(t, r)
		all = append(all, some...)
		return err
	}); err != nil {
		return nil, err
	}
	return all, nil
}

// FindGiven returns the task that a file of questions is for. name is a task's, or scbench, for which the name of the
// file says which of SCBench's tasks it holds: scbench_kv.jsonl. The error says what there is; of a task of
// SCBench's that is not scored here, why.
func FindGiven(name, path string) (Task, error) {
	if name == SCBench {
		return scBenchFile(path)
	}
	if why, ok := unscored[strings.TrimPrefix(name, scPrefix)]; ok && strings.HasPrefix(name, scPrefix) {
		return Task{}, fmt.Errorf("%s is not scored here: %s; there are %s", name, why, strings.Join(scNames(), ", "))
	}
	t, ok := Find(name)
	if !ok || t.Data == "" {
		return Task{}, fmt.Errorf("no task %q takes a file; there are %s", name, strings.Join(dataNames(), ", "))
	}
	return t, nil
}

// dataNames lists what a file may be named for.
func dataNames() []string {
	var names []string
	for _, t := range Tasks() {
		if t.Data != "" {
			names = append(names, t.Name)
		}
	}
	at := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(name, scPrefix) })
	return slices.Insert(names, at, SCBench)
}
