package table

import (
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// batchRows gives the rows of one record batch after the other.
type batchRows struct {
	next   func() (arrow.Record, error) // io.EOF after the last; the record is good until the next call
	batch  arrow.Record                 // nil before the first
	names  []string
	at     int // row of the batch
	number int64
}

func (b *batchRows) Columns() []string { return b.names }

// Next returns the next row, for readers that embed this.
func (b *batchRows) Next() (row Row, err error) {
	for b.batch == nil || b.at == int(b.batch.NumRows()) {
		b.batch, b.at = nil, 0
		if err := guard("damaged", func() (err error) { b.batch, err = b.next(); return err }); err != nil {
			return Row{}, err
		}
	}
	b.number++
	row = Row{b.number, make(map[string]any, len(b.names))}
	err = guard("damaged", func() error {
		for i, name := range b.names {
			v, err := valueOf(b.batch.Column(i), b.at)
			if err != nil {
				return fmt.Errorf("the column %q: %w", name, err)
			}
			row.Values[name] = v
		}
		return nil
	})
	b.at++
	if err != nil {
		return Row{}, &RowError{b.number, err}
	}
	return row, nil
}

// valueOf copies a value out of an array.
func valueOf(a arrow.Array, i int) (any, error) {
	if a.IsNull(i) {
		return nil, nil
	}
	switch a := a.(type) {
	case *array.String:
		return strings.Clone(a.Value(i)), nil
	case *array.LargeString:
		return strings.Clone(a.Value(i)), nil
	case *array.Binary: // as older writers keep text
		return string(a.Value(i)), nil
	case *array.LargeBinary:
		return string(a.Value(i)), nil
	case *array.Boolean:
		return a.Value(i), nil
	case *array.Float32:
		return float64(a.Value(i)), nil
	case *array.Float64:
		return a.Value(i), nil
	case *array.Uint64:
		return a.Value(i), nil
	case *array.Timestamp:
		unit, ok := a.DataType().(*arrow.TimestampType)
		if !ok {
			break
		}
		return a.Value(i).ToTime(unit.Unit).Format(time.RFC3339Nano), nil
	case *array.Dictionary:
		return valueOf(a.Dictionary(), a.GetValueIndex(i))
	case *array.Struct:
		return structOf(a, i)
	case array.ExtensionArray:
		return valueOf(a.Storage(), i)
	case array.ListLike:
		return listOf(a, i)
	}
	if n, ok := wholeOf(a, i); ok {
		return n, nil
	}
	return a.ValueStr(i), nil // dates, decimals and whatever else has a way of being written
}

func wholeOf(a arrow.Array, i int) (int64, bool) {
	switch a := a.(type) {
	case *array.Int8:
		return int64(a.Value(i)), true
	case *array.Int16:
		return int64(a.Value(i)), true
	case *array.Int32:
		return int64(a.Value(i)), true
	case *array.Int64:
		return a.Value(i), true
	case *array.Uint8:
		return int64(a.Value(i)), true
	case *array.Uint16:
		return int64(a.Value(i)), true
	case *array.Uint32:
		return int64(a.Value(i)), true
	}
	return 0, false
}

func structOf(a *array.Struct, i int) (any, error) {
	fields, ok := a.DataType().(*arrow.StructType)
	if !ok {
		return nil, fmt.Errorf("a structure of type %s", a.DataType())
	}
	values := make(map[string]any, a.NumField())
	for f := range a.NumField() {
		v, err := valueOf(a.Field(f), i)
		if err != nil {
			return nil, err
		}
		values[fields.Field(f).Name] = v
	}
	return values, nil
}

func listOf(a array.ListLike, i int) (any, error) {
	from, to := a.ValueOffsets(i)
	if n := int64(a.ListValues().Len()); from < 0 || to < from || to > n {
		return nil, fmt.Errorf("a list of the values %d to %d of %d", from, to, n)
	}
	values := make([]any, 0, to-from)
	for at := from; at < to; at++ {
		v, err := valueOf(a.ListValues(), int(at))
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// limited is memory of which no piece is larger than a batch may be: a damaged
// length asks for more than there is.
type limited struct {
	memory.Allocator
	limit int64
}

func newLimited(limit int64) limited { return limited{memory.NewGoAllocator(), limit} }

func (l limited) Allocate(size int) []byte {
	l.check(size)
	return l.Allocator.Allocate(size)
}

func (l limited) Reallocate(size int, b []byte) []byte {
	l.check(size)
	return l.Allocator.Reallocate(size, b)
}

// check panics, as there is no other way out of an allocator; guard makes an
// error of it.
func (l limited) check(size int) {
	if size < 0 || int64(size) > l.limit {
		panic(fmt.Errorf("a batch asks for %d bytes at once, and max_batch allows %d", size, l.limit))
	}
}

// builder gathers rows for a record batch.
type builder struct {
	*array.RecordBuilder
	columns []Column
	rows    int
	bytes   int // about what the batch takes
}

// Rows and bytes from which on a batch is written.
const (
	fullRows  = 64 << 10
	fullBytes = 8 << 20
)

func newBuilder(columns []Column) *builder {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.Name, Nullable: true}
		switch c.Kind {
		case Texts:
			fields[i].Type = arrow.ListOf(arrow.BinaryTypes.String)
		case Whole:
			fields[i].Type = arrow.PrimitiveTypes.Int64
		case Number:
			fields[i].Type = arrow.PrimitiveTypes.Float64
		default:
			fields[i].Type = arrow.BinaryTypes.String
		}
	}
	return &builder{RecordBuilder: array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema(fields, nil)), columns: columns}
}

func (b *builder) full() bool { return b.rows >= fullRows || b.bytes >= fullBytes }

// take returns the batch and begins the next.
func (b *builder) take() arrow.Record {
	b.rows, b.bytes = 0, 0
	return b.NewRecord()
}

func (b *builder) add(values []any) error {
	for i, v := range values {
		to := b.Field(i)
		b.bytes += 8
		ok := true
		switch v := v.(type) {
		case nil:
			to.AppendNull()
		case string:
			b.bytes += len(v)
			var text *array.StringBuilder
			if text, ok = to.(*array.StringBuilder); ok {
				text.Append(v)
			}
		case int64:
			var whole *array.Int64Builder
			if whole, ok = to.(*array.Int64Builder); ok {
				whole.Append(v)
			}
		case float64:
			var number *array.Float64Builder
			if number, ok = to.(*array.Float64Builder); ok {
				number.Append(v)
			}
		case []string:
			ok = b.addTexts(to, v)
		default:
			ok = false
		}
		if !ok {
			return fmt.Errorf("the column %q is given a %T", b.columns[i].Name, v)
		}
	}
	b.rows++
	return nil
}

func (b *builder) addTexts(to array.Builder, texts []string) bool {
	list, ok := to.(*array.ListBuilder)
	if !ok {
		return false
	}
	text, ok := list.ValueBuilder().(*array.StringBuilder)
	if !ok {
		return false
	}
	list.Append(true)
	for _, t := range texts {
		b.bytes += 8 + len(t)
		text.Append(t)
	}
	return true
}
