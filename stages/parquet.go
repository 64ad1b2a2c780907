package stages

import (
	"io"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/journal"
	"headinfer/stages/storage"
	"headinfer/stages/table"
)

type parquetOptions struct {
	Path        string `yaml:"path" default:"out/answers.parquet" doc:"The file to write, or s3://BUCKET/KEY. Rows are written in groups. It is made when the run is complete; until then the answers are in PATH.partial, and a run that was cut short is gone on with." example:"s3://corpus/answers.parquet"`
	State       string `yaml:"state" default:"" doc:"For s3://, the local path beside which the answers and the state of the run are kept; by default, out/BUCKET/KEY." example:"out/answers.parquet"`
	Order       string `yaml:"order" default:"completion" enum:"completion,input" doc:"The order of the rows: as the answers were completed, or as their documents were read." example:"input"`
	Compression string `yaml:"compression" default:"zstd" enum:"none,snappy,gzip,zstd" doc:"How the columns are compressed." example:"snappy"`
}

// Check refuses paths that cannot be written to.
func (o *parquetOptions) Check() []config.OptionError {
	if storage.Compression(o.Path) != "" {
		return []config.OptionError{{Option: "path", What: "is " + o.Path, Want: "a name without .gz or .zst: Parquet compresses by itself, see compression"}}
	}
	return checkOutput(o.Path, o.State, "answers.parquet")
}

func (o *parquetOptions) output() (path string, journaled bool) {
	return localPath(o.Path, o.State), true
}

func (o *parquetOptions) journal() journal.Options {
	return journalOf(o.Path, o.Order, "parquet, "+o.Compression)
}

func (o *parquetOptions) writes() string { return o.Path }

func newParquet(e *Engine, o *parquetOptions) (graph.Sink[*Answer], error) {
	return newTableSink(e, o, o.Path, func(w io.Writer, columns []table.Column) (table.Writer, error) {
		return table.NewParquet(w, columns, o.Compression)
	})
}
