package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/journal"
	"headinfer/stages/storage"
	"headinfer/stages/table"
)

// columnOptions say what the columns of a record are.
type columnOptions struct {
	ID        string   `yaml:"id" default:"id" doc:"The column with the record's name, a text or a whole number. Names must differ. A record without one is called PATH:ROW, or stdin:ROW- and a mark of what it holds." example:"url"`
	Text      string   `yaml:"text" default:"text" doc:"The column with the document." example:"body"`
	Question  string   `yaml:"question" default:"question" doc:"The column with a question about it." example:"query"`
	Questions string   `yaml:"questions" default:"questions" doc:"The column with several, a list of texts; in CSV a list as JSON, or a question a line. Each has an answer, called ID#1, ID#2 and so on; the document is read once." example:"queries"`
	Fields    []string `yaml:"fields" default:"[]" doc:"The other columns that are kept, for prompts, map and filter as {{.Fields.name}}; all if none is named." example:"[\"title\", \"year\"]"`
}

// check refuses a column that is two things.
func (o *columnOptions) check() []config.OptionError {
	var bad []config.OptionError
	seen := map[string]string{}
	for _, c := range []struct{ option, name string }{{"id", o.ID}, {"text", o.Text}, {"question", o.Question}, {"questions", o.Questions}} {
		if other, twice := seen[c.name]; twice {
			bad = append(bad, config.OptionError{Option: "columns." + c.option, What: fmt.Sprintf("is %q, as columns.%s is", c.name, other), Want: "a column of its own"})
		}
		seen[c.name] = c.option
	}
	return bad
}

// names are the columns that are read; nil for all.
func (o *columnOptions) names() []string {
	if len(o.Fields) == 0 {
		return nil
	}
	return append([]string{o.ID, o.Text, o.Question, o.Questions}, o.Fields...)
}

// missing refuses a file without a column that the options name. Those that
// only their defaults name may be missing, but for the text.
func (o *columnOptions) missing(columns []string) error {
	if columns == nil {
		return nil
	}
	named := append([]string{o.Text}, o.Fields...)
	for _, c := range []struct{ name, usual string }{{o.ID, "id"}, {o.Question, "question"}, {o.Questions, "questions"}} {
		if c.name != c.usual {
			named = append(named, c.name)
		}
	}
	for _, name := range named {
		if !slices.Contains(columns, name) {
			return fmt.Errorf("there is no column %q, but %q; say with columns: which is what", name, columns)
		}
	}
	return nil
}

// document makes a document of a record's values, which it takes over. id is
// what one without a name is called.
func (o *columnOptions) document(id string, values map[string]any) (*Document, error) {
	doc := &Document{ID: id}
	switch v := values[o.ID].(type) {
	case nil:
	case string:
		if v != "" {
			doc.ID = v
		}
	case int64:
		doc.ID = strconv.FormatInt(v, 10)
	case uint64:
		doc.ID = strconv.FormatUint(v, 10)
	default:
		return nil, fmt.Errorf("the field %q is %s; expected a string or a whole number", o.ID, table.KindOf(v))
	}
	if err := checkID(doc.ID); err != nil {
		return nil, fmt.Errorf("the field %q: %w", o.ID, err)
	}
	for name, into := range map[string]*string{o.Text: &doc.Text, o.Question: &doc.Question} {
		switch v := values[name].(type) {
		case nil:
		case string:
			*into = v
		default:
			return nil, fmt.Errorf("the field %q is %s; expected a string", name, table.KindOf(v))
		}
		if err := table.CheckUTF8([]byte(*into)); err != nil {
			return nil, fmt.Errorf("the field %q: %w", name, err)
		}
	}
	if strings.TrimSpace(doc.Text) == "" {
		return nil, fmt.Errorf("the field %q is missing or empty", o.Text)
	}
	var err error
	if doc.Questions, err = questionsOf(values[o.Questions]); err != nil {
		return nil, fmt.Errorf("the field %q %w", o.Questions, err)
	}
	if len(doc.Questions) > 0 && doc.Question != "" {
		return nil, fmt.Errorf("the record has both a %q and %q; give one of them", o.Question, o.Questions)
	}
	for _, name := range []string{o.ID, o.Text, o.Question, o.Questions} {
		delete(values, name)
	}
	doc.Fields = values
	if len(o.Fields) > 0 {
		doc.Fields = make(map[string]any, len(o.Fields))
		for _, name := range o.Fields {
			if v, ok := values[name]; ok {
				doc.Fields[name] = v
			}
		}
	}
	return doc, nil
}

// maxID is the most bytes of a document's id: a question's or a window's is longer.
const maxID = journal.MaxKey / 2

// checkID refuses ids that no journal, file or JSON can have.
func checkID(id string) error {
	if len(id) > maxID {
		return fmt.Errorf("the id %.40q… has %d bytes; expected %d at most", id, len(id), maxID)
	}
	if err := table.CheckUTF8([]byte(id)); err != nil {
		return fmt.Errorf("the id %q: %w", id, err)
	}
	return nil
}

