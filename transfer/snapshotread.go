package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"
)

// Snapshot is a snapshot that is open for reading. Once open it can be read to its
// end, whatever becomes of its name.
type Snapshot struct {
	Path   string
	Of     SnapshotOf
	Tokens []int32
	Bytes  int64 // of the file

	header snapshotHeader
	sums   []uint64
	file   *os.File
}

// OpenSnapshot opens a file and reads what it is of. What is wrong with it is a
// *SnapshotError.
func OpenSnapshot(path string) (*Snapshot, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Path: path, file: file}
	if err := s.readHeader(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

// Close closes the file.
func (s *Snapshot) Close() error { return s.file.Close() }

func (s *Snapshot) damaged(err error) error {
	if own, ok := errors.AsType[*SnapshotError](err); ok {
		own.Path = s.Path
		return own
	}
	return &SnapshotError{Path: s.Path, What: "is damaged", Err: err}
}

func (s *Snapshot) readHeader() error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	s.Bytes = info.Size()
	schema, err := readSchema(s.file, s.Bytes)
	if err != nil {
		return s.damaged(err)
	}
	if s.header, s.Tokens, s.sums, err = readHeader(schema); err != nil {
		return s.damaged(err)
	}
	if s.Of, err = s.header.of(); err != nil {
		return s.damaged(err)
	}
	return nil
}

// fileStart is how an Arrow file begins: its name, to a multiple of 8, and then a
// message, after a mark and its length.
const fileStart = "ARROW1\x00\x00\xff\xff\xff\xff"

