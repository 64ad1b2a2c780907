package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// SnapshotFile is what is known of a file in a directory of snapshots.
type SnapshotFile struct {
	Key     string    `json:"key"` // its name without the suffix
	Path    string    `json:"path"`
	Bytes   int64     `json:"bytes"`
	Used    time.Time `json:"used"` // last written or loaded
	Damaged string    `json:"damaged,omitempty"`
	// What follows is not known of one that cannot be read.
	Model       string    `json:"model,omitempty"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Method      string    `json:"method,omitempty"` // "": exact
	DType       string    `json:"dtype,omitempty"`
	Tokens      int       `json:"tokens,omitempty"`
	Begins      string    `json:"begins,omitempty"`
	Written     time.Time `json:"written,omitzero"`
}

// ListSnapshots returns a directory's files by name. Of each only the beginning is
// read.
func ListSnapshots(dir string) ([]SnapshotFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	var all []SnapshotFile
	for _, entry := range entries {
		key, ok := strings.CutSuffix(entry.Name(), snapshotSuffix)
		info, err := entry.Info()
		if !ok || err != nil || !info.Mode().IsRegular() {
			continue // gone meanwhile, or none of ours
		}
		f := SnapshotFile{Key: key, Path: filepath.Join(dir, entry.Name()), Bytes: info.Size(), Used: info.ModTime()}
		if err := f.read(); err != nil {
			f.Damaged = err.Error()
		}
		all = append(all, f)
	}
	return all, nil
}

func (f *SnapshotFile) read() error {
	s, err := OpenSnapshot(f.Path)
	if err != nil {
		return err
	}
	f.Model, f.Fingerprint, f.Method, f.DType = s.Of.Name, s.Of.Model, s.Of.Method, s.Of.Shape.DType.String()
	f.Tokens, f.Begins, f.Written = s.header.Tokens, s.header.Begins, s.header.Written
	return s.Close()
}