// contentID tells what is at some place of a pipe from what is there another time.
func contentID(id string, content []byte) string {
	return fmt.Sprintf("%s-%016x", id, xxh3.Hash(content))
}

// questionsOf reads a list of questions: a list, or a text that is one as JSON
// or has a question a line.
func questionsOf(value any) ([]string, error) {
	var list []any
	switch v := value.(type) {
	case nil:
		return nil, nil
	case []any:
		list = v
	case string:
		if strings.HasPrefix(strings.TrimSpace(v), "[") {
			if err := json.Unmarshal([]byte(v), &list); err != nil {
				return nil, fmt.Errorf("is no list of questions as JSON: %w", err)
			}
			break
		}
		for line := range strings.Lines(v) {
			if line = strings.TrimSpace(line); line != "" {
				list = append(list, line)
			}
		}
	default:
		return nil, fmt.Errorf("is %s; expected a list of strings", table.KindOf(v))
	}
	questions := make([]string, 0, len(list))
	for i, item := range list {
		question, ok := item.(string)
		if !ok {
			return nil, fmt.Errorf("has %s as number %d; expected strings", table.KindOf(item), i+1)
		}
		if strings.TrimSpace(question) == "" {
			return nil, fmt.Errorf("has an empty question, number %d", i+1)
		}
		if err := table.CheckUTF8([]byte(question)); err != nil {
			return nil, fmt.Errorf("has question number %d: %w", i+1, err)
		}
		questions = append(questions, question)
	}
	return questions, nil
}

// records is a source that reads documents from files of records.
type records struct {
	found   []storage.File
	columns *columnOptions
	// open opens a file's rows; close is called once after them, and may be nil.
	open func(ctx context.Context, path string) (rows table.Reader, close func() error, err error)
}

// recordPaths resolves the paths of a source of records.
func recordPaths(paths []string, standard bool) ([]storage.File, error) {
	found, err := storage.Expand(context.Background(), paths, storage.Which{Standard: standard})
	if err != nil {
		return nil, fmt.Errorf("option path: %w", err)
	}
	return found, nil
}

// recordInputs are the files of a source of records, as facts of a run.
func recordInputs(paths []string) ([]journal.Fact, error) {
	found, err := recordPaths(paths, true)
	if err != nil {
		return nil, err
	}
	facts := make([]journal.Fact, len(found))
	for i, f := range found {
		facts[i] = fileFact(f, "")
	}
	return facts, nil
}

// fileFact is a file that is read; key is the id of its document, where it is only
// one.
func fileFact(f storage.File, key string) journal.Fact {
	if passes(f) {
		return passing(f.Path)
	}
	return journal.Fact{Name: "input " + filepath.ToSlash(f.Path), Input: true, Key: key, Value: version(f)}
}

// passes reports whether a file is another each time it is read, such as a pipe.
func passes(f storage.File) bool { return f.Modified.IsZero() }

// version tells a file from what may be in its place another time.
func version(f storage.File) string {
	return fmt.Sprintf("%d bytes of %s", f.Size, f.Modified.UTC().Format(time.RFC3339Nano))
}

// Produce reads the files' records one by one. What is wrong with a record
// costs the record, and what is wrong with a file the rest of the file.
func (s *records) Produce(ctx context.Context, emit func(*Document) error) error {
	for _, f := range s.found {
		if err := s.file(ctx, f, emit); err != nil {
			return err
		}
	}
	return nil
}

func (s *records) file(ctx context.Context, file storage.File, emit func(*Document) error) error {
	name := file.Path
	if name == storage.Standard {
		name = "stdin"
	}
	drop := func(id string, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return graph.Drop(ctx, &graph.DocumentError{ID: id, Err: err})
	}
	rows, closing, err := s.open(ctx, file.Path)
	if err != nil {
		return drop(name, err)
	}
	defer func() {
		rows.Close()
		_ = closing() // it was only read
	}()
	if err := s.columns.missing(rows.Columns()); err != nil {
		return drop(name, err)
	}
	last := int64(0)
	for {
		row, err := rows.Next()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wrong, ok := errors.AsType[*table.RowError](err)
		switch {
		case err == io.EOF: //nolint:errorlint // wrapped, it is no end
			return nil
		case ok:
			last = wrong.Number
			err = drop(rowID(name, last), wrong.Err)
		case err != nil:
			return drop(name, fmt.Errorf("after row %d: %w", last, err))
		default:
			last = row.Number
			var doc *Document
			if doc, err = s.document(file, rowID(name, last), row.Values); err != nil {
				err = drop(rowID(name, last), err)
			} else {
				err = emit(doc)
			}
		}
		if err != nil {
			return err
		}
	}
}

func (s *records) document(file storage.File, id string, values map[string]any) (*Document, error) {
	if name := values[s.columns.ID]; passes(file) && (name == nil || name == "") {
		content, err := json.Marshal(values)
		if err != nil {
			return nil, err
		}
		id = contentID(id, content)
	}
	return s.columns.document(id, values)
}

// rowID is what a record without a name is called.
func rowID(file string, row int64) string { return fmt.Sprintf("%s:%d", file, row) }
