package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// batchKind is what a record batch of a snapshot holds.
type batchKind int

const (
	batchBlocks batchKind = iota // tokens of a head as the blocks have them
	batchTail                    // tokens of a head that fill no record
	batchRecent                  // the last tokens of a head of a layer with a window
	batchLogits                  // not of a head: the logits of the token to come
)

// snapshotBatch is one record batch: the same number of bytes of keys and of values.
type snapshotBatch struct {
	kind        batchKind
	layer, head int
	lo, hi      int   // tokens of the text
	bytes       int64 // of each of the two
}

// rowBytes returns what a row of a snapshot's columns has: a head's token in the
// activations' type. A record of codes is a whole number of them.
func (of SnapshotOf) rowBytes() int64 { return int64(of.Shape.HeadDim * of.Activations.BlockBytes()) }

// sized sets the bytes of a batch's tokens.
func (b snapshotBatch) sized(of SnapshotOf) snapshotBatch {
	b.bytes = int64(b.hi-b.lo) * of.rowBytes()
	if b.kind == batchBlocks {
		b.bytes = int64(b.hi-b.lo) * of.Shape.TokenBytes() / 2
	}
	return b
}

// batches lists a snapshot's record batches in the file's order, but no more than
// most and one.
func (h snapshotHeader) batches(of SnapshotOf, most int) []snapshotBatch {
	var all []snapshotBatch
	shape, record := of.Shape, of.Shape.DType.Block()
	add := func(kind batchKind, layer, head, lo, hi int) {
		for at := lo; at < hi && len(all) <= most; at += h.Span {
			b := snapshotBatch{kind: kind, layer: layer, head: head, lo: at, hi: min(at+h.Span, hi)}
			all = append(all, b.sized(of))
		}
	}
	stored := h.Tokens / record * record
	for layer := range shape.Layers {
		for head := range shape.KVHeads {
			if len(all) > most {
				return all
			}
			if shape.local(layer) {
				add(batchRecent, layer, head, h.Tokens-shape.Local.Seen(h.Tokens), h.Tokens)
				continue
			}
			add(batchBlocks, layer, head, 0, stored)
			add(batchTail, layer, head, stored, h.Tokens)
		}
	}
	if h.Logits > 0 {
		row := of.rowBytes()
		all = append(all, snapshotBatch{kind: batchLogits, bytes: ((int64(h.Logits)*4+1)/2 + row - 1) / row * row})
	}
	return all
}

// gap is a run of a file's bytes that are not the same in every file of a layout:
// a batch's keys or values.
type gap struct{ offset, bytes int64 }

// skeleton is all of a file but its gaps.
type skeleton struct {
	text  []byte // what lies around the gaps, together
	gaps  []gap  // a batch's keys and values in turn
	total int64  // bytes of the file
}

// layout returns the skeleton of a snapshot.
func (h snapshotHeader) layout(of SnapshotOf, batches []snapshotBatch, tokens []int32, sums []uint64) (*skeleton, error) {
	text, err := h.text(tokens, sums)
	if err != nil {
		return nil, err
	}
	// Batches come from memory of many pieces, and some from a device; Arrow's
	// writer wants each column in one. It only passes it on, so it gets the same
	// memory for all of them, which nobody ever touches.
	var most int64
	for _, b := range batches {
		most = max(most, b.bytes)
	}
	blank := make([]byte, most)
	width := &arrow.FixedSizeBinaryType{ByteWidth: int(of.rowBytes())}
	meta := arrow.NewMetadata([]string{snapshotKey}, []string{text})
	schema := arrow.NewSchema([]arrow.Field{{Name: "k", Type: width}, {Name: "v", Type: width}}, &meta)
	out := &skeletonWriter{blank: blank}
	w, err := ipc.NewFileWriter(out, ipc.WithSchema(schema))
	if err != nil {
		return nil, err
	}
	for _, b := range batches {
		column := array.NewData(width, int(b.bytes)/width.ByteWidth, []*memory.Buffer{nil, memory.NewBufferBytes(blank[:b.bytes])}, nil, 0, 0)
		side := array.NewFixedSizeBinaryData(column)
		record := array.NewRecord(schema, []arrow.Array{side, side}, int64(side.Len()))
		err := w.Write(record)
		record.Release()
		side.Release()
		column.Release()
		if err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if len(out.gaps) != 2*len(batches) {
		return nil, fmt.Errorf("snapshot: %d batches were written in %d parts", len(batches), len(out.gaps))
	}
	return &out.skeleton, nil
}

// skeletonWriter takes an Arrow file, and of its columns only where they lie.
type skeletonWriter struct {
	skeleton
	blank []byte
}

func (w *skeletonWriter) Write(p []byte) (int, error) {
	if len(p) > 0 && len(w.blank) > 0 && unsafe.SliceData(p) == unsafe.SliceData(w.blank) {
		w.gaps = append(w.gaps, gap{w.total, int64(len(p))})
	} else {
		w.text = append(w.text, p...)
	}
	w.total += int64(len(p))
	return len(p), nil
}

// Seek tells where the writer is, which is all that it is asked for.
func (w *skeletonWriter) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return 0, errors.New("snapshot: the file is written from its beginning to its end")
	}
	return w.total, nil
}

// parts calls f with each run of bytes between the gaps.
func (s *skeleton) parts(f func(offset int64, text []byte) error) error {
	text, at := s.text, int64(0)
	for _, g := range append(s.gaps[:len(s.gaps):len(s.gaps)], gap{offset: s.total}) {
		n := g.offset - at
		if n > 0 {
			if err := f(at, text[:n]); err != nil {
				return err
			}
		}
		text, at = text[n:], g.offset+g.bytes
	}
	return nil
}

// matches compares the file with the skeleton.
func (s *skeleton) matches(file io.ReaderAt) error {
	var have []byte
	return s.parts(func(offset int64, text []byte) error {
		have = append(have[:0], text...)
		if _, err := file.ReadAt(have, offset); err != nil {
			return err
		}
		if !bytes.Equal(have, text) {
			return fmt.Errorf("the %d bytes from byte %d are not those of the file's layout", len(text), offset)
		}
		return nil
	})
}
