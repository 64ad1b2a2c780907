package table

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"
)

const (
	arrowMagic = "ARROW1"
	oldMagic   = "FEA1"
)

// arrowReader reads record batches in the order in which they stand.
type arrowReader struct {
	batchRows
	release func()
}

func (s *arrowReader) Close() {
	_ = guard("", func() error { s.release(); return nil }) // nothing is lost by it
}

func (s *arrowReader) name(schema *arrow.Schema) {
	for _, f := range schema.Fields() {
		s.names = append(s.names, f.Name)
	}
}

// ArrowFile reads an Arrow IPC file of size bytes by the table of places at its
// end, or a stream that is in one. limit is the most bytes of a batch's body.
func ArrowFile(r io.ReaderAt, size, limit int64) (Reader, error) {
	section := io.NewSectionReader(r, 0, size)
	magic := make([]byte, len(arrowMagic))
	if _, err := io.ReadFull(section, magic); err != nil || string(magic) != arrowMagic {
		return Arrow(io.NewSectionReader(r, 0, size), limit)
	}
	if err := checkFooter(r, size); err != nil {
		return nil, fmt.Errorf("no Arrow IPC: %w", err)
	}
	s := &arrowReader{release: func() {}}
	err := guard("no Arrow IPC", func() error {
		file, err := ipc.NewFileReader(section, ipc.WithAllocator(newLimited(limit)))
		if err != nil {
			return fmt.Errorf("no Arrow IPC, or cut: %w", err)
		}
		s.name(file.Schema())
		at := 0
		s.next = func() (arrow.Record, error) {
			if at == file.NumRecords() {
				return nil, io.EOF
			}
			batch, err := file.RecordAt(at)
			if err != nil {
				return nil, fmt.Errorf("batch %d: damaged or cut: %w", at+1, ended(err))
			}
			at++
			return batch, nil
		}
		s.release = func() { _ = file.Close() } // it is only read
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Arrow reads Arrow IPC from its beginning: a stream, or a file, which holds a
// stream and then a table of places. limit is the most bytes of a batch's body.
func Arrow(r io.Reader, limit int64) (Reader, error) {
	in := bufio.NewReaderSize(r, blockSize)
	// An end that comes early is reported by what follows.
	magic, _ := in.Peek(len(arrowMagic))
	inFile := string(magic) == arrowMagic
	switch {
	case inFile:
		if _, err := in.Discard(8); err != nil {
			return nil, ended(err)
		}
	case strings.HasPrefix(string(magic), oldMagic):
		return nil, errors.New("the file is Feather's first version; write it anew as Arrow IPC")
	}
	if err := checkStream(in); err != nil {
		return nil, fmt.Errorf("no Arrow IPC: %w", err)
	}
	s := &arrowReader{}
	err := guard("no Arrow IPC", func() error {
		stream, err := ipc.NewReader(in, ipc.WithAllocator(newLimited(limit)))
		if err != nil {
			return fmt.Errorf("no Arrow IPC: %w", err)
		}
		s.name(stream.Schema())
		s.release = stream.Release
		s.next = func() (arrow.Record, error) {
			batch, err := stream.Read()
			switch {
			case err == io.EOF && inFile: //nolint:errorlint // wrapped, it is no end
				return nil, fileEnd(in)
			case err == io.EOF: //nolint:errorlint // wrapped, it is no end
				return nil, err
			case err != nil:
				return nil, fmt.Errorf("damaged or cut: %w", ended(err))
			case batch == nil:
				return nil, errors.New("damaged or cut")
			}
			return batch, nil
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// fileEnd reads what stands behind the last batch of a file, which ends as it
// began unless it was cut.
func fileEnd(in io.Reader) error {
	var last []byte
	block := make([]byte, 64<<10)
	for {
		n, err := in.Read(block)
		last = append(last, block[:n]...)
		last = last[max(len(last)-len(arrowMagic), 0):]
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if string(last) != arrowMagic {
		return fmt.Errorf("cut: the file does not end with %s: %w", arrowMagic, io.ErrUnexpectedEOF)
	}
	return io.EOF
}

// arrowWriter writes record batches to a file.
type arrowWriter struct {
	builder *builder
	to      io.Writer
	out     *ipc.FileWriter
}

// endOfStream stands behind the last batch, for those who read a file from its
// beginning. The library leaves it out.
var endOfStream = []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}

// told is a writer that knows how much it has written: all that the library
// wants of one that can seek.
type told struct {
	io.Writer
	at int64
}

func (w *told) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.at += int64(n)
	return n, err
}

func (w *told) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return 0, errors.ErrUnsupported
	}
	return w.at, nil
}

// NewArrow writes an Arrow IPC file.
func NewArrow(w io.Writer, columns []Column) (Writer, error) {
	b := newBuilder(columns)
	to := &told{Writer: w}
	out, err := ipc.NewFileWriter(to, ipc.WithSchema(b.Schema()))
	if err != nil {
		return nil, err
	}
	return &arrowWriter{b, to, out}, nil
}

func (s *arrowWriter) Write(values []any) error {
	if err := s.builder.add(values); err != nil || !s.builder.full() {
		return err
	}
	return s.flush()
}

func (s *arrowWriter) flush() error {
	batch := s.builder.take()
	defer batch.Release()
	return s.out.Write(batch)
}

func (s *arrowWriter) Close() error {
	defer s.builder.Release()
	// A file without rows has its schema from a batch without rows.
	if err := s.flush(); err != nil {
		return err
	}
	if _, err := s.to.Write(endOfStream); err != nil {
		return err
	}
	return s.out.Close()
}
