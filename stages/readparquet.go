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

type readParquetOptions struct {
	Path     []string      `yaml:"path" default:"[]" doc:"Parquet files, patterns with * and **, or s3://BUCKET/KEY. Row groups are read in parts, and only the columns that are kept." example:"[\"s3://corpus/part-*.parquet\"]"`
	MaxBatch config.Bytes  `yaml:"max_batch" default:"1GiB" min:"1" doc:"Most bytes of a column in one part of a row group; a file that asks for more is damaged, and its rest goes to the dead letters." example:"4GiB"`
	Columns  columnOptions `yaml:"columns"`
}

// Check refuses options without a path, files that are compressed once more,
// and columns that are two things.
func (o *readParquetOptions) Check() []config.OptionError {
	bad := append(checkPaths("path", o.Path, "path: part.parquet"), o.Columns.check()...)
	for _, path := range o.Path {
		if storage.Compression(path) != "" || path == storage.Standard {
			bad = append(bad, config.OptionError{Option: "path", What: fmt.Sprintf("has %q", path), Want: "files that are not compressed as a whole: Parquet is read from several places, and compresses by itself"})
		}
	}
	return bad
}

func (o *readParquetOptions) reads() []string { return o.Path }

func (o *readParquetOptions) inputs() ([]journal.Fact, error) { return recordInputs(o.Path) }

// Bytes read at a time: of a file, and of an object, where each read is a
// request.
const (
	fileBlock   = 1 << 20
	objectBlock = 8 << 20
)

func newReadParquet(_ *Engine, o *readParquetOptions) (graph.Source[*Document], error) {
	found, err := recordPaths(o.Path, false)
	if err != nil {
		return nil, err
	}
	return &records{found, &o.Columns, func(ctx context.Context, path string) (table.Reader, func() error, error) {
		in, err := storage.OpenAt(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		block := int64(fileBlock)
		if storage.IsObject(path) {
			block = objectBlock
		}
		rows, err := table.Parquet(ctx, in, in.Size(), table.ParquetOptions{Columns: o.Columns.names(), Limit: int64(o.MaxBatch), Block: block})
		if err != nil {
			return nil, nil, errors.Join(err, in.Close())
		}
		return rows, in.Close, nil
	}}, nil
}
