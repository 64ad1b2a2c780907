package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"headinfer/kernels"
)

const (
	// snapshotSuffix ends the names of snapshots.
	snapshotSuffix = ".arrow"
	// lookEvery is how often a directory is read again: other processes add to it.
	lookEvery = 2 * time.Second
	// staleAfter is how long nobody has written to what is still unfinished and
	// will not be finished.
	staleAfter = time.Hour
	// indexBlock is how many tokens are compared together when a beginning is
	// looked for.
	indexBlock = 64
	// candidates is among how many files that could be used the best is found, and
	// openings how many are opened for that: others' may have the same text.
	candidates = 8
	openings   = 256
)

// LeastSnapshot is the fewest tokens of a snapshot that can be found.
const LeastSnapshot = indexBlock

// Snapshots is a directory of snapshots. Several processes may use one: files
// appear whole, under names that say what they are of, and one that is removed
// while it is read is still read to its end. It is safe for concurrent use.
type Snapshots struct {
	dir  string
	most int64

	mu     sync.Mutex
	files  map[string]*indexed   // by name
	blocks map[uint64][]*indexed // by the hash of a beginning, a whole number of blocks
	told   map[string]bool       // files of which it has been said why they are not used
	unsaid []error               // why others are not, found since the last Find
	looked time.Time             // when the directory was last read
}

// indexed is what is known of a file without opening it.
type indexed struct {
	name   string
	bytes  int64
	used   time.Time
	tokens int
	hashes []uint64 // as blocks has them
}

// OpenSnapshots opens a directory, which is made if need be. Its files take no more
// than most bytes together: those that have not been used for longest make room; 0
// is no limit.
func OpenSnapshots(dir string, most int64) (*Snapshots, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	if most <= 0 {
		most = math.MaxInt64
	}
	d := &Snapshots{dir: dir, most: most, files: map[string]*indexed{}, blocks: map[uint64][]*indexed{}, told: map[string]bool{}}
	if err := RemoveUnfinished(dir, staleAfter); err != nil {
		return nil, err
	}
	return d, d.look()
}

// RemoveUnfinished removes what processes that have ended left half-written, if it
// has not been written to for some time.
func RemoveUnfinished(dir string, after time.Duration) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	for _, entry := range entries {
		if match, _ := filepath.Match(temporaryPattern, entry.Name()); !match {
			continue
		}
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()) >= after {
			err = os.Remove(filepath.Join(dir, entry.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("snapshots: %w", err)
		}
	}
	return nil
}

// look brings the index up to date with the directory.
func (d *Snapshots) look() error {
	if time.Since(d.looked) < lookEvery {
		return nil
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	d.looked = time.Now()
	there := map[string]bool{}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, snapshotSuffix) {
			continue
		}
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // gone meanwhile, or none of ours
		}
		there[name] = true
		f := d.files[name]
		if f == nil || f.bytes != info.Size() {
			f = d.add(name, info.Size(), nil)
			s, err := OpenSnapshot(d.path(name))
			switch {
			case err == nil:
				d.index(f, s.Tokens)
				_ = s.Close() // was only read
			case !errors.Is(err, fs.ErrNotExist):
				d.unsaid = append(d.unsaid, err)
				d.told[name] = true
			}
		}
		f.used = info.ModTime()
	}
	for name := range d.files {
		if !there[name] {
			d.forget(name)
		}
	}
	return nil
}

func (d *Snapshots) path(name string) string { return filepath.Join(d.dir, name) }

// add puts a file in the index, in place of one of its name.
func (d *Snapshots) add(name string, bytes int64, tokens []int32) *indexed {
	d.forget(name)
	f := &indexed{name: name, bytes: bytes, used: time.Now()}
	d.files[name] = f
	d.index(f, tokens)
	return f
}

func (d *Snapshots) index(f *indexed, tokens []int32) {
	f.tokens, f.hashes = len(tokens), beginnings(tokens)
	for _, hash := range f.hashes {
		d.blocks[hash] = append(d.blocks[hash], f)
	}
}

func (d *Snapshots) forget(name string) {
	f := d.files[name]
	if f == nil {
		return
	}
	delete(d.files, name)
	for _, hash := range f.hashes {
		left := make([]*indexed, 0, len(d.blocks[hash]))
		for _, other := range d.blocks[hash] {
			if other != f {
				left = append(left, other)
			}
		}
		if d.blocks[hash] = left; len(left) == 0 {
			delete(d.blocks, hash)
		}
	}
}

// beginnings returns a hash of each beginning of a text that is a whole number of
// blocks.
func beginnings(tokens []int32) []uint64 {
	all := make([]uint64, 0, len(tokens)/indexBlock)
	x := xxh3.New()
	for len(tokens) >= indexBlock {
		_, _ = x.Write(tokenBytes(tokens[:indexBlock])) // a hash takes all
		all, tokens = append(all, x.Sum64()), tokens[indexBlock:]
	}
	return all
}

