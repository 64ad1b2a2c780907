package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zeebo/xxh3"

	"headinfer/config"
	"headinfer/config/matrix"
	"headinfer/eval"
	"headinfer/graph"
	"headinfer/pipelines"
	"headinfer/stages"
)

// carried begins the name that errors give to a file that the program carries.
const carried = "matrix "

// readMatrix returns a matrix's file: that at a path, or one that the program carries.
func readMatrix(name string) (file string, src []byte, err error) {
	src, err = os.ReadFile(name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) || isPath(name) {
		return name, src, usage(err)
	}
	if src, err = pipelines.ReadAblation(name); err == nil {
		return carried + name, src, nil
	}
	hint := ""
	if near := config.Nearest(name, pipelines.Ablations()); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return "", nil, usage(fmt.Errorf("%s: there is no such file, and no matrix of that name; there are %s%s",
		name, strings.Join(pipelines.Ablations(), ", "), hint))
}

// isPath says whether a name is that of a file, not of what the program carries.
func isPath(name string) bool {
	return strings.ContainsAny(name, `/\`) || filepath.Ext(name) != ""
}

// loadMatrix checks a matrix, with overrides for all of its rows.
func loadMatrix(file string, src []byte, sets []string) (*matrix.Matrix, error) {
	registry, err := stages.Registry()
	if err != nil {
		return nil, err
	}
	m, err := matrix.Load(file, src, matrix.Host{
		Vocabulary: registry, Base: baseOf, Sets: sets, Env: os.LookupEnv, Tasks: ownTasks(),
		Key: func(p *config.Pipeline) string { return keyOf(registry, p) },
		Check: func(p *config.Pipeline) error {
			_, _, err := stages.Graphs(registry, p)
			return err
		},
	})
	return m, usage(err)
}

// ownTasks are those that need no file.
func ownTasks() []string {
	var names []string
	for _, t := range eval.Tasks() {
		if t.Data == "" {
			names = append(names, t.Name)
		}
	}
	return names
}

// baseOf returns the pipeline that rows start from.
func baseOf(file, name string) (string, []byte, error) {
	if !isPath(name) {
		src, err := pipelines.Read(name)
		if err == nil {
			return "method " + name, src, nil
		}
		hint := ""
		if near := config.Nearest(name, pipelines.Names()); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return "", nil, fmt.Errorf("no method %q; there are %s, or the path of a pipeline file%s", name, strings.Join(pipelines.Names(), ", "), hint)
	}
	if !filepath.IsAbs(name) && !strings.HasPrefix(file, carried) {
		name = filepath.Join(filepath.Dir(file), name)
	}
	src, err := os.ReadFile(name)
	return name, src, err
}

// keyOf is the same for pipelines that measure the same: sources and sinks do not count.
func keyOf(registry *graph.Registry, p *config.Pipeline) string {
	what := []any{p.Model, p.Device}
	for _, level := range [][]config.Entry{p.Documents, p.Heads} {
		for _, e := range level {
			if spec, ok := registry.Spec(config.Documents, e.Stage); ok && (spec.In == nil || spec.Out == nil) {
				continue
			}
			what = append(what, e.Stage, e.Options)
		}
	}
	// Options are plain values, which JSON takes.
	text, _ := json.Marshal(what)
	return fmt.Sprintf("%016x", xxh3.Hash(text))
}
