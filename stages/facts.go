package stages

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"headinfer/config"
	"headinfer/model"
	"headinfer/stages/journal"
)

// outputOptions are options of a sink that writes to a path, beside which it
// may keep a journal.
type outputOptions interface {
	output() (path string, journaled bool)
	// journal is what its journal is told of the output.
	journal() journal.Options
}

// inputOptions are options of a source that reads files.
type inputOptions interface {
	// inputs are the files that it would read now; see fileFact.
	inputs() ([]journal.Fact, error)
}

// alike are the options that change no answer, by stage. All others are facts of a
// run: a new option is one until it stands here.
var alike = map[string][]string{
	"files":           {"paths", "max_file"}, // of paths, what is read: each file is a fact
	"read-jsonl":      {"path", "max_line"},
	"read-csv":        {"path", "max_record"},
	"read-parquet":    {"path", "max_batch"},
	"read-arrow":      {"path", "max_batch"},
	"tee":             {"path"},
	"chunked-prefill": {"chunk", "batch", "snapshot"}, // chunk in a pipeline that is exact, batch unless products are rounded
	"prefetch":        {"slots", "overlap", "ahead"},
	"attention":       {"group", "span"},
	"offload":         {"to", "pinned", "write"},
}

// answersAlike reports whether an option, or the group that it is in, changes no
// answer.
func answersAlike(stage, option string) bool {
	group, _, _ := strings.Cut(option, ".")
	return slices.Contains(alike[stage], option) || slices.Contains(alike[stage], group)
}

// Facts are what the answers of a pipeline depend on, but for the model: the
// documents' stages with their options, the heads' options that make answers
// inexact, the device's if it does, and the files that are read. Where the cache lies,
// on what device and in what pieces is left out, and so are the sinks.
func Facts(p *config.Pipeline) ([]journal.Fact, error) {
	lossy := lossyOptions(p.Heads)
	rounds := p.Device.Products == "bf16"
	if rounds {
		lossy = append(lossy, journal.Fact{Name: "device.products", Value: p.Device.Products})
	}
	var facts []journal.Fact
	var chain []string
	for _, e := range p.Documents {
		if _, ok := e.Options.(outputOptions); ok {
			continue
		}
		name := e.ID
		if e.ID != e.Stage {
			name += " (" + e.Stage + ")"
		}
		if e.From != "" {
			name += " from " + e.From
		}
		chain = append(chain, name)
		for _, o := range optionTexts(e.Options) {
			// Whether products are rounded depends on a pass's rows, those of all texts in it.
			matters := o.name == "chunk" && len(lossy) > 0 || o.name == "batch" && rounds
			if !answersAlike(e.Stage, o.name) || matters {
				facts = append(facts, journal.Fact{Name: "documents." + e.ID + "." + o.name, Value: o.value})
			}
		}
		in, ok := e.Options.(inputOptions)
		if !ok {
			continue
		}
		files, err := in.inputs()
		if err != nil {
			return nil, fmt.Errorf("%s:%v: stage %q: %w", p.File, e.Pos, e.ID, err)
		}
		if slices.ContainsFunc(p.Documents, renames) {
			for i := range files {
				files[i].Key = "" // nobody knows what its record is called
			}
		}
		facts = append(facts, files...)
	}
	facts = append(facts, journal.Fact{Name: "documents", Value: strings.Join(chain, ", ")})
	return once(append(facts, lossy...)), nil
}

// renames reports whether a stage gives documents other ids.
func renames(e config.Entry) bool {
	o, ok := e.Options.(*mapOptions)
	return ok && o.ID != ""
}

// Ways says which outputs the answers go to of what a stage makes of documents: the
// paths of those that have a journal, by the stage's options.
func Ways(p *config.Pipeline) map[any][]string {
	ways := map[any][]string{}
	for _, e := range p.Documents {
		if _, ok := e.Options.(*tokenizeOptions); ok {
			ways[e.Options] = []string{}
		}
	}
	above := map[string]config.Entry{}
	for _, e := range p.Documents {
		above[e.ID] = e
		o, ok := e.Options.(outputOptions)
		if !ok {
			continue
		}
		path, journaled := o.output()
		for at := e; journaled && at.From != ""; {
			at = above[at.From]
			if _, ok := ways[at.Options]; ok {
				ways[at.Options] = append(ways[at.Options], path)
			}
		}
	}
	return ways
}

// once leaves out the files that an earlier source reads too.
func once(facts []journal.Fact) []journal.Fact {
	seen := map[string]bool{}
	return slices.DeleteFunc(facts, func(f journal.Fact) bool {
		again := seen[f.Name]
		seen[f.Name] = true
		return again
	})
}

// lossyOptions are those of the heads level that make answers inexact.
func lossyOptions(entries []config.Entry) []journal.Fact {
	var facts []journal.Fact
	for _, e := range entries {
		switch o := e.Options.(type) {
		case *attentionOptions:
			if o.Recent.Is("all") {
				continue
			}
		case *offloadOptions:
			if o.DType == "same" && o.Heavy.Is("none") {
				continue
			}
		default:
			continue
		}
		for _, o := range optionTexts(e.Options) {
			if !answersAlike(e.Stage, o.name) {
				facts = append(facts, journal.Fact{Name: "heads." + e.ID + "." + o.name, Value: o.value})
			}
		}
	}
	return facts
}

// ModelFact says which model it is, by what is in its files.
func ModelFact(c *model.Checkpoint) (journal.Fact, error) {
	print, err := c.Fingerprint()
	return journal.Fact{Name: "model", Value: print}, err
}

// optionText is an option as a person would write it.
type optionText struct{ name, value string }

func optionTexts(options any) []optionText {
	v := reflect.ValueOf(options)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil // a stage without options
	}
	return fieldTexts(v.Elem(), "")
}

func fieldTexts(v reflect.Value, prefix string) []optionText {
	var all []optionText
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("yaml")
		if name == "-" || name == "" {
			continue
		}
		switch value := v.Field(i).Interface().(type) {
		case string:
			all = append(all, optionText{prefix + name, fmt.Sprintf("%q", value)})
		case []string:
			all = append(all, optionText{prefix + name, fmt.Sprintf("%q", value)})
		case fmt.Stringer:
			all = append(all, optionText{prefix + name, value.String()})
		default:
			if v.Field(i).Kind() == reflect.Struct {
				all = append(all, fieldTexts(v.Field(i), prefix+name+".")...)
				continue
			}
			all = append(all, optionText{prefix + name, fmt.Sprint(value)})
		}
	}
	return all
}

// passing is an input that is another each time it is read, such as a pipe.
func passing(path string) journal.Fact {
	return journal.Fact{Name: "input " + filepath.ToSlash(path), Input: true, Passing: true}
}

// Output is where a pipeline's answers go.
type Output struct {
	ID        string // the stage's
	Path      string
	Journaled bool // there is a journal beside it
	journal   journal.Options
}

// Look says what a run with some journal options would find of an output.
func (o Output) Look(opt journal.Options) (journal.Standing, error) {
	opt.Form, opt.Elsewhere = o.journal.Form, o.journal.Elsewhere
	return journal.Look(o.Path, opt)
}

// Outputs lists where a pipeline's answers go.
func Outputs(p *config.Pipeline) []Output {
	var all []Output
	for _, e := range p.Documents {
		if o, ok := e.Options.(outputOptions); ok {
			path, journaled := o.output()
			all = append(all, Output{e.ID, path, journaled, o.journal()})
		}
	}
	return all
}
