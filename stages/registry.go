package stages

import (
	"errors"

	"headinfer/config"
	"headinfer/graph"
)

// Specs lists every stage of both levels.
func Specs() []graph.Spec {
	return append([]graph.Spec{
		graph.NewSource[*Engine, *Document](config.Documents, "files",
			"Reads text and HTML files, each a document.", newFiles),
		graph.NewSource[*Engine, *Document](config.Documents, "read-jsonl",
			"Reads documents from files with a JSON object a line.", newReadJSONL),
		graph.NewSource[*Engine, *Document](config.Documents, "read-csv",
			"Reads documents from files of comma-separated values.", newReadCSV),
		graph.NewSource[*Engine, *Document](config.Documents, "read-parquet",
			"Reads documents from Parquet files.", newReadParquet),
		graph.NewSource[*Engine, *Document](config.Documents, "read-arrow",
			"Reads documents from files and streams of Arrow IPC.", newReadArrow),
		graph.NewSource[*Engine, *Document](config.Documents, "task",
			"Makes texts with questions whose answers are known; answers to them have a score.", newTask),
		graph.NewStage[*Engine, *Document, *Document](config.Documents, "filter",
			"Keeps the documents for which all its conditions hold.", newFilter),
		graph.NewStage[*Engine, *Document, *Document](config.Documents, "map",
			"Makes new texts, questions, ids and fields of each document's.", newMap),
		graph.NewStage[*Engine, *Document, *Document](config.Documents, "split",
			"Makes overlapping windows of long documents.", newSplit),
		graph.NewStage[*Engine, *Document, *Document](config.Documents, "tee",
			"Writes each document to a file, and gives it on.", newTee),
		graph.NewStage[*Engine, *Document, *Prompt](config.Documents, "tokenize",
			"Fills each document into a prompt and turns it into the model's tokens.", newTokenize),
		graph.NewBatcher[*Engine, *Prompt, *Prefilled](config.Documents, "chunked-prefill",
			"Reads prompts with the model, a chunk of tokens at a time, leaving their keys and values in the cache. Short prompts share chunks; what several questions about a document have in common is read once.", newPrefill),
		graph.NewBatcher[*Engine, *Prefilled, *Answer](config.Documents, "decode",
			"Writes the answers of the texts in flight together, a token of each at a time.", newDecode),
		graph.NewSink[*Engine, *Answer](config.Documents, "jsonl",
			"Writes answers to a file, a JSON object a line.", newJSONL),
		graph.NewSink[*Engine, *Answer](config.Documents, "csv",
			"Writes answers to a file of comma-separated values.", newCSV),
		graph.NewSink[*Engine, *Answer](config.Documents, "parquet",
			"Writes answers to a Parquet file.", newParquet),
		graph.NewSink[*Engine, *Answer](config.Documents, "arrow",
			"Writes answers to a file of Arrow IPC.", newArrow),
		graph.NewSink[*Engine, *Answer](config.Documents, "directory",
			"Writes each answer to a file of its own.", newDirectory),
	}, append(natsSpecs(), headSpecs()...)...)
}

// Registry returns the stages that pipeline files can name.
func Registry() (*graph.Registry, error) { return graph.NewRegistry(Specs()...) }

// Graphs checks both levels of a pipeline. The error is config.Problems.
func Graphs(r *graph.Registry, p *config.Pipeline) (documents, heads *graph.Graph, err error) {
	documents, docErr := r.Check(p, config.Documents, graph.Ends{})
	heads, headErr := r.Check(p, config.Heads, headEnds())
	if problems := collect(docErr, headErr, rules(p)); len(problems) > 0 {
		return nil, nil, problems
	}
	return documents, heads, nil
}

// collect joins the problems of both levels.
func collect(errs ...error) config.Problems {
	var all config.Problems
	for _, err := range errs {
		if problems := (config.Problems)(nil); errors.As(err, &problems) {
			all = append(all, problems...)
		} else if err != nil {
			all = append(all, config.Problem{What: err.Error()})
		}
	}
	all.Sort()
	return all
}
