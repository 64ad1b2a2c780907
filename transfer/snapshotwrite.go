package transfer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"unsafe"
)

// temporaryPattern names files that are being written. Nothing reads them.
const temporaryPattern = ".headinfer-kv-*.tmp"

// SnapshotText is what a snapshot keeps beside keys and values.
type SnapshotText struct {
	Tokens []int32   // all that the sequence holds
	Logits []float32 // of the token to come; nil: not kept
	Begins string    // how the text begins, for a person
}

// WriteSnapshot writes what a sequence holds to a file, which appears under its
// name when it is whole and on the disk, and not at all otherwise. Nothing enqueued
// may still write to the sequence.
func WriteSnapshot(ctx context.Context, path string, of SnapshotOf, s *Sequence, text SnapshotText, port *SnapshotPort) (err error) {
	if err := s.snapshots(); err != nil {
		return err
	}
	if len(text.Tokens) != s.Tokens() {
		return fmt.Errorf("snapshot of %d tokens of a sequence that holds %d", len(text.Tokens), s.Tokens())
	}
	file, err := os.CreateTemp(filepath.Dir(path), temporaryPattern)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// Closing it twice is refused, and that is all.
			_, _ = file.Close(), os.Remove(file.Name())
		}
	}()
	if err := writeSnapshot(ctx, file, of, s, text, port); err != nil {
		return err
	}
	if err := errors.Join(file.Chmod(0o644), file.Sync()); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// writeSnapshot writes keys and values, whose places do not depend on their
// checksums, and then what lies around them.
func writeSnapshot(ctx context.Context, file *os.File, of SnapshotOf, s *Sequence, text SnapshotText, port *SnapshotPort) error {
	h := newSnapshotHeader(of, len(text.Tokens), len(text.Logits), text.Begins)
	batches := h.batches(of, math.MaxInt-1)
	sums := make([]uint64, len(batches))
	where, err := h.layout(of, batches, text.Tokens, sums)
	if err != nil {
		return err
	}
	err = port.each(ctx, batches, func(l *lane, i int) (err error) {
		sums[i], err = l.write(file, s, batches[i], where.gaps[2*i:2*i+2], text.Logits)
		return err
	})
	if err != nil {
		return err
	}
	whole, err := h.layout(of, batches, text.Tokens, sums)
	if err != nil {
		return err
	}
	if whole.total != where.total {
		return fmt.Errorf("snapshot: %d bytes with checksums, and %d without", whole.total, where.total)
	}
	return whole.parts(func(offset int64, text []byte) error {
		_, err := file.WriteAt(text, offset)
		return err
	})
}

// write writes a batch and returns its checksum.
func (l *lane) write(file *os.File, s *Sequence, b snapshotBatch, gaps []gap, logits []float32) (uint64, error) {
	keys, values, err := l.sides(s, b, logits)
	if err != nil {
		return 0, err
	}
	return eachPart([2][][]byte{keys, values}, gaps, file.WriteAt)
}

// sides returns a batch's keys and values as they lie on the host, or are brought
// there.
func (l *lane) sides(s *Sequence, b snapshotBatch, logits []float32) (keys, values [][]byte, err error) {
	if b.kind == batchLogits {
		both := l.spare(2 * b.bytes)
		clear(both)
		copy(both, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(logits))), 4*len(logits)))
		return [][]byte{both[:b.bytes]}, [][]byte{both[b.bytes:]}, nil
	}
	places, onDevice := s.where(b)
	if onDevice {
		k, v, err := l.staged(b.bytes)
		if err == nil {
			err = l.move(places, k, v, true)
		}
		return [][]byte{k}, [][]byte{v}, err
	}
	for _, kv := range places {
		keys, values = append(keys, hostBytes(kv.Keys())), append(values, hostBytes(kv.Values()))
	}
	return keys, values, nil
}