// readSchema reads an Arrow file's first message, the schema, as it is. Arrow's own
// reader trusts what a message says, and takes what memory a damaged one asks for.
func readSchema(file io.ReaderAt, size int64) ([]byte, error) {
	start := make([]byte, len(fileStart)+4)
	if _, err := file.ReadAt(start, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(start[:len(fileStart)]) != fileStart {
		return nil, errors.New("it does not begin as an Arrow file")
	}
	length := int64(binary.LittleEndian.Uint32(start[len(fileStart):]))
	if length > size-int64(len(start)) {
		return nil, fmt.Errorf("its schema takes %d bytes, and the file has %d", length, size)
	}
	schema := make([]byte, length)
	_, err := file.ReadAt(schema, int64(len(start)))
	return schema, err
}

// plan returns the snapshot's batches and its layout.
func (s *Snapshot) plan() ([]snapshotBatch, *skeleton, error) {
	batches := s.header.batches(s.Of, len(s.sums))
	if len(batches) != len(s.sums) {
		return nil, nil, s.damaged(fmt.Errorf("it has %d checksums, which is not one of each batch", len(s.sums)))
	}
	left := s.Bytes
	for _, b := range batches {
		if left -= 2 * b.bytes; left < 0 {
			break
		}
	}
	if left < 0 {
		return nil, nil, s.damaged(fmt.Errorf("it was cut: it has %d bytes, fewer than the keys and values of %d tokens", s.Bytes, s.header.Tokens))
	}
	where, err := s.header.layout(s.Of, batches, s.Tokens, s.sums)
	switch {
	case err != nil:
		return nil, nil, s.damaged(err)
	case where.total != s.Bytes:
		return nil, nil, s.damaged(fmt.Errorf("it has %d bytes; expected %d", s.Bytes, where.total))
	}
	if err := where.matches(s.file); err != nil {
		return nil, nil, s.damaged(err)
	}
	return batches, where, nil
}

// Usable returns how many of the snapshot's first tokens a sequence can be given,
// of up to some that its text begins with. It is all or, in whole records, as many as
// are wanted; but layers with a window have kept what the last ones see only.
func (s *Snapshot) Usable(tokens int) int {
	if tokens >= s.header.Tokens {
		return s.header.Tokens
	}
	if l := s.Of.Shape.Local; l != nil && l.Seen(s.header.Tokens) < s.header.Tokens && s.Of.Shape.Full() < s.Of.Shape.Layers {
		return 0
	}
	return tokens / s.Of.Shape.DType.Block() * s.Of.Shape.DType.Block()
}

// Refuse returns why the snapshot is not one of what is wanted: nil, or a
// *SnapshotError.
func (s *Snapshot) Refuse(want SnapshotOf) error {
	if what := s.Of.differs(want); what != "" {
		return &SnapshotError{Path: s.Path, Foreign: true, What: what}
	}
	return nil
}

// Load gives an empty sequence, which has room for them, the snapshot's first
// tokens: a number that Usable returns. The logits are those after all of its
// tokens, nil if they were not kept or fewer tokens are wanted. If it fails, the
// sequence is still empty.
func (s *Snapshot) Load(ctx context.Context, to *Sequence, tokens int, port *SnapshotPort) (logits []float32, err error) {
	if err := to.snapshots(); err != nil {
		return nil, err
	}
	if what := s.Of.differs(SnapshotOf{Model: s.Of.Model, Method: s.Of.Method, Shape: to.shape, Activations: to.activations()}); what != "" {
		return nil, &SnapshotError{Path: s.Path, Foreign: true, What: what}
	}
	if to.tokens > 0 || !to.Fits(tokens) || tokens < 1 || s.Usable(tokens) != tokens {
		return nil, fmt.Errorf("snapshot %s of %d tokens: %d of them for a sequence that holds %d and has room for %d", s.Path, s.header.Tokens, tokens, to.tokens, to.capacity)
	}
	all, where, err := s.plan()
	if err != nil {
		return nil, err
	}
	var batches []snapshotBatch // those that are wanted
	var number []int            // of each in the file
	for i, b := range all {
		if b.kind == batchLogits && tokens < s.header.Tokens {
			continue
		}
		if b.lo < tokens || b.kind == batchLogits {
			batches, number = append(batches, b), append(number, i)
		}
	}
	err = port.each(ctx, batches, func(l *lane, i int) error {
		at := number[i]
		found, err := l.read(s, to, batches[i], tokens, where.gaps[2*at:2*at+2], s.sums[at])
		if found != nil {
			logits = found
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return logits, to.Advance(tokens)
}

// read brings a batch to its places in a sequence, as far as its tokens are wanted,
// and compares its checksum.
func (l *lane) read(s *Snapshot, to *Sequence, b snapshotBatch, tokens int, gaps []gap, want uint64) (logits []float32, err error) {
	if b.kind == batchLogits {
		both := l.spare(2 * b.bytes)
		if err := s.compare(b, [][]byte{both[:b.bytes]}, [][]byte{both[b.bytes:]}, gaps, want); err != nil {
			return nil, err
		}
		logits = make([]float32, s.header.Logits)
		copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(logits))), 4*len(logits)), both)
		return logits, nil
	}
	kept := b
	kept.hi = min(b.hi, tokens)
	kept = kept.sized(s.Of)
	places, onDevice := to.where(kept)
	var keys, values [][]byte
	if onDevice {
		k, v, err := l.staged(kept.bytes)
		if err != nil {
			return nil, err
		}
		keys, values = [][]byte{k}, [][]byte{v}
	} else {
		for _, kv := range places {
			keys, values = append(keys, hostBytes(kv.Keys())), append(values, hostBytes(kv.Values()))
		}
	}
	if more := b.bytes - kept.bytes; more > 0 { // the checksum is of these, too
		spare := l.spare(more)
		keys, values = append(keys, spare), append(values, spare)
	}
	if err := s.compare(b, keys, values, gaps, want); err != nil || !onDevice {
		return nil, err
	}
	return nil, l.move(places, keys[0], values[0], false)
}

// compare reads a batch into memory and compares its checksum.
func (s *Snapshot) compare(b snapshotBatch, keys, values [][]byte, gaps []gap, want uint64) error {
	got, err := eachPart([2][][]byte{keys, values}, gaps, s.file.ReadAt)
	if err != nil {
		return s.damaged(err)
	}
	if got != want {
		return s.damaged(fmt.Errorf("the checksum of %s does not match", b))
	}
	return nil
}

// String names the batch for a person.
func (b snapshotBatch) String() string {
	if b.kind == batchLogits {
		return "the logits"
	}
	return fmt.Sprintf("tokens %d to %d of layer %d, KV head %d", b.lo, b.hi, b.layer, b.head)
}

// Verify reads all of the snapshot and compares every byte of it with what is known
// of it: its layout, and the checksums.
func (s *Snapshot) Verify(ctx context.Context) error {
	batches, where, err := s.plan()
	if err != nil {
		return err
	}
	var port SnapshotPort // nothing goes to a device
	return port.each(ctx, batches, func(l *lane, i int) error {
		b := batches[i]
		room := l.spare(b.bytes)
		return s.compare(b, [][]byte{room}, [][]byte{room}, where.gaps[2*i:2*i+2], s.sums[i])
	})
}

// HasLogits reports whether the logits after the last token were kept.
func (s *Snapshot) HasLogits() bool { return s.header.Logits > 0 }
