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

	"headinfer/config"
	"headinfer/graph"
)

type readJSONLOptions struct {
	Path    string       `yaml:"path" default:"" doc:"A file with a JSON object a line, with the fields text, question and, if the record has a name, id. Other fields are there for prompts as {{.Fields.name}}." example:"questions.jsonl"`
	MaxLine config.Bytes `yaml:"max_line" default:"256MiB" min:"1" doc:"Longest line; a longer one goes to the dead letters." example:"1GiB"`
}

type readJSONL struct{ options *readJSONLOptions }

func newReadJSONL(_ *Engine, o *readJSONLOptions) (graph.Source[*Document], error) {
	if o.Path == "" {
		return nil, errors.New("no path; name a file with a JSON object a line")
	}
	return &readJSONL{o}, nil
}

// Produce reads the records one by one.
func (s *readJSONL) Produce(ctx context.Context, emit func(*Document) error) error {
	f, err := os.Open(s.options.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewReaderSize(f, 1<<20)
	for number := 1; ; number++ {
		line, err := readLine(lines, int(s.options.MaxLine))
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
	if err := checkText(line); err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
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
			return nil, fmt.Errorf("field %q is a %T, not a string", field.name, v)
		}
		*field.into = text
		delete(fields, field.name)
	}
	return doc, checkText([]byte(doc.Text))
}