// inCommon returns how many tokens two texts begin with alike.
func inCommon(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// Find returns the snapshot that spares most of a text: usable says how many tokens
// of one are of use that has so many in common with the text. It is nil if there is
// none; the caller closes it. refused says, once of each, why snapshots are not used
// that have the text, or cannot be read.
func (d *Snapshots) Find(of SnapshotOf, tokens []int32, usable func(s *Snapshot, common int) int) (best *Snapshot, n int, refused []error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.look(); err != nil {
		return nil, 0, []error{err}
	}
	refuse := func(name string, err error) {
		if !d.told[name] {
			d.told[name] = true
			refused = append(refused, err)
		}
	}
	refused, d.unsaid = d.unsaid, nil
	hashes := beginnings(tokens)
	tried, ours := map[*indexed]bool{}, 0
	for i := len(hashes) - 1; i >= 0 && n < (i+2)*indexBlock; i-- {
		for _, f := range append([]*indexed(nil), d.blocks[hashes[i]]...) {
			if tried[f] || ours >= candidates || len(tried) >= openings {
				continue
			}
			tried[f] = true
			s, err := OpenSnapshot(d.path(f.name))
			switch {
			case errors.Is(err, fs.ErrNotExist):
				d.forget(f.name)
				continue
			case err == nil:
				err = s.Refuse(of)
			}
			if err != nil {
				refuse(f.name, err)
				if s != nil {
					_ = s.Close() // was only read
				}
				continue
			}
			ours++
			worse := s
			if m := usable(s, inCommon(tokens, s.Tokens)); m > n {
				best, worse, n = s, best, m
			}
			if worse != nil {
				_ = worse.Close() // was only read
			}
		}
	}
	return best, n, refused
}

// Used says that a snapshot has been of use: it is now the last to make room.
func (d *Snapshots) Used(s *Snapshot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if f := d.files[filepath.Base(s.Path)]; f != nil {
		f.used = now
	}
	_ = os.Chtimes(s.Path, now, now) // a directory that cannot be written to has no order to keep
}

// Damaged says that a snapshot could not be read: it is not found again, and
// replaced when its text is saved.
func (d *Snapshots) Damaged(s *Snapshot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := filepath.Base(s.Path)
	d.told[name] = true
	if f := d.files[name]; f != nil {
		bytes := f.bytes
		d.add(name, bytes, nil)
	}
}

// Save keeps what a sequence holds, unless there is such a snapshot already. Others
// make room for it. It reports whether it was written.
func (d *Snapshots) Save(ctx context.Context, of SnapshotOf, s *Sequence, text SnapshotText, port *SnapshotPort) (bool, error) {
	name := of.key(text.Tokens) + snapshotSuffix
	h := newSnapshotHeader(of, len(text.Tokens), len(text.Logits), text.Begins)
	var bytes int64
	for _, b := range h.batches(of, math.MaxInt-1) {
		bytes += 2 * b.bytes
	}
	if bytes > d.most {
		return false, fmt.Errorf("a snapshot of %d tokens takes %s, and all together may take %s", len(text.Tokens), kernels.FormatBytes(bytes), kernels.FormatBytes(d.most))
	}
	d.mu.Lock()
	if f := d.files[name]; f != nil && f.tokens == len(text.Tokens) {
		d.mu.Unlock()
		return false, nil
	}
	err := errors.Join(d.look(), d.makeRoom(bytes, name))
	d.mu.Unlock()
	if err != nil {
		return false, err
	}
	if err := WriteSnapshot(ctx, d.path(name), of, s, text, port); err != nil {
		return false, err
	}
	info, err := os.Stat(d.path(name))
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		return true, nil // another process has made room for its own
	}
	d.add(name, info.Size(), text.Tokens)
	return true, d.makeRoom(0, name)
}

// makeRoom removes what has not been used for longest, until so many bytes more may
// be there. It leaves keep.
func (d *Snapshots) makeRoom(bytes int64, keep string) error {
	var all int64
	for _, f := range d.files {
		all += f.bytes
	}
	for all > d.most-bytes {
		var oldest *indexed
		for _, f := range d.files {
			if f.name != keep && (oldest == nil || f.used.Before(oldest.used)) {
				oldest = f
			}
		}
		if oldest == nil {
			return nil
		}
		// Another process may have used it since.
		info, err := os.Lstat(d.path(oldest.name))
		if err == nil && info.ModTime().After(oldest.used) {
			oldest.used = info.ModTime()
			continue
		}
		if err = os.Remove(d.path(oldest.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("snapshots: %w", err)
		}
		all -= oldest.bytes
		d.forget(oldest.name)
	}
	return nil
}
