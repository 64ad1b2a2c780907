package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt's files begin with two meta pages, of which the later valid one counts.
// A meta page is a header of 16 bytes and then, in the machine's byte order,
// magic, version, page size and flags (4 bytes each), the root bucket (16), the
// list of free pages, the number of pages, the transaction and the FNV-1a of
// these (8 each).
const (
	metaAt      = 16
	metaPages   = 40
	metaTx      = 48
	metaSum     = 56
	metaBytes   = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
)

// cutShort returns an error if a database has fewer pages than it says. bbolt
// maps the file, and what touches a page past its end ends the process.
func cutShort(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	var pages, last uint64
	var size uint64
	// Where the second page is, only the first says; a damaged one leaves the usual sizes.
	for _, at := range []int64{0, 4 << 10, 8 << 10, 16 << 10, 64 << 10} {
		meta := make([]byte, metaBytes)
		if _, err := file.ReadAt(meta, at+metaAt); errors.Is(err, io.EOF) {
			continue
		} else if err != nil {
			return err
		}
		order := binary.NativeEndian
		sum := fnv.New64a()
		sum.Write(meta[:metaSum])
		if order.Uint32(meta) != metaMagic || order.Uint32(meta[4:]) != metaVersion || order.Uint64(meta[metaSum:]) != sum.Sum64() {
			continue
		}
		if tx := order.Uint64(meta[metaTx:]); size == 0 || tx > last {
			last, size, pages = tx, uint64(order.Uint32(meta[8:])), order.Uint64(meta[metaPages:])
		}
	}
	// Not before: a process that has it makes it longer first, and then says so there.
	info, err := file.Stat()
	if err != nil {
		return err
	}
	switch {
	case size == 0:
		return fmt.Errorf("%w: neither of its first pages is whole", errUnreadable)
	case pages > uint64(info.Size())/size:
		return fmt.Errorf("%w: it has %d bytes, and %d pages of %d were written", errUnreadable, info.Size(), pages, size)
	}
	return nil
}
