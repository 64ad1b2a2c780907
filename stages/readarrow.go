package stages

import (
	"context"
	"errors"
	"os"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/journal"
	"headinfer/stages/storage"
	"headinfer/stages/table"
)

type readArrowOptions struct {
	Path     []string      `yaml:"path" default:"[]" doc:"Files of Arrow IPC (Feather's second version) or streams in files, patterns with * and **, s3://BUCKET/KEY, or - for standard input. What ends in .gz or .zst is decompressed. They are read a record batch at a time." example:"[\"part-*.arrow\"]"`
	MaxBatch config.Bytes  `yaml:"max_batch" default:"1GiB" min:"1" doc:"Largest record batch; the rest of a file with a larger one goes to the dead letters." example:"4GiB"`
	Columns  columnOptions `yaml:"columns"`
}

// Check refuses options without a path, and columns that are two things.
func (o *readArrowOptions) Check() []config.OptionError {
	return append(checkPaths("path", o.Path, "path: part.arrow"), o.Columns.check()...)
}

func (o *readArrowOptions) reads() []string { return o.Path }

func (o *readArrowOptions) inputs() ([]journal.Fact, error) { return recordInputs(o.Path) }

func newReadArrow(_ *Engine, o *readArrowOptions) (graph.Source[*Document], error) {
	found, err := recordPaths(o.Path, true)
	if err != nil {
		return nil, err
	}
	return &records{found, &o.Columns, func(ctx context.Context, path string) (table.Reader, func() error, error) {
		if seekable(path) {
			in, err := storage.OpenAt(ctx, path)
			if err != nil {
				return nil, nil, err
			}
			rows, err := table.ArrowFile(in, in.Size(), int64(o.MaxBatch))
			if err != nil {
				return nil, nil, errors.Join(err, in.Close())
			}
			return rows, in.Close, nil
		}
		in, err := storage.Open(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		rows, err := table.Arrow(in, int64(o.MaxBatch))
		if err != nil {
			return nil, nil, errors.Join(err, in.Close())
		}
		return rows, in.Close, nil
	}}, nil
}

// seekable reports whether a path is read at any place, and not only from its
// beginning.
func seekable(path string) bool {
	if path == storage.Standard || storage.Compression(path) != "" {
		return false
	}
	if storage.IsObject(path) {
		return true
	}
	info, err := os.Stat(path)
	return err != nil || info.Mode().IsRegular() // who opens it says what is wrong
}
