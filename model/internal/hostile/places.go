package hostile

import (
	"os"
	"path/filepath"
	"testing"
)

// Odd is something that can stand where a file is expected. Put puts it at a path
// and returns how many bytes it claims to have; it skips the test where a system
// has no such thing.
type Odd struct {
	Name string
	Put  func(t testing.TB, path string) (claims int64)
}

// Odds are what is no file, or none of its kind whatever that is.
var Odds = []Odd{
	{"nothing in it", func(t testing.TB, path string) int64 { return Write(t, path, nil) }},
	{"one byte", func(t testing.TB, path string) int64 { return Write(t, path, []byte{'{'}) }},
	{"zeros", func(t testing.TB, path string) int64 { return Write(t, path, make([]byte, 4096)) }},
	{"a directory", func(t testing.TB, path string) int64 {
		must(t, os.Mkdir(path, 0o700))
		return 0
	}},
	{"a pipe that nobody writes to", pipe},
	{"a device without end", func(t testing.TB, path string) int64 {
		if _, err := os.Stat("/dev/zero"); err != nil {
			t.Skip(err)
		}
		link(t, "/dev/zero", path)
		return 0
	}},
	{"a link to itself", func(t testing.TB, path string) int64 {
		link(t, filepath.Base(path), path)
		return 0
	}},
	{"a terabyte of holes", func(t testing.TB, path string) int64 { return Holes(t, path, nil) }},
}

// Write writes a file and returns its bytes.
func Write(t testing.TB, path string, data []byte) int64 {
	must(t, os.WriteFile(path, data, 0o600))
	return int64(len(data))
}

// Holes writes a file of a terabyte that begins with head and is empty then. It
// returns head's bytes alone: no more may be counted on.
func Holes(t testing.TB, path string, head []byte) int64 {
	n := Write(t, path, head)
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skipf("needs a file system with sparse files: %v", err)
	}
	return n
}

func link(t testing.TB, to, path string) {
	if err := os.Symlink(to, path); err != nil {
		t.Skipf("needs a file system with links: %v", err)
	}
}

func must(t testing.TB, err error) {
	if err != nil {
		t.Fatal(err)
	}
}
