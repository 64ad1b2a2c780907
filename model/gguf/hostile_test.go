package gguf

import (
	"bytes"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"headinfer/model/internal/hostile"
)

// opened opens a file, and closes it if it could.
func opened(path string) func() error { return hostile.Opened(Open, path) }

func TestOpenWhatIsNoFile(t *testing.T) {
	for _, odd := range hostile.Odds {
		t.Run(odd.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "odd.gguf")
			size := odd.Put(t, path)
			hostile.Refused(t, size, opened(path), path)
		})
	}
}

// hostileFiles are files whose numbers would become memory or time if they were
// believed, and what the error says.
func hostileFiles() map[string]hostileFile {
	many := strings.Repeat("\x00", 1<<20)
	return map[string]hostileFile{
		"2^63 entries":        {raw(3, n(0), n(1<<63)), "(header): a list of 9223372036854775808 metadata entries"},
		"2^63 tensors":        {raw(3, n(1<<63), n(0)), "(header): a list of 9223372036854775808 tensors"},
		"2^63 bytes of key":   {raw(3, n(0), n(1), n(1<<63)), "metadata"},
		"2^63 bytes of text":  {raw(3, n(0), n(1), "k", 8, n(1<<63)), `key "k"): string of 9223372036854775808 bytes`},
		"2^63 numbers":        {raw(3, n(0), n(1), "k", 9, 10, n(1<<63)), `key "k"): a list of 9223372036854775808 UINT64 elements`},
		"2^63 strings":        {raw(3, n(0), n(1), "k", 9, 8, n(1<<63)), `key "k"): a list of 9223372036854775808 STRING elements`},
		"2^64-1 bytes":        {raw(3, n(0), n(1), "k", 9, 0, n(math.MaxUint64)), "18446744073709551615 UINT8 elements"},
		"a key of a megabyte": {raw(3, n(0), n(2), many, 4, 1, many, 4, 1), "the key occurs twice"},
		"a name of a megabyte": {raw(3, n(1), n(0), many, 9, n(1)),
			"9 dimensions, and the format has at most 4"},
		"arrays in arrays":     {raw(3, n(0), n(1), "k", bytes.Repeat([]byte{9, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, 10_000), many), "array of arrays"},
		"an alignment of 2^31": {append(raw(3, n(1), n(1), keyAlignment, 4, uint32(1<<31), "w", 1, n(1), 0, n(0)), many...), "passes the end of the file"},
		"an alignment of 2^32-1": {append(raw(3, n(1), n(1), keyAlignment, 4, uint32(math.MaxUint32), "w", 1, n(1), 0, n(0)), many...),
			"must be a power of two"},
		"a dimension of 0":    {append(raw(3, n(1), n(0), "w", 2, n(0), n(1<<40), 0, n(0)), many...), `name "w"): dimension 0 is 0`},
		"a shape past 2^64":   {append(raw(3, n(1), n(0), "w", 4, n(1<<62), n(1<<62), n(1<<62), n(1<<62), 0, n(0)), many...), "address space"},
		"data past the end":   {append(raw(3, n(1), n(0), "w", 1, n(1<<40), 0, n(0)), many...), "passes the end of the file"},
		"an offset of 2^64-1": {append(raw(3, n(1), n(0), "w", 1, n(1), 0, n(math.MaxUint64-31)), many...), "passes the end of the file"},
		"a byte order mark":   {append([]byte("\xef\xbb\xbf"), raw(3, n(0), n(0))...), "where a GGUF file has"},
		"lines ended twice":   {[]byte("GGUF\r\n\r\n\r\n"), "is not read, only 2 and 3"},
	}
}

type hostileFile struct {
	data []byte
	want string
}

func TestHostileFiles(t *testing.T) {
	for name, file := range hostileFiles() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "hostile.gguf")
			size := hostile.Write(t, path, file.data)
			hostile.Refused(t, size, opened(path), path+": at byte ", file.want)
		})
	}
}

// TestHolesAreNotRead has files that are a terabyte and take no room, with counts
// that go with it.
func TestHolesAreNotRead(t *testing.T) {
	for name, head := range map[string][]byte{
		"an array":  raw(3, n(0), n(1), "k", 9, 0, n(1<<39)),
		"strings":   raw(3, n(0), n(1), "k", 9, 8, n(1<<36)),
		"a string":  raw(3, n(0), n(1), "k", 8, n(1<<39)),
		"a key":     raw(3, n(0), n(1), n(1<<39)),
		"entries":   raw(3, n(0), n(1<<36)),
		"tensors":   raw(3, n(1<<35), n(0)),
		"many keys": raw(3, n(0), n(1<<20), "k", 9, 0, n(1<<27)),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "holes.gguf")
			size := hostile.Holes(t, path, head)
			// An array of half of what is read is taken, before what follows it is not.
			hostile.Refused(t, size+maxHead/8, opened(path), path+": at byte ")
		})
	}
}
