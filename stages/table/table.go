// Package table reads and writes records as the rows of JSON lines, CSV,
// Parquet and Arrow IPC.
//
// A [Reader] gives one row at a time, as values by the names of the columns:
// nil, string, bool, int64, uint64, float64, []any, or map[string]any. It holds
// a line, a record batch or part of a row group, and never a file. A row that
// cannot be read is a [*RowError], after which the next one can be asked for;
// any other error but io.EOF ends the file. Strings and lists are the caller's
// to keep.
//
// A [Writer] takes rows of fixed [Column]s and holds some MiB of them. What it
// writes, the reader of the format gives back equal; in CSV all values are
// text, and lists are JSON.
//
// No panic of the libraries underneath, which panic on files that are damaged,
// leaves this package.
package table

import (
	"fmt"
	"io"
	"unicode/utf8"
)

// Row is a record and its number in the file, from 1.
type Row struct {
	Number int64
	Values map[string]any
}

// Reader gives the rows of a file.
type Reader interface {
	// Next returns the next row, io.EOF after the last.
	Next() (Row, error)
	// Columns are the names of the columns, in the file's order; nil where each
	// row has its own.
	Columns() []string
	// Close frees memory. It does not close what is read from.
	Close()
}

// RowError says why one row cannot be used.
type RowError struct {
	Number int64 // of the row, from 1
	Err    error
}

// Error says what is wrong with the row.
func (e *RowError) Error() string { return fmt.Sprintf("row %d: %v", e.Number, e.Err) }

// Unwrap returns the error itself.
func (e *RowError) Unwrap() error { return e.Err }

// Kind is the type of a column that is written.
type Kind int

// The kinds of columns, with the Go type of their values. A nil is a missing
// value of any of them.
const (
	Text   Kind = iota // string
	Texts              // []string
	Whole              // int64
	Number             // float64
)

// Column is a column that is written.
type Column struct {
	Name string
	Kind Kind
}

// Writer takes rows, with a value for each column.
type Writer interface {
	Write(values []any) error
	// Close writes what is held back and ends the file. It does not close what
	// is written to.
	Close() error
}

// CheckUTF8 refuses text that is not UTF-8. The error names the byte.
func CheckUTF8(text []byte) error {
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n == 1 {
			return fmt.Errorf("byte %d is not valid UTF-8; convert the document first", at)
		}
		at += n
	}
	return nil
}

// guard turns a panic of f into an error.
func guard(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if cause, ok := p.(error); ok {
				err = fmt.Errorf("%s: %w", what, cause)
			} else {
				err = fmt.Errorf("%s: %v", what, p)
			}
		}
	}()
	return f()
}

// ended tells a file that ends too early from one that ends.
func ended(err error) error {
	if err == io.EOF { //nolint:errorlint // wrapped, it is no end
		return io.ErrUnexpectedEOF
	}
	return err
}
