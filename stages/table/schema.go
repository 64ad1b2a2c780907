package table

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	flatbuffers "github.com/google/flatbuffers/go"
)

// The library takes the lengths that a file's schema has as they stand, and
// makes memory for them: a damaged one would end the program, since running out
// of memory is no panic. So schemas are looked through before it sees them.

// Bounds of a schema that is looked through.
const (
	schemaDepth  = 64
	schemaFields = 100_000
	footerLimit  = 256 << 20 // bytes, of all places of batches too
)

// Where tables have their fields: 4 + 2 × the field's number.
const (
	messageHeader  = 8
	footerSchema   = 6
	schemaColumns  = 6
	schemaMetadata = 8
	fieldChildren  = 14
	fieldMetadata  = 16
)

var errSchema = errors.New("the schema is damaged")

// checkStream looks through the schema that a stream begins with.
func checkStream(in *bufio.Reader) error {
	head, err := in.Peek(8)
	if err != nil {
		return ended(err)
	}
	from, size := 8, int64(binary.LittleEndian.Uint32(head[4:]))
	if binary.LittleEndian.Uint32(head) != 0xffffffff { // as it was before version 0.15
		from, size = 4, int64(binary.LittleEndian.Uint32(head))
	}
	if size < 8 || size > blockSize-8 {
		return fmt.Errorf("%w: it has %d bytes", errSchema, size)
	}
	data, err := in.Peek(from + int(size))
	if err != nil {
		return ended(err)
	}
	return checkTable(data[from:], messageHeader)
}

// checkFooter looks through the schema at the end of a file.
func checkFooter(r io.ReaderAt, size int64) error {
	tail := make([]byte, 4+len(arrowMagic))
	at := size - int64(len(tail))
	if at < int64(len(arrowMagic)) {
		return io.ErrUnexpectedEOF
	}
	if _, err := r.ReadAt(tail, at); err != nil && err != io.EOF {
		return err
	}
	if string(tail[4:]) != arrowMagic {
		return fmt.Errorf("cut: the file does not end with %s: %w", arrowMagic, io.ErrUnexpectedEOF)
	}
	n := int64(binary.LittleEndian.Uint32(tail))
	if n < 8 || n > at || n > footerLimit {
		return fmt.Errorf("%w: the footer has %d bytes", errSchema, n)
	}
	data := make([]byte, n)
	if _, err := r.ReadAt(data, at-n); err != nil {
		return err
	}
	return checkTable(data, footerSchema)
}

// checkTable looks through the schema that a table has in one of its fields.
func checkTable(data []byte, field flatbuffers.VOffsetT) error {
	return guard(errSchema.Error(), func() error {
		root := flatbuffers.Table{Bytes: data, Pos: flatbuffers.GetUOffsetT(data)}
		at := flatbuffers.UOffsetT(root.Offset(field))
		if at == 0 {
			return errSchema
		}
		schema := flatbuffers.Table{Bytes: data, Pos: root.Indirect(root.Pos + at)}
		left := schemaFields
		if _, err := vector(schema, schemaMetadata); err != nil {
			return err
		}
		return checkFields(schema, schemaColumns, schemaDepth, &left)
	})
}

// vector returns how many entries a vector of tables has; 0 if there is none.
func vector(t flatbuffers.Table, field flatbuffers.VOffsetT) (int, error) {
	at := flatbuffers.UOffsetT(t.Offset(field))
	if at == 0 {
		return 0, nil
	}
	n, from := t.VectorLen(at), t.Vector(at)
	if n < 0 || int64(n) > (int64(len(t.Bytes))-int64(from))/flatbuffers.SizeUOffsetT {
		return 0, fmt.Errorf("%w: it has a list of %d entries", errSchema, n)
	}
	return n, nil
}

// checkFields looks through the columns of a schema, or of a column.
func checkFields(t flatbuffers.Table, field flatbuffers.VOffsetT, depth int, left *int) error {
	n, err := vector(t, field)
	if err != nil || n == 0 {
		return err
	}
	if *left -= n; *left < 0 || depth == 0 {
		return fmt.Errorf("%w: it has more than %d columns, or more than %d in one another", errSchema, schemaFields, schemaDepth)
	}
	from := t.Vector(flatbuffers.UOffsetT(t.Offset(field)))
	for i := range n {
		column := flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(from + flatbuffers.UOffsetT(i)*flatbuffers.SizeUOffsetT)}
		if _, err := vector(column, fieldMetadata); err != nil {
			return err
		}
		if err := checkFields(column, fieldChildren, depth-1, left); err != nil {
			return err
		}
	}
	return nil
}
