package stages

import (
	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/journal"
	"headinfer/stages/table"
)

type csvOptions struct {
	Path  string `yaml:"path" default:"out/answers.csv" doc:"The file to write, or s3://BUCKET/KEY. With .gz or .zst at its end it is compressed. It is made when the run is complete; until then the answers are in PATH.partial, and a run that was cut short is gone on with." example:"out/answers.csv.gz"`
	State string `yaml:"state" default:"" doc:"For s3://, the local path beside which the answers and the state of the run are kept; by default, out/BUCKET/KEY." example:"out/answers.csv"`
	Order string `yaml:"order" default:"completion" enum:"completion,input" doc:"The order of the rows: as the answers were completed, or as their documents were read." example:"input"`
}

// Check refuses paths that cannot be written to.
func (o *csvOptions) Check() []config.OptionError {
	return checkOutput(o.Path, o.State, "answers.csv")
}

func (o *csvOptions) output() (path string, journaled bool) { return localPath(o.Path, o.State), true }

func (o *csvOptions) journal() journal.Options { return journalOf(o.Path, o.Order, "csv") }

func (o *csvOptions) writes() string { return o.Path }

func newCSV(e *Engine, o *csvOptions) (graph.Sink[*Answer], error) {
	return newTableSink(e, o, o.Path, table.NewCSV)
}
