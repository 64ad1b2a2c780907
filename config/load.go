package config

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Level is one of the two lists of stages.
type Level string

// The two levels of dataflow: what a document goes through, and what each head group of a layer goes through.
const (
	Documents Level = "documents"
	Heads     Level = "heads"
)

const (
	keyModel  = "model"
	keyDevice = "device"
	keyID     = "id"
	keyFrom   = "from"
)

var topKeys = []string{keyModel, keyDevice, string(Documents), string(Heads)}

// ModelOptions says which model runs.
type ModelOptions struct {
	Path string `yaml:"path" default:"builtin" doc:"The model: builtin for the one that the program carries, a directory with config.json, tokenizer.json and safetensors, a .gguf file, hf:OWNER/NAME[@REVISION][:FILE.gguf] for one of a Hugging Face hub (see headinfer pull), or, for measuring, random: and a shape (llama-3-8b, llama-3-70b, llama-3.2-1b, llama-2-7b, mistral-7b, qwen2-7b, gemma-2-9b, tiny, or the path of a config.json), with ?dtype=q4_k or another encoding of its weights." example:"models/llama"`
}

// DeviceOptions says what it runs on.
type DeviceOptions struct {
	Kind   string `yaml:"kind" default:"auto" doc:"What computes; auto is the best there is in this build." example:"cpu" enum:"auto,cpu,cuda"`
	Memory Bytes  `yaml:"memory" default:"2GiB" doc:"Budget of device memory; an allocation past it is refused." example:"16GiB" min:"1"`
	// HostMemory bounds the caches that lie on the host.
	HostMemory Bytes  `yaml:"host_memory" default:"0" doc:"Budget of host memory for keys and values; an allocation past it is refused. 0 is what the machine has free." example:"64GiB"`
	Products   string `yaml:"products" default:"same" enum:"same,bf16" doc:"How a processor multiplies activations with weights. same keeps their float32. bf16 is lossy: in passes of more than 32 tokens they are rounded to bf16 before products with weights in bf16, as llama.cpp and PyTorch do on a processor, in exchange for up to twice the speed of prefill; it needs a processor with AVX512-BF16." example:"bf16"`
}

// Entry is one stage of a level.
type Entry struct {
	Stage string // the stage's name
	ID    string // unique within the level
	From  string // the id that it reads from; "" for a level's first
	// Pos is where the stage's name is; FromPos where `from` is written, or Pos when it is left out.
	Pos, FromPos Position
	// Options is the pointer that Vocabulary.Options gave, filled: defaults, then the file, then overrides.
	Options any

	file   string
	places map[string]place
}

// At returns where an option was written ("outer.inner" in a nested one): Pos for one left to its default, and the zero
// Position for an override.
func (e Entry) At(option string) Position {
	if p, ok := e.places[option]; ok {
		return p.Position
	}
	return e.Pos
}

// Problem makes a Problem about an option of this entry, wherever it was written; an option of "" is the entry itself.
func (e Entry) Problem(option, what, want string) Problem {
	if p, ok := e.places[option]; ok {
		return p.problem(what, want, "")
	}
	return place{e.file, e.Pos}.problem(what, want, "")
}

// Pipeline is a checked pipeline file. Whether the stages fit together is for graph to say.
type Pipeline struct {
	File             string
	Model            ModelOptions
	Device           DeviceOptions
	Documents, Heads []Entry

	places map[string]place
}

// Problem makes a Problem about "model.path", "device.memory" and the like, wherever it was written.
func (p *Pipeline) Problem(option, what, want string) Problem {
	if at, ok := p.places[option]; ok {
		return at.problem(what, want, "")
	}
	return Problem{File: p.File, What: what, Want: want}
}

// Vocabulary says which stages there are.
type Vocabulary interface {
	// Stages returns the names of a level's stages, in the order that errors and docs list them.
	Stages(Level) []string
	// Options returns a pointer to a fresh zero options struct, nil for a stage without options; ok is false for a
	// stage that the level does not have.
	Options(level Level, stage string) (options any, ok bool)
}

// OptionError is what a Check finds: `option "Option" What; expected Want`.
type OptionError struct{ Option, What, Want string }

// Checker is an options struct with rules across its fields. Check runs only when each field alone is right.
type Checker interface{ Check() []OptionError }

// loader gathers the problems of one Load.
type loader struct {
	file     string
	v        Vocabulary
	env      func(string) (string, bool)
	problems Problems
}

