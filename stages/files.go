package stages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/journal"
	"headinfer/stages/storage"
	"headinfer/stages/table"
)

type filesOptions struct {
	Paths     []string     `yaml:"paths" default:"[]" doc:"What is read, in the order of the names: files; directories, whose .txt, .md, .html and .htm files are read, those of their directories too; patterns with *, ? and [ ], and ** for directories, none or many; or s3://BUCKET/KEY, with the same patterns. Of HTML the text is read. What ends in .gz or .zst is decompressed." example:"[\"notes/**/*.md\"]"`
	Question  string       `yaml:"question" default:"" doc:"The question about files that have none of their own. A file's own stands beside it: notes/a.question for notes/a.txt." example:"What is the access code?"`
	Questions []string     `yaml:"questions" default:"[]" doc:"Several questions about such files, in the place of question. Each has an answer, called PATH#1, PATH#2 and so on; the file is read once." example:"[\"Who?\", \"Where?\"]"`
	MaxFile   config.Bytes `yaml:"max_file" default:"256MiB" min:"1" doc:"Longest file, decompressed; a longer one goes to the dead letters." example:"1GiB"`
}

// Check refuses a list without paths, patterns that cannot be read, and
// questions of both kinds.
func (o *filesOptions) Check() []config.OptionError {
	bad := checkPaths("paths", o.Paths, `paths: ["notes/*.txt"]`)
	if o.Question != "" && len(o.Questions) > 0 {
		bad = append(bad, config.OptionError{Option: "questions", What: "is given beside question", Want: "one of them"})
	}
	if slices.Contains(o.Questions, "") {
		bad = append(bad, config.OptionError{Option: "questions", What: "has an empty question", Want: "a text for each"})
	}
	return bad
}

// checkPaths refuses a list of none, and patterns that cannot be read.
func checkPaths(option string, paths []string, example string) []config.OptionError {
	if len(paths) == 0 {
		return []config.OptionError{{Option: option, What: "is empty", Want: "at least one file or pattern, such as " + example}}
	}
	var bad []config.OptionError
	for _, pattern := range paths {
		if storage.CheckObject(pattern, true) != nil {
			bad = append(bad, config.OptionError{Option: option, What: fmt.Sprintf("has %q, without a bucket", pattern), Want: "an object, such as s3://corpus/notes/*.txt"})
		} else if err := storage.CheckPattern(pattern); err != nil {
			bad = append(bad, config.OptionError{Option: option, What: fmt.Sprintf("has the pattern %q: %v", pattern, err), Want: "a [ to be closed, or written \\[ if a file's name has it"})
		}
	}
	return bad
}

// readable are the extensions of the files that are read of a directory.
var readable = []string{".txt", ".md", ".html", ".htm"}

func isReadable(name string) bool { return slices.Contains(readable, storage.Extension(name)) }

func (o *filesOptions) expand() ([]storage.File, error) {
	found, err := storage.Expand(context.Background(), o.Paths, storage.Which{Directories: isReadable})
	if err != nil {
		return nil, fmt.Errorf("option paths: %w", err)
	}
	return found, nil
}

// Asks is how many answers there are to a file without a question of its own.
func (o *filesOptions) Asks() int { return max(len(o.Questions), 1) }

func (o *filesOptions) reads() []string { return o.Paths }

// inputs are the files, each with the one beside it that has its question.
func (o *filesOptions) inputs() ([]journal.Fact, error) {
	found, err := o.expand()
	if err != nil {
		return nil, err
	}
	questions, err := storage.Beside(context.Background(), found, questionPath)
	if err != nil {
		return nil, fmt.Errorf("option paths: %w", err)
	}
	facts := make([]journal.Fact, len(found))
	for i, file := range found {
		facts[i] = fileFact(file, file.Path)
		// Part of the same fact: a question that is new is a change of the document.
		if q, ok := questions[questionPath(file.Path)]; ok && !facts[i].Passing {
			facts[i].Value += ", its question " + version(q)
		}
	}
	return facts, nil
}

type files struct {
	options *filesOptions
	found   []storage.File
}

func newFiles(_ *Engine, o *filesOptions) (graph.Source[*Document], error) {
	found, err := o.expand()
	if err != nil {
		return nil, err
	}
	return &files{o, found}, nil
}

// Produce reads the files one by one.
func (f *files) Produce(ctx context.Context, emit func(*Document) error) error {
	for _, file := range f.found {
		doc, err := f.read(ctx, file)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			err = graph.Drop(ctx, &graph.DocumentError{ID: file.Path, Err: err})
		} else {
			err = emit(doc)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *files) read(ctx context.Context, file storage.File) (*Document, error) {
	path := file.Path
	if err := checkID(path); err != nil {
		return nil, err
	}
	text, err := readWhole(ctx, path, int64(f.options.MaxFile))
	if err != nil {
		return nil, err
	}
	if err := table.CheckUTF8(text); err != nil {
		return nil, err
	}
	if e := storage.Extension(path); e == ".html" || e == ".htm" {
		if text, err = htmlText(text); err != nil {
			return nil, err
		}
	}
	if err := CheckText(text); err != nil {
		return nil, err
	}
	id := path
	if passes(file) {
		id = contentID(path, text)
	}
	doc := &Document{ID: id, Text: string(text), Question: f.options.Question, Questions: f.options.Questions}
	question, err := readWhole(ctx, questionPath(path), int64(f.options.MaxFile))
	switch {
	case err == nil:
		if doc.Question, doc.Questions = strings.TrimSpace(string(question)), nil; doc.Question == "" {
			return nil, fmt.Errorf("%s, with its question, is empty", questionPath(path))
		}
		if err := table.CheckUTF8(question); err != nil {
			return nil, fmt.Errorf("%s: %w", questionPath(path), err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return doc, nil
}

// readWhole reads a file of at most limit bytes.
func readWhole(ctx context.Context, path string, limit int64) ([]byte, error) {
	r, err := storage.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = errors.New("the file is longer than max_file")
	}
	return text, errors.Join(err, r.Close())
}

// questionPath is where a file's own question stands.
func questionPath(path string) string {
	path = path[:len(path)-len(storage.Compression(path))]
	return path[:len(path)-len(storage.Extension(path))] + ".question"
}

// CheckText refuses what no model should be asked to read: text that is empty
// but for white space, or not UTF-8. The error names the byte.
func CheckText(text []byte) error {
	if len(strings.TrimSpace(string(text))) == 0 {
		return errors.New("the document is empty")
	}
	return table.CheckUTF8(text)
}
