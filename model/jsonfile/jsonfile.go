// Package jsonfile decodes JSON files that a person may have written, cut short
// or taken for something else: its errors say at which byte what is wrong, in a
// file's words and not in Go's.
package jsonfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"headinfer/internal/shorten"
)

// Unmarshal is json.Unmarshal for a whole file. Unlike that it refuses text that
// is not UTF-8, of which nobody knows what it says. The error does not name the
// file.
func Unmarshal(data []byte, v any) error {
	if what := notText(data); what != "" {
		return errors.New(what)
	}
	return Decode(data, v)
}

// Decode is json.Unmarshal for a part of a file that Unmarshal has looked at; the
// bytes in its errors are those of the part.
func Decode(data []byte, v any) error {
	// A vocabulary comes here a hundred thousand times, and most are sound.
	if err := json.Unmarshal(data, v); err != nil {
		return explain(err, len(data))
	}
	return nil
}

// explain says in a file's words why so many bytes could not be decoded.
func explain(err error, size int) error {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax) && syntax.Offset >= int64(size) && strings.HasPrefix(syntax.Error(), "unexpected end"):
		return fmt.Errorf("the JSON ends too soon, after %d bytes; the file is cut or damaged: %w", size, err)
	case errors.As(err, &syntax):
		return fmt.Errorf("at byte %d of %d: this is not JSON: %w", syntax.Offset, size, err)
	case errors.As(err, &typ):
		what := "it"
		if typ.Field != "" {
			what = shorten.Text(typ.Field)
		}
		return fmt.Errorf("at byte %d of %d: %s is %s, and must be %s", typ.Offset, size, what, found(typ.Value), wanted(typ.Type))
	}
	return fmt.Errorf("decoding %d bytes of JSON: %w", size, err)
}

// notText says why data is no text in UTF-8, or gives "".
func notText(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("version https://git-lfs")):
		return "this is a Git LFS pointer, not the file it stands for; run git lfs pull where it was cloned"
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return "it begins with a byte order mark; save it as UTF-8 without one"
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return "it is UTF-16; save it as UTF-8 without a byte order mark"
	case utf8.Valid(data):
		return ""
	}
	at := 0
	for at < len(data) {
		r, n := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return fmt.Sprintf("byte %d of %d, %#02x, is not valid UTF-8; the file is damaged, or no JSON", at, len(data), data[at])
}

// found names a value of the file by what the standard decoder calls it.
func found(value string) string {
	kind, number, _ := strings.Cut(value, " ")
	switch kind {
	case "number":
		if number != "" {
			return "the number " + shorten.Text(number)
		}
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "bool":
		return "true or false"
	}
	return "a " + kind
}

// wanted names what a Go type is in JSON.
func wanted(t reflect.Type) string {
	if t == reflect.TypeFor[json.Number]() {
		return "a number"
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number of at most 64 bits"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Pointer:
		return wanted(t.Elem())
	}
	return "an object"
}

// Repeated returns the first of some keys that the outermost object has twice with
// different values, of which decoders take the first, the last or parts of both; ""
// if there is none. The text must be JSON.
func Repeated(data []byte, keys func(key string) bool) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // or numbers that differ far behind the point were the same
	if _, err := dec.Token(); err != nil {
		return "", err
	}
	seen := map[string]any{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return "", err
		}
		key, ok := t.(string)
		if !ok || !keys(key) {
			var other json.RawMessage
			if err := dec.Decode(&other); err != nil {
				return "", err
			}
			continue
		}
		var value any
		if err := dec.Decode(&value); err != nil {
			return "", err
		}
		if before, twice := seen[key]; twice && !reflect.DeepEqual(before, value) {
			return key, nil
		}
		seen[key] = value
	}
	return "", nil
}
