package stages

import (
	"context"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/journal"
	"headinfer/stages/storage"
	"headinfer/stages/table"
)

type readJSONLOptions struct {
	Path    []string      `yaml:"path" default:"[]" doc:"Files with a JSON object a line, patterns with * and **, s3://BUCKET/KEY, or - for standard input. What ends in .gz or .zst is decompressed. Fields beside those of columns are there for prompts as {{.Fields.name}}." example:"questions.jsonl"`
	MaxLine config.Bytes  `yaml:"max_line" default:"256MiB" min:"1" doc:"Longest line; a longer one goes to the dead letters." example:"1GiB"`
	Columns columnOptions `yaml:"columns"`
}

// Check refuses options without a path, and columns that are two things.
func (o *readJSONLOptions) Check() []config.OptionError {
	if len(o.Path) == 0 || len(o.Path) == 1 && o.Path[0] == "" {
		return []config.OptionError{{Option: "path", What: "is empty", Want: "a file with a JSON object a line, such as path: questions.jsonl"}}
	}
	return append(checkPaths("path", o.Path, "path: questions.jsonl"), o.Columns.check()...)
}

func (o *readJSONLOptions) reads() []string { return o.Path }

func (o *readJSONLOptions) inputs() ([]journal.Fact, error) { return recordInputs(o.Path) }

func newReadJSONL(_ *Engine, o *readJSONLOptions) (graph.Source[*Document], error) {
	found, err := recordPaths(o.Path, true)
	if err != nil {
		return nil, err
	}
	return &records{found, &o.Columns, func(ctx context.Context, path string) (table.Reader, func() error, error) {
		in, err := storage.Open(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		return table.JSONLines(in, int(o.MaxLine), o.Columns.ID), in.Close, nil
	}}, nil
}
