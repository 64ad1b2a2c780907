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
			"Reads text files, each a document.", newFiles),
		graph.NewSource[*Engine, *Document](config.Documents, "read-jsonl",
			"Reads documents from a file with a JSON object a line.", newReadJSONL),
		graph.NewSource[*Engine, *Document](config.Documents, "task",
			"Makes texts with questions whose answers are known; answers to them have a score.", newTask),
		graph.NewStage[*Engine, *Document, *Prompt](config.Documents, "tokenize",
			"Fills each document into a prompt and turns it into the model's tokens.", newTokenize),
		graph.NewStage[*Engine, *Prompt, *Prefilled](config.Documents, "chunked-prefill",
			"Reads each prompt with the model, a chunk of tokens at a time, leaving its keys and values in the cache.", newPrefill),
		graph.NewStage[*Engine, *Prefilled, *Answer](config.Documents, "decode",
			"Writes each answer, token by token.", newDecode),
		graph.NewSink[*Engine, *Answer](config.Documents, "jsonl",
			"Writes answers to a file, a JSON object a line.", newJSONL),
	}, headSpecs()...)
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