func (l *loader) add(at place, what, want, nearest string) {
	l.problems = append(l.problems, at.problem(what, want, nearest))
}

// draft is an entry whose options are not read yet.
type draft struct {
	stage, id string
	known     bool
	at        place
	options   *node
}

// LoadFile reads and checks a pipeline file; see [Load]. Variables come from the process's environment.
func LoadFile(path string, v Vocabulary, sets []string) (*Pipeline, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("pipeline file: %w", err)
	}
	src, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("pipeline file: %w", err)
	}
	return Load(path, src, v, sets, os.LookupEnv)
}

// Load checks src, a pipeline file that errors call file. sets are overrides, "heads.attention.group=1" each, with a stage's id
// in the middle; the last one for an option wins. env looks up a variable; nil means that none is set.
// The error is [Problems] with everything that is wrong; the Pipeline is nil then.
func Load(file string, src []byte, v Vocabulary, sets []string, env func(string) (string, bool)) (*Pipeline, error) {
	return LoadWith(file, src, v, nil, sets, env)
}

// LoadWith is [Load] with overrides from another file, over which sets win.
func LoadWith(file string, src []byte, v Vocabulary, overrides []Override, sets []string, env func(string) (string, bool)) (*Pipeline, error) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	root, problems := parseTree(file, false, src, env)
	if root == nil {
		return nil, problems
	}
	l := &loader{file: file, v: v, env: env, problems: problems}
	pipeline := l.load(root, overrides, sets)
	if len(l.problems) > 0 {
		l.problems.Sort()
		// Among sets, the command line's order: they are found a stage at a time.
		last := l.problems
		for len(last) > 0 && last[0].Line > 0 {
			last = last[1:]
		}
		rank := func(p Problem) int { return slices.Index(sets, strings.TrimPrefix(p.File, setPrefix)) }
		slices.SortStableFunc(last, func(a, b Problem) int { return cmp.Compare(rank(a), rank(b)) })
		return nil, l.problems
	}
	return pipeline, nil
}

func (l *loader) load(root *node, overrides []Override, sets []string) *Pipeline {
	if root.kind == unusable {
		return nil
	}
	if root.kind != mapping {
		l.add(root.at, "the file is "+root.describe(), "a mapping with model, device, documents and heads", "")
		return nil
	}
	for _, p := range root.pairs {
		if !slices.Contains(topKeys, p.key) {
			l.add(p.at, fmt.Sprintf("unknown key %q", clip(p.key)), oneOf(topKeys), Nearest(p.key, topKeys))
		}
	}
	drafts := map[Level][]*draft{}
	for _, level := range []Level{Documents, Heads} {
		drafts[level] = l.draftLevel(level, root.get(string(level)))
	}
	if len(drafts[Documents])+len(drafts[Heads]) == 0 && len(l.problems) == 0 {
		l.add(root.at, "the file names no stage", "a list of stages under documents, heads or both", "")
	}
	top := map[string]*node{keyModel: root.get(keyModel), keyDevice: root.get(keyDevice)}
	for _, o := range overrides {
		l.apply(o, top, drafts)
	}
	l.applySets(sets, top, drafts)

	pipeline := &Pipeline{File: l.file, places: map[string]place{}}
	for _, part := range []struct {
		key     string
		options any
	}{{keyModel, &pipeline.Model}, {keyDevice, &pipeline.Device}} {
		for name, at := range l.decodeOptions(part.options, part.key, top[part.key], root.at) {
			pipeline.places[part.key+"."+name] = at
		}
	}
	pipeline.Documents = l.finishLevel(Documents, drafts[Documents])
	pipeline.Heads = l.finishLevel(Heads, drafts[Heads])
	return pipeline
}

// draftLevel reads the names and ids of a level's list.
func (l *loader) draftLevel(level Level, n *node) []*draft {
	if n == nil || n.kind == nothing || n.kind == unusable {
		return nil
	}
	if n.kind != list {
		l.add(n.at, fmt.Sprintf("%s is %s", level, n.describe()), "a list of stages, each - name: { options }", "")
		return nil
	}
	var drafts []*draft
	first := map[string]place{}
	for _, item := range n.items {
		d := l.draftEntry(level, item)
		if d == nil {
			continue
		}
		if before, taken := first[d.id]; taken && d.id != "" {
			l.add(d.at, fmt.Sprintf("two entries of %s have the id %q, the first on line %d", level, clip(d.id), before.Line),
				fmt.Sprintf("an id of its own, as in - %s: { id: %s-2 }", d.stage, clip(d.id)), "")
		} else {
			first[d.id] = d.at
		}
		drafts = append(drafts, d)
	}
	return drafts
}

