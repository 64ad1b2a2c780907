package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
)

// Rows and bytes of a batch that is read of a row group.
const (
	readRows  = 1 << 10
	readBytes = 8 << 20
)

// parquetReader reads one row group after the other, each in batches.
type parquetReader struct {
	batchRows
	ctx     context.Context
	file    *file.Reader
	memory  limited
	leaves  []int // the columns of the file that are read
	group   int   // row group after the one that is read
	records pqarrow.RecordReader
	left    int64 // rows of the group that have not come
}

// ParquetOptions says what is read, and how.
type ParquetOptions struct {
	Columns []string // names of the columns that are read; all if nil
	Limit   int64    // most bytes of one piece of a batch
	Block   int64    // bytes that are read at a time
}

// Parquet reads a Parquet file of size bytes. ctx ends its reads.
func Parquet(ctx context.Context, r io.ReaderAt, size int64, opt ParquetOptions) (Reader, error) {
	s := &parquetReader{ctx: ctx, memory: newLimited(opt.Limit)}
	props := parquet.NewReaderProperties(s.memory)
	props.BufferedStreamEnabled, props.BufferSize = true, opt.Block
	err := guard("no Parquet", func() (err error) {
		if s.file, err = file.NewParquetReader(io.NewSectionReader(r, 0, size), file.WithReadProps(props)); err != nil {
			return err
		}
		return s.choose(opt.Columns)
	})
	if err != nil {
		return nil, err
	}
	s.next = s.batchAfter
	return s, nil
}

// choose finds the leaves of the columns that are read. Columns of columns are
// read with what they belong to.
func (s *parquetReader) choose(names []string) error {
	schema, err := pqarrow.FromParquet(s.file.MetaData().Schema, nil, s.file.MetaData().KeyValueMetadata())
	if err != nil {
		return err
	}
	for _, f := range schema.Fields() {
		if names == nil || slices.Contains(names, f.Name) {
			s.names = append(s.names, f.Name)
		}
	}
	for leaf := range s.file.MetaData().Schema.NumColumns() {
		if slices.Contains(s.names, s.file.MetaData().Schema.ColumnRoot(leaf).Name()) {
			s.leaves = append(s.leaves, leaf)
		}
	}
	return nil
}

func (s *parquetReader) batchAfter() (arrow.Record, error) {
	for {
		if s.records != nil {
			batch, err := s.records.Read()
			switch {
			case err == nil && batch != nil:
				if len(s.names) != int(batch.NumCols()) {
					return nil, fmt.Errorf("a batch of %d columns, and %d were asked for", batch.NumCols(), len(s.names))
				}
				s.left -= batch.NumRows()
				return batch, nil
			case err != nil && err != io.EOF: //nolint:errorlint // wrapped, it is no end
				return nil, fmt.Errorf("row group %d: damaged or cut: %w", s.group, err)
			case s.left != 0:
				return nil, fmt.Errorf("row group %d: %d of its rows are missing", s.group, s.left)
			}
			s.records.Release()
			s.records = nil
		}
		if s.group == s.file.NumRowGroups() {
			return nil, io.EOF
		}
		if err := s.begin(); err != nil {
			return nil, err
		}
	}
}

// begin opens the next row group, in batches of a size that its rows allow.
func (s *parquetReader) begin() error {
	meta := s.file.MetaData().RowGroup(s.group)
	rows := meta.NumRows()
	size := int64(0)
	for _, leaf := range s.leaves {
		column, err := meta.ColumnChunk(leaf)
		if err != nil {
			return fmt.Errorf("row group %d: %w", s.group+1, err)
		}
		size += column.TotalUncompressedSize()
	}
	batch := int64(readRows)
	if rows > 0 {
		batch = min(max(readBytes/max(size/rows, 1), 1), readRows)
	}
	reader, err := pqarrow.NewFileReader(s.file, pqarrow.ArrowReadProperties{BatchSize: batch}, s.memory)
	if err == nil {
		s.records, err = reader.GetRecordReader(s.ctx, s.leaves, []int{s.group})
	}
	if err != nil {
		return fmt.Errorf("row group %d: %w", s.group+1, err)
	}
	s.left = rows
	s.group++
	return nil
}

func (s *parquetReader) Close() {
	_ = guard("", func() error { // nothing is lost by it
		if s.records != nil {
			s.records.Release()
		}
		return s.file.Close()
	})
}

// codecs are the compressions of Parquet that can be chosen.
var codecs = map[string]compress.Compression{
	"none": compress.Codecs.Uncompressed, "snappy": compress.Codecs.Snappy, "gzip": compress.Codecs.Gzip, "zstd": compress.Codecs.Zstd,
}

// parquetWriter writes a row group a batch.
type parquetWriter struct {
	builder *builder
	out     *pqarrow.FileWriter
}

// NewParquet writes a Parquet file, compressed by none, snappy, gzip or zstd.
func NewParquet(w io.Writer, columns []Column, compression string) (Writer, error) {
	codec, ok := codecs[compression]
	if !ok {
		return nil, fmt.Errorf("no compression %q", compression)
	}
	b := newBuilder(columns)
	// The library closes what it can close.
	out, err := pqarrow.NewFileWriter(b.Schema(), struct{ io.Writer }{w},
		parquet.NewWriterProperties(parquet.WithCompression(codec), parquet.WithMaxRowGroupLength(fullRows)), pqarrow.DefaultWriterProps())
	if err != nil {
		return nil, err
	}
	return &parquetWriter{b, out}, nil
}

func (s *parquetWriter) Write(values []any) error {
	if err := s.builder.add(values); err != nil || !s.builder.full() {
		return err
	}
	return s.flush()
}

func (s *parquetWriter) flush() error {
	batch := s.builder.take()
	defer batch.Release()
	return guard("Parquet", func() error { return s.out.Write(batch) })
}

func (s *parquetWriter) Close() error {
	var err error
	if s.builder.rows > 0 {
		err = s.flush()
	}
	s.builder.Release()
	return errors.Join(err, guard("Parquet", s.out.Close))
}
