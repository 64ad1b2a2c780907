package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"headinfer/internal/shorten"
)

// document walks a JSON object that is not trusted. The standard decoder lets
// the last of two equal keys win, and takes "DTYPE" for "dtype"; here both are
// seen.
type document struct {
	file  string
	base  int // bytes of the file before the document
	dec   *json.Decoder
	place string
}

func newDocument(file string, base int, text []byte, place string) (*document, error) {
	d := &document{file: file, base: base, dec: json.NewDecoder(bytes.NewReader(text)), place: place}
	d.dec.UseNumber()
	if bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
		return nil, d.damaged("it begins with a byte order mark; save it as UTF-8 without one")
	}
	if !utf8.Valid(text) {
		return nil, d.damaged("the JSON is not valid UTF-8; the file is damaged")
	}
	return d, nil
}

func (d *document) at() int { return d.base + int(d.dec.InputOffset()) }

func (d *document) damaged(format string, args ...any) error {
	return &FileError{d.file, d.at(), d.place, fmt.Sprintf(format, args...), ErrDamaged}
}

// token returns the next token, at whatever depth.
func (d *document) token() (json.Token, error) {
	t, err := d.dec.Token()
	if err != nil {
		return nil, d.broken(err)
	}
	return t, nil
}

// broken is the error of what is not JSON.
func (d *document) broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return d.damaged("the JSON ends too soon; the file is cut or damaged")
	}
	return d.damaged("the JSON is broken (%v); the file is damaged", err)
}

// delimiter takes the token want, one of { } [ ].
func (d *document) delimiter(want json.Delim) error {
	t, err := d.token()
	if err != nil {
		return err
	}
	if t != want {
		return d.damaged("found %s where %q belongs; the file is damaged", describe(t), want.String())
	}
	return nil
}

// object reads an object and calls field for each key, to read its value.
func (d *document) object(field func(key string) error) error {
	if err := d.delimiter('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.dec.More() {
		t, err := d.token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return d.damaged("found %s where a key belongs; the file is damaged", describe(t))
		}
		if seen[key] {
			return d.damaged("the key %q occurs twice; the file is damaged, or its writer is wrong", shorten.Text(key))
		}
		seen[key] = true
		if err := field(key); err != nil {
			return err
		}
	}
	return d.delimiter('}')
}

// text reads a string.
func (d *document) text() (string, error) {
	t, err := d.token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", d.damaged("found %s where a string belongs; the file is damaged", describe(t))
	}
	return s, nil
}

// numbers reads an array of at most most whole numbers that are not negative
// and fit in an int.
func (d *document) numbers(most int) ([]int, error) {
	if err := d.delimiter('['); err != nil {
		return nil, err
	}
	values := []int{}
	for d.dec.More() {
		if len(values) == most {
			return nil, d.damaged("more than %d numbers; the file is damaged", most)
		}
		t, err := d.token()
		if err != nil {
			return nil, err
		}
		v, ok := whole(t)
		if !ok {
			return nil, d.damaged("found %s where a whole number that is not negative belongs; the file is damaged", describe(t))
		}
		values = append(values, v)
	}
	return values, d.delimiter(']')
}

// skip passes over a value of any kind.
func (d *document) skip() error {
	var any json.RawMessage
	if err := d.dec.Decode(&any); err != nil {
		return d.broken(err)
	}
	return nil
}

// end fails if anything but white space follows.
func (d *document) end() error {
	t, err := d.dec.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return d.broken(err)
	}
	return d.damaged("found %s after the end of the JSON; the file is damaged", describe(t))
}

// describe writes a token for an error.
func describe(t json.Token) string {
	switch x := t.(type) {
	case nil:
		return "null"
	case string:
		return fmt.Sprintf("the string %q", shorten.Text(x))
	case json.Number:
		return "the number " + shorten.Text(x.String())
	case json.Delim:
		return fmt.Sprintf("%q", x.String())
	}
	return fmt.Sprint(t)
}