// draftEntry reads one list item: `name`, `name:` or `name: { options }`.
func (l *loader) draftEntry(level Level, item *node) *draft {
	d := &draft{at: item.at}
	switch {
	case item.kind == scalar:
		d.stage = item.text
	case item.kind == mapping && len(item.pairs) > 0:
		d.stage, d.at, d.options = item.pairs[0].key, item.pairs[0].at, item.pairs[0].value
		for _, extra := range item.pairs[1:] {
			l.add(extra.at, fmt.Sprintf("%q stands beside the stage %q", clip(extra.key), clip(d.stage)),
				"one stage in a list item, and its options indented further than its name", "")
		}
	case item.kind == unusable:
		return nil
	default:
		l.add(item.at, fmt.Sprintf("a stage that is %s", item.describe()), "- name, or - name: { options }", "")
		return nil
	}
	names := l.v.Stages(level)
	if d.known = slices.Contains(names, d.stage); !d.known {
		what, want := fmt.Sprintf("unknown stage %q", clip(d.stage)), oneOf(names)
		for _, other := range []Level{Documents, Heads} {
			if other != level && slices.Contains(l.v.Stages(other), d.stage) {
				what = fmt.Sprintf("the stage %q belongs to %s, not to %s", d.stage, other, level)
			}
		}
		l.add(d.at, what, want, Nearest(d.stage, names))
	}
	d.id = d.stage
	if id := d.options.get(keyID); id != nil {
		d.id = "" // until a good one is found: no other problem should follow from a bad one
		if id.kind == scalar && isID(id.text) {
			d.id = id.text
		} else if id.kind != unusable {
			l.add(id.at, fmt.Sprintf("the id is %s", id.describe()), "letters, digits, - and _", "")
		}
	}
	return d
}

// finishLevel reads the options of a level's drafts and ties each to the entry that it reads from.
func (l *loader) finishLevel(level Level, drafts []*draft) []Entry {
	ids := make([]string, len(drafts))
	for i, d := range drafts {
		ids[i] = d.id
	}
	entries := make([]Entry, 0, len(drafts))
	for i, d := range drafts {
		e := Entry{Stage: d.stage, ID: d.id, Pos: d.at.Position, FromPos: d.at.Position, file: d.at.file}
		if i > 0 {
			e.From = ids[i-1]
		}
		if from := d.options.get(keyFrom); from != nil {
			e.FromPos = from.at.Position
			e.From = l.readFrom(from, ids, i)
		}
		if d.known {
			options, ok := l.v.Options(level, d.stage)
			if !ok {
				l.add(d.at, fmt.Sprintf("stage %q is listed but has no options struct", d.stage), "a correct program: this is not the file's fault", "")
			}
			e.Options = options
			e.places = l.decodeOptions(options, fmt.Sprintf("stage %q", d.stage), d.options, d.at, keyID, keyFrom)
		}
		entries = append(entries, e)
	}
	return entries
}

// readFrom checks that from names an entry above the i-th.
func (l *loader) readFrom(from *node, ids []string, i int) string {
	above := ids[:i]
	want := "the id of an entry above: " + strings.TrimPrefix(oneOf(above), "one of ")
	if i == 0 {
		want = "no from: a level's first entry reads from nothing"
	}
	switch {
	case from.kind == unusable:
	case from.kind != scalar:
		l.add(from.at, "from is "+from.describe(), want, "")
	case slices.Contains(above, from.text):
	case from.text == ids[i]:
		l.add(from.at, fmt.Sprintf("from: %s is the entry itself", clip(from.text)), want, "")
	case slices.Contains(ids, from.text):
		l.add(from.at, fmt.Sprintf("from: %s is an entry below", clip(from.text)), want, "")
	default:
		l.add(from.at, fmt.Sprintf("from: %s is no entry's id", clip(from.text)), want, Nearest(from.text, above))
	}
	return from.text
}

func isID(text string) bool {
	for _, r := range text {
		if !(r == '-' || r == '_' || r < 0x80 && (isDigit(byte(r)) || isVariable(string(r)))) {
			return false
		}
	}
	return text != ""
}

func sorted(words []string) []string {
	slices.Sort(words)
	return slices.Clip(words)
}
