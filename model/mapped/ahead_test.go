package mapped

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// mapOf maps a new file of some random bytes.
func mapOf(t *testing.T, r *rand.Rand, size int) (f *File, path string) {
	t.Helper()
	data := make([]byte, size)
	for i := 0; i < size; i += 1 + r.IntN(1000) {
		data[i] = byte(r.Uint32())
	}
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f, path
}

func TestReadAhead(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const size = 3*pieceBytes + 12345
	f, _ := mapOf(t, r, size)
	// Parts of any size at any place, empty ones and memory of our own among them.
	parts := [][]byte{nil, make([]byte, 3), make([]byte, 20_001)[7:]}
	for at := 0; at < size; {
		n := min(size-at, r.IntN(size/4))
		parts = append(parts, f.Bytes()[at:at+n])
		at += n
	}
	r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	a := ReadAhead(parts, int64(r.IntN(size)))
	for i := range parts {
		if err := a.Wait(i); err != nil {
			t.Fatal(err)
		}
		if a.left[i] != 0 {
			t.Errorf("%d bytes of part %d are not there", a.left[i], i)
		}
	}
	a.Close()
	// With a window of nothing, too, and in another order than theirs.
	b := ReadAhead(parts, 0)
	for _, i := range r.Perm(len(parts)) {
		if err := b.Wait(i); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	ReadAhead(nil, 1).Close()
}

// TestReadAheadWindow checks that nothing past the window is read.
func TestReadAheadWindow(t *testing.T) {
	parts := [][]byte{make([]byte, 100), make([]byte, 100), make([]byte, 100), make([]byte, 100)}
	a := ReadAhead(parts, 150)
	read := func() (n int) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, left := range a.left {
			if left == 0 {
				n++
			}
		}
		return n
	}
	settle := func(want int) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for read() < want && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
		if n := read(); n != want {
			t.Fatalf("%d parts are read, want %d", n, want)
		}
	}
	settle(2) // the second begins within the window
	if err := a.Wait(0); err != nil {
		t.Fatal(err)
	}
	settle(3)
	if err := a.Wait(1); err != nil {
		t.Fatal(err)
	}
	settle(4)
	a.Close()

	// Closing ends it in the middle, and whoever waits.
	before := runtime.NumGoroutine()
	b := ReadAhead(parts, 0)
	b.Close()
	if err := b.Wait(3); err != nil {
		t.Error(err)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines are left", n-before)
	}
}

// TestReadAheadCut cuts the file while it is mapped.
func TestReadAheadCut(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere this is a fault")
	}
	r := rand.New(rand.NewPCG(1, 2))
	f, path := mapOf(t, r, 4<<20)
	if err := populate(f.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	if !populates(f.Bytes()) {
		t.Skip("this system cannot say what it cannot read (Linux 5.14 can)")
	}
	a := ReadAhead([][]byte{f.Bytes()[:1<<20], f.Bytes()}, 0)
	defer a.Close()
	if err := a.Wait(0); err != nil {
		t.Error(err)
	}
	if err := a.Wait(1); err == nil || !strings.Contains(err.Error(), "the file has been cut short") {
		t.Errorf("a file that was cut: %v", err)
	}
}
