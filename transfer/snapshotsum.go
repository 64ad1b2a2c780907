package transfer

import (
	"encoding/binary"
	"slices"

	"github.com/zeebo/xxh3"
)

// partBytes is how much is read or written, and hashed, at a time: so little that it
// is still in the processor's cache, as memory is what limits all of them. A batch's
// checksum is the hash of its parts' hashes, because hashing a part in one call is
// more than twice as fast as adding to a hash.
const partBytes = 256 << 10

// eachPart goes through the parts of a batch's keys and then of its values, which
// begin at the gaps' offsets and lie in pieces, in order. It calls move with each
// slice and where it lies in the file, and returns the checksum of what is in them
// afterwards.
func eachPart(sides [2][][]byte, gaps []gap, move func(p []byte, at int64) (int, error)) (uint64, error) {
	var sums []byte
	for side, pieces := range sides {
		at := gaps[side].offset
		pieces = slices.Clone(pieces)
		for len(pieces) > 0 {
			var part [][]byte
			for room := partBytes; room > 0 && len(pieces) > 0; {
				n := min(room, len(pieces[0]))
				p := pieces[0][:n]
				if pieces[0] = pieces[0][n:]; len(pieces[0]) == 0 {
					pieces = pieces[1:]
				}
				if _, err := move(p, at); err != nil {
					return 0, err
				}
				part = append(part, p)
				at += int64(n)
				room -= n
			}
			sums = binary.LittleEndian.AppendUint64(sums, sumOf(part))
		}
	}
	return xxh3.Hash(sums), nil
}

// sumOf hashes what lies in several slices as if it were one.
func sumOf(part [][]byte) uint64 {
	if len(part) == 1 {
		return xxh3.Hash(part[0])
	}
	x := xxh3.New()
	for _, p := range part {
		_, _ = x.Write(p) // a hash takes all
	}
	return x.Sum64()
}
