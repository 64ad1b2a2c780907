package stages

import (
	"context"
	"errors"
	"fmt"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/journal"
	"headinfer/stages/storage"
	"headinfer/stages/table"
)

type readCSVOptions struct {
	Path      []string      `yaml:"path" default:"[]" doc:"Files of comma-separated values in UTF-8, patterns with * and **, s3://BUCKET/KEY, or - for standard input. What ends in .gz or .zst is decompressed." example:"[\"tickets/*.csv\"]"`
	Separator string        `yaml:"separator" default:"" doc:"The character between fields; if empty, a tab in files called .tsv and a comma in others." example:";"`
	Header    bool          `yaml:"header" default:"true" doc:"The first record of each file has the names of the columns; without, they are called 1, 2, 3 and so on." example:"false"`
	MaxRecord config.Bytes  `yaml:"max_record" default:"256MiB" min:"1" doc:"Longest record; a longer one goes to the dead letters." example:"1GiB"`
	Columns   columnOptions `yaml:"columns"`
}

// Check refuses options without a path, a separator that cannot be one, and
// columns that are two things.
func (o *readCSVOptions) Check() []config.OptionError {
	bad := append(checkPaths("path", o.Path, "path: tickets.csv"), o.Columns.check()...)
	if s := o.Separator; len(s) > 1 || s == `"` || s == "\n" || s == "\r" {
		bad = append(bad, config.OptionError{Option: "separator", What: fmt.Sprintf("is %q", s), Want: `one ASCII character, such as ";" or "\t"`})
	}
	return bad
}

func (o *readCSVOptions) reads() []string { return o.Path }

func (o *readCSVOptions) inputs() ([]journal.Fact, error) { return recordInputs(o.Path) }

func newReadCSV(_ *Engine, o *readCSVOptions) (graph.Source[*Document], error) {
	found, err := recordPaths(o.Path, true)
	if err != nil {
		return nil, err
	}
	return &records{found, &o.Columns, func(ctx context.Context, path string) (table.Reader, func() error, error) {
		in, err := storage.Open(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		separator := byte(',')
		if storage.Extension(path) == ".tsv" {
			separator = '\t'
		}
		if o.Separator != "" {
			separator = o.Separator[0]
		}
		rows, err := table.CSV(in, table.CSVOptions{Separator: separator, Header: o.Header, Limit: int(o.MaxRecord)})
		if err != nil {
			return nil, nil, errors.Join(err, in.Close())
		}
		return rows, in.Close, nil
	}}, nil
}
