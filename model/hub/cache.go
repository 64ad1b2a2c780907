package hub

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const repoPrefix = "models--"

// repoDir is the folder of a model in the cache.
func (h *Hub) repoDir(m Model) string { return filepath.Join(h.Cache, folder(m)) }

func folder(m Model) string { return repoPrefix + m.Owner + "--" + m.Name }

func (h *Hub) blobPath(m Model, etag string) string {
	return filepath.Join(h.repoDir(m), "blobs", etag)
}

func (h *Hub) lockPath(m Model, etag string) string {
	return filepath.Join(h.Cache, ".locks", folder(m), etag+".lock")
}

func (h *Hub) refPath(m Model) string {
	return filepath.Join(h.repoDir(m), "refs", filepath.FromSlash(m.Revision))
}

func (h *Hub) snapshotDir(m Model, commit string) string {
	return filepath.Join(h.repoDir(m), "snapshots", commit)
}

// inSnapshot is the path of a repository's file in a snapshot.
func inSnapshot(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }

// result is what a pull returns the path of: the GGUF file, or the snapshot.
func result(dir string, m Model) string {
	if m.File != "" {
		return inSnapshot(dir, m.File)
	}
	return dir
}

// NameOf returns OWNER/NAME if a folder is a snapshot in a cache of models.
func NameOf(dir string) (string, bool) {
	snapshots, commit := filepath.Split(filepath.Clean(dir))
	repo, last := filepath.Split(filepath.Clean(snapshots))
	rest, ok := strings.CutPrefix(filepath.Base(repo), repoPrefix)
	owner, name, both := strings.Cut(rest, "--")
	return owner + "/" + name, ok && both && last == "snapshots" && isCommit(commit)
}

// hasSize reports whether a path leads to a file of a size.
func hasSize(path string, size int64) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// commitOf returns the commit that a revision stands for, as far as the cache
// knows, or "".
func (h *Hub) commitOf(m Model) string {
	if isCommit(m.Revision) {
		return m.Revision
	}
	data, err := os.ReadFile(h.refPath(m))
	if commit := strings.TrimSpace(string(data)); err == nil && isCommit(commit) {
		return commit
	}
	return ""
}

// setCommit writes which commit a revision stands for.
func (h *Hub) setCommit(m Model, commit string) error {
	if h.commitOf(m) == commit {
		return nil
	}
	path := h.refPath(m)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = temporary.WriteString(commit)
	// Others who share the cache may read it, as they may the rest.
	err = errors.Join(err, temporary.Chmod(0o644), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}

// lacking returns the first file that a snapshot would have to have, and does
// not, or "".
func lacking(dir string, m Model) string {
	if m.File != "" {
		return absent(dir, m.File)
	}
	if name := absent(dir, configName, tokenizerName); name != "" {
		return name
	}
	if exists(inSnapshot(dir, weightsName)) {
		return ""
	}
	names, err := shards(inSnapshot(dir, indexName))
	if err != nil {
		return weightsName
	}
	return absent(dir, names...)
}

func absent(dir string, names ...string) string {
	for _, name := range names {
		if !exists(inSnapshot(dir, name)) {
			return name
		}
	}
	return ""
}

// link makes a snapshot's file stand for a blob: by a relative link, or where
// the system has none, by a second name for the same contents, or by a copy.
func (h *Hub) link(blob, path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	target, err := filepath.Rel(dir, blob)
	if err != nil {
		return err
	}
	if old, err := os.Readlink(path); err == nil && old == target {
		return nil
	}
	// Made beside and renamed, so that a reader finds the old or the new.
	temporary := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if h.symlink(target, temporary) != nil && h.hardlink(blob, temporary) != nil {
		if err := copyFile(blob, temporary); err != nil {
			return errors.Join(noSpace(err, dir), os.Remove(temporary))
		}
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
}

func symlink(target, path string) error { return os.Symlink(target, path) }

func hardlink(file, path string) error { return os.Link(file, path) }

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
