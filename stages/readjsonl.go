package stages

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"headinfer/config"
	"headinfer/graph"
)

type readJSONLOptions struct {
	Path    string       `yaml:"path" default:"" doc:"A file with a JSON object a line, with the fields text, question and, if the record has a name, id. Other fields are there for prompts as {{.Fields.name}}." example:"questions.jsonl"`
	MaxLine config.Bytes `yaml:"max_line" default:"256MiB" min:"1" doc:"Longest line; a longer one goes to the dead letters." example:"1GiB"`
}

// Check refuses options without a path.
func (o *readJSONLOptions) Check() []config.OptionError {
	if o.Path == "" {
		return []config.OptionError{{Option: "path", What: "is empty", Want: "a file with a JSON object a line, such as path: questions.jsonl"}}
	}
	return nil
}

type readJSONL struct {
	options *readJSONLOptions
	file    *os.File
}

func newReadJSONL(_ *Engine, o *readJSONLOptions) (graph.Source[*Document], error) {
	file, err := os.Open(o.Path)
	if err != nil {
		return nil, fmt.Errorf("option path: %w", err)
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		err := fmt.Errorf("option path: %s is a directory; name one file of it", o.Path)
		return nil, errors.Join(err, file.Close())
	}
	return &readJSONL{o, file}, nil
}

// Close closes the file.
func (s *readJSONL) Close() error { return s.file.Close() }

// Produce reads the records one by one.
func (s *readJSONL) Produce(ctx context.Context, emit func(*Document) error) error {
	// A pipe whose writer says no more would hold up the end of the run.
	defer context.AfterFunc(ctx, func() { _ = s.file.SetReadDeadline(time.Now()) })()
	lines := bufio.NewReaderSize(s.file, 1<<20)
	for number := 1; ; number++ {
		line, err := readLine(lines, int(s.options.MaxLine))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		id := fmt.Sprintf("%s:%d", s.options.Path, number)
		if err != nil && !errors.Is(err, errLongLine) {
			return fmt.Errorf("%s: %w", id, err)
		}
		if err == nil && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var doc *Document
		if err == nil {
			doc, err = parseRecord(id, line)
		}
		if err != nil {
			if err := graph.Drop(ctx, &graph.DocumentError{ID: id, Err: err}); err != nil {
				return err
			}
			continue
		}
		if err := emit(doc); err != nil {
			return err
		}
	}
}

var errLongLine = errors.New("the line is longer than max_line")

// readLine returns the next line without its end; a line over limit bytes is
// read to its end without being kept. io.EOF comes only when nothing is left.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			long, line = true, nil
		}
		if !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (long || len(line) > 0), err == nil:
			if long {
				return nil, errLongLine
			}
			return line, nil
		default:
			return nil, err
		}
	}
}

func parseRecord(id string, line []byte) (*Document, error) {
	if err := CheckText(line); err != nil {
		return nil, err
	}
	var record any
	if err := json.Unmarshal(line, &record); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	fields, ok := record.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the line is %s; expected an object with the fields text, question and id", jsonKind(record))
	}
	doc := &Document{ID: id, Fields: fields}
	for _, field := range []struct {
		name string
		into *string
	}{{"id", &doc.ID}, {"text", &doc.Text}, {"question", &doc.Question}} {
		v, ok := fields[field.name]
		if !ok {
			continue
		}
		text, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("the field %q is %s; expected a string", field.name, jsonKind(v))
		}
		*field.into = text
		delete(fields, field.name)
	}
	if doc.ID == "" {
		doc.ID = id
	}
	if strings.TrimSpace(doc.Text) == "" {
		return nil, errors.New("the field \"text\" is missing or empty")
	}
	return doc, nil
}

// jsonKind says what a decoded value is, in JSON's words.
func jsonKind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case float64:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	}
	return "an object"
}
