package eval

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"headinfer/internal/shorten"
)

// openData opens a file of questions behind its byte order mark, if it has one. A file in a format of another kind is
// refused by its first bytes.
func openData(path string) (io.Reader, io.Closer, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	text, err := checkData(path, file)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return text, file, nil
}

func checkData(path string, file *os.File) (io.Reader, error) {
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory; name one file of it", path)
	}
	text := bufio.NewReaderSize(file, 1<<20)
	first, err := text.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if strings.EqualFold(filepath.Ext(path), ".parquet") || bytes.Equal(first, []byte("PAR1")) {
		return nil, fmt.Errorf("%s is a Parquet file; expected JSON, an array of records or a record a line: save the data set in that form", path)
	}
	if bytes.HasPrefix(first, []byte("\ufeff")) {
		_, err = text.Discard(len("\ufeff"))
		return text, err
	}
	return text, nil
}

// record is a JSON object of a file, and where it stands.
type record struct {
	place  string // as messages name it: record 3
	fields map[string]json.RawMessage
}

// eachRecord calls use with the records of a file of JSON: the objects of an array, or objects one after another, as
// JSONL has them. Places count from 1.
func eachRecord(text io.Reader, use func(record) error) error {
	in := bufio.NewReader(text)
	array, err := beginsArray(in)
	if err != nil {
		return err
	}
	d := json.NewDecoder(in)
	if array {
		if _, err := d.Token(); err != nil {
			return err
		}
	}
	n := 0
	for ; !array || d.More(); n++ {
		var raw json.RawMessage
		place := fmt.Sprintf("record %d", n+1)
		if err := d.Decode(&raw); err != nil {
			if errors.Is(err, io.EOF) && !array {
				break
			}
			return fmt.Errorf("%s: not JSON, near byte %d: %w", place, d.InputOffset(), err)
		}
		r, err := newRecord(place, raw)
		if err == nil {
			err = use(r)
		}
		if err != nil {
			return err
		}
	}
	if array {
		if _, err := d.Token(); err != nil {
			return fmt.Errorf("after record %d: the array does not end: %w", n, err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return fmt.Errorf("after record %d, at byte %d: more than one array; expected the end of the file", n, d.InputOffset())
		}
	}
	if n == 0 {
		return errors.New("the array has no records; expected one or more")
	}
	return nil
}

// beginsArray looks at the first character that is no white space, and leaves it.
func beginsArray(in *bufio.Reader) (bool, error) {
	for {
		c, err := in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return false, errors.New("the file is empty; expected JSON, an array of records or a record a line")
		case err != nil:
			return false, err
		case bytes.IndexByte([]byte(" \t\r\n"), c) >= 0:
		case c == '[' || c == '{':
			return c == '[', in.UnreadByte()
		default:
			return false, fmt.Errorf("begins with %q; expected JSON, an array of records or a record a line", c)
		}
	}
}

func newRecord(place string, raw json.RawMessage) (record, error) {
	r := record{place: place}
	if kind := kindOf(raw); kind != "an object" {
		return r, fmt.Errorf("%s is %s; expected an object", place, kind)
	}
	if !utf8.Valid(raw) {
		return r, fmt.Errorf("%s is not UTF-8; save the file in that encoding", place)
	}
	if err := json.Unmarshal(raw, &r.fields); err != nil {
		return r, fmt.Errorf("%s: %w", place, err)
	}
	return r, nil
}

// kindOf says what a JSON value is, in JSON's words.
func kindOf(raw json.RawMessage) string {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// wrong is the error of a field.
func (r record) wrong(field, what, want string) error {
	return fmt.Errorf("%s: %s %s; expected %s", r.place, field, what, want)
}

// has says whether there is a field.
func (r record) has(field string) bool { return r.fields[field] != nil }

// text returns a field that must be a string.
func (r record) text(field string) (string, error) {
	raw := r.fields[field]
	if raw == nil {
		return "", r.wrong(field, "is missing", "a string")
	}
	if kind := kindOf(raw); kind != "a string" {
		return "", r.wrong(field, "is "+kind, "a string")
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fmt.Errorf("%s: %s: %w", r.place, field, err)
	}
	return s, nil
}

// filled returns a field that must be a string with more in it than white space.
func (r record) filled(field string) (string, error) {
	s, err := r.text(field)
	if err == nil && strings.TrimSpace(s) == "" {
		err = r.wrong(field, "is empty", "text")
	}
	return s, err
}

// word returns a field that must be one of some words.
func (r record) word(field string, words ...string) (string, error) {
	s, err := r.text(field)
	if err != nil {
		return "", err
	}
	for _, w := range words {
		if s == w {
			return s, nil
		}
	}
	return "", r.wrong(field, fmt.Sprintf("is %q", quoted(s)), strings.Join(words, ", "))
}

// list returns the values of a field that must be an array.
func (r record) list(field, want string) ([]json.RawMessage, error) {
	raw := r.fields[field]
	if raw == nil {
		return nil, r.wrong(field, "is missing", want)
	}
	if kind := kindOf(raw); kind != "an array" {
		return nil, r.wrong(field, "is "+kind, want)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", r.place, field, err)
	}
	return all, nil
}

// texts returns the strings of a field that must be an array of them.
func (r record) texts(field, want string) ([]string, error) {
	all, err := r.list(field, want)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(all))
	for i, raw := range all {
		if kind := kindOf(raw); kind != "a string" {
			return nil, r.wrong(fmt.Sprintf("%s[%d]", field, i), "is "+kind, want)
		}
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			return nil, fmt.Errorf("%s: %s[%d]: %w", r.place, field, i, err)
		}
	}
	return out, nil
}

// quoted is a value as a message has it: a line.
func quoted(s string) string { return shorten.To(40, s) }
