package table

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// blockSize is how many bytes are read at a time.
const blockSize = 1 << 20

// jsonLines reads an object a line.
type jsonLines struct {
	in     *bufio.Reader
	limit  int
	id     string
	number int64
}

// skipMark leaves out the mark of its encoding that a text may begin with.
func skipMark(r *bufio.Reader) {
	if mark, err := r.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = r.Discard(3) // what has been peeked at can be
	}
}

// JSONLines reads a JSON object a line; empty lines are left out, and counted.
// A line over limit bytes is refused without being kept. Numbers are float64,
// but the one of the column id, if it is whole: that is as it was written.
func JSONLines(r io.Reader, limit int, id string) Reader {
	return &jsonLines{in: bufio.NewReaderSize(r, blockSize), limit: limit, id: id}
}

func (*jsonLines) Columns() []string { return nil }

func (*jsonLines) Close() {}

func (s *jsonLines) Next() (Row, error) {
	if s.number == 0 {
		skipMark(s.in) // not before: a pipe may not have it yet
	}
	for {
		line, err := readLine(s.in, s.limit)
		if errors.Is(err, errLongLine) {
			s.number++
			return Row{}, &RowError{s.number, err}
		}
		if err != nil {
			return Row{}, err
		}
		s.number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		values, err := s.parse(line)
		if err != nil {
			return Row{}, &RowError{s.number, err}
		}
		return Row{s.number, values}, nil
	}
}

func (s *jsonLines) parse(line []byte) (map[string]any, error) {
	if err := CheckUTF8(line); err != nil {
		return nil, err
	}
	var record any
	if err := json.Unmarshal(line, &record); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	values, ok := record.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the line is %s; expected an object with the fields text, question and id", KindOf(record))
	}
	if _, ok := values[s.id].(float64); ok {
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(line, &raw); err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		var exact int64
		if json.Unmarshal(raw[s.id], &exact) == nil {
			values[s.id] = exact
		}
	}
	return values, nil
}

var errLongLine = errors.New("the line is longer than max_line")

// readLine returns the next line without its end; a line over limit bytes is
// read to its end without being kept. io.EOF comes only when nothing is left.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var parts [][]byte // which grow by no copying of what is there
	size := 0
	for {
		part, err := r.ReadSlice('\n')
		if size += len(part); size > limit {
			parts = nil
		} else if len(part) > 0 {
			parts = append(parts, bytes.Clone(part))
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && size > 0, err == nil:
			if size > limit {
				return nil, errLongLine
			}
			if len(parts) == 1 {
				return parts[0], nil
			}
			return bytes.Join(parts, nil), nil
		default:
			return nil, err
		}
	}
}

// KindOf says what a value is, in JSON's words.
func KindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case float64, int64, uint64:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	}
	return "an object"
}
