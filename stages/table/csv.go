package table

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// csvReader reads records of fields as RFC 4180 has them. It is one of our own
// because a record that is too long must be skipped without being kept, and
// line ends within quotes kept as they are.
type csvReader struct {
	in        *bufio.Reader
	separator byte
	limit     int
	columns   []string
	number    int64
	first     [][]byte // without a header, the record that told how many columns there are
}

// maxFields bounds a record's fields, each of which takes memory though it is empty.
const maxFields = 1 << 16

// CSVOptions says how a file is written.
type CSVOptions struct {
	Separator byte // between fields
	Header    bool // the first record has the columns' names; else they are 1, 2, 3, ...
	Limit     int  // most bytes of a record
}

// CSV reads comma-separated values, quoted by ". It reads the header.
func CSV(r io.Reader, opt CSVOptions) (Reader, error) {
	s := &csvReader{in: bufio.NewReaderSize(r, blockSize), separator: opt.Separator, limit: opt.Limit}
	skipMark(s.in)
	fields, err := s.record()
	if err == io.EOF { //nolint:errorlint // wrapped, it is no end
		return s, nil // no rows
	}
	if err != nil {
		return nil, fmt.Errorf("the header: %w", err)
	}
	seen := make(map[string]bool, len(fields))
	for i, field := range fields {
		name := strconv.Itoa(i + 1)
		if opt.Header {
			name = string(field)
		}
		if seen[name] {
			return nil, fmt.Errorf("the header: two columns are named %q", name)
		}
		seen[name] = true
		s.columns = append(s.columns, name)
	}
	if !opt.Header {
		s.first = fields
	}
	return s, nil
}

func (s *csvReader) Columns() []string { return s.columns }

func (*csvReader) Close() {}

func (s *csvReader) Next() (Row, error) {
	fields := s.first
	s.first = nil
	var err error
	if fields == nil {
		fields, err = s.record()
	}
	if err == io.EOF { //nolint:errorlint // wrapped, it is no end
		return Row{}, err
	}
	var broken recordError
	if err != nil && !errors.As(err, &broken) {
		return Row{}, err
	}
	s.number++
	if err == nil && len(fields) != len(s.columns) {
		err = fmt.Errorf("the record has %d fields, and there are %d columns", len(fields), len(s.columns))
	}
	values := make(map[string]any, len(fields))
	for i := 0; i < len(fields) && err == nil; i++ {
		if err = CheckUTF8(fields[i]); err != nil {
			err = fmt.Errorf("the field %q: %w", s.columns[i], err)
		}
		values[s.columns[i]] = string(fields[i])
	}
	if err != nil {
		return Row{}, &RowError{s.number, err}
	}
	return Row{s.number, values}, nil
}

// recordError is what is wrong with a record, after whose end reading goes on.
type recordError string

func (e recordError) Error() string { return string(e) }

const (
	errLongRecord = recordError("the record is longer than max_record")
	errManyFields = recordError("the record has more than 65536 fields")
	errOpenQuote  = recordError("a quoted field is not closed before the end of the file")
	errAfterQuote = recordError("text stands after the quote that closes a field; a quote within one is written twice")
)

// record returns the fields of the next record; empty lines are left out.
func (s *csvReader) record() ([][]byte, error) {
	var fields [][]byte
	var field []byte
	var bad error
	size := 0
	keep := func(c byte) {
		if size++; size > s.limit {
			fields, field, bad = nil, nil, errLongRecord
		}
		if bad == nil {
			field = append(field, c)
		}
	}
	const (
		begin = iota // of a field
		bare
		quoted
		closing // behind a quote within a quoted field
	)
	for state := begin; ; {
		if state == bare || state == quoted {
			// What is plain text is taken in one piece.
			part, _ := s.in.Peek(s.in.Buffered()) // as much as is there
			n := s.plain(part, state == quoted)
			if size += n; size > s.limit {
				fields, field, bad = nil, nil, errLongRecord
			}
			if bad == nil {
				field = append(field, part[:n]...)
			}
			_, _ = s.in.Discard(n)
		}
		c, err := s.in.ReadByte()
		atEnd := err == io.EOF
		if err != nil && !atEnd {
			return nil, err
		}
		if atEnd && state == quoted && bad == nil {
			bad = errOpenQuote
		}
		if !atEnd && c == '\r' && state != quoted {
			if next, err := s.in.Peek(1); err == nil && next[0] == '\n' {
				continue // the line's end is two characters
			}
		}
		switch {
		case atEnd || c == '\n' && state != quoted:
			if state == begin && len(fields) == 0 && bad == nil {
				if atEnd {
					return nil, io.EOF
				}
				continue
			}
			if bad != nil {
				return nil, bad
			}
			return append(fields, field), nil
		case c == s.separator && state != quoted:
			if size++; bad == nil {
				fields = append(fields, field)
			}
			field, state = []byte{}, begin
			if size > s.limit {
				fields, bad = nil, errLongRecord
			} else if len(fields) >= maxFields {
				fields, bad = nil, errManyFields
			}
		case c == '"' && state == begin:
			field, state = []byte{}, quoted
		case c == '"' && state == quoted:
			state = closing
		case c == '"' && state == closing:
			keep(c)
			state = quoted
		case state == closing:
			if bad == nil {
				bad = errAfterQuote
			}
			state = bare
		default:
			keep(c)
			if state == begin {
				state = bare
			}
		}
	}
}

// plain returns how many bytes at the beginning of a text are of a field and
// nothing else.
func (s *csvReader) plain(text []byte, quoted bool) int {
	if n := bytes.IndexByte(text, '"'); n >= 0 {
		text = text[:n]
	}
	if quoted {
		return len(text)
	}
	for _, end := range []byte{'\n', '\r', s.separator} {
		if n := bytes.IndexByte(text, end); n >= 0 {
			text = text[:n]
		}
	}
	return len(text)
}

// csvWriter writes a header and records.
type csvWriter struct {
	out    *csv.Writer
	fields []string
}

// NewCSV writes comma-separated values with a header.
func NewCSV(w io.Writer, columns []Column) (Writer, error) {
	s := &csvWriter{out: csv.NewWriter(w), fields: make([]string, len(columns))}
	for i, c := range columns {
		s.fields[i] = c.Name
	}
	return s, s.out.Write(s.fields)
}

func (s *csvWriter) Write(values []any) error {
	for i, v := range values {
		switch v := v.(type) {
		case nil:
			s.fields[i] = ""
		case string:
			s.fields[i] = v
		case int64:
			s.fields[i] = strconv.FormatInt(v, 10)
		case float64:
			s.fields[i] = strconv.FormatFloat(v, 'g', -1, 64)
		default:
			var text bytes.Buffer
			e := json.NewEncoder(&text)
			e.SetEscapeHTML(false)
			if err := e.Encode(v); err != nil {
				return err
			}
			s.fields[i] = string(bytes.TrimSpace(text.Bytes()))
		}
	}
	return s.out.Write(s.fields)
}

func (s *csvWriter) Close() error {
	s.out.Flush()
	return s.out.Error()
}
