package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Which says what paths may name beside files.
type Which struct {
	// Directories says which files of a directory are read, by their names;
	// nil where a directory is refused.
	Directories func(name string) bool
	// Standard says that "-" may be named.
	Standard bool
}

// Expand resolves paths and patterns to files, each once, in the order of
// their names. A path that is there is taken as it stands; in a pattern * and ?
// stand for anything but a slash, [ ] for one of some characters, and ** for
// directories, none or many. A path that names nothing is an error.
func Expand(ctx context.Context, patterns []string, which Which) ([]File, error) {
	var all []File
	for _, pattern := range patterns {
		found, err := expandOne(ctx, pattern, which)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no file matches %q, seen from the directory where headinfer was started", pattern)
		}
		all = append(all, found...)
	}
	slices.SortStableFunc(all, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(all, func(a, b File) bool { return a.Path == b.Path }), nil
}

func expandOne(ctx context.Context, pattern string, which Which) ([]File, error) {
	switch {
	case pattern == Standard && which.Standard:
		return []File{{Path: pattern}}, nil
	case IsObject(pattern):
		return expandObjects(ctx, pattern, which)
	}
	info, err := os.Stat(pattern)
	switch {
	case err == nil && info.IsDir() && which.Directories != nil:
		found, err := walk(pattern, func(name string) bool { return which.Directories(path.Base(name)) })
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("the directory %s has none of the files that are read from directories", pattern)
		}
		return found, err
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a directory; name one file of it", pattern)
	case err == nil:
		return describe([]string{pattern}), nil
	case !IsPattern(pattern):
		if reason, ok := errors.AsType[*fs.PathError](err); ok {
			err = reason.Err
		}
		return nil, fmt.Errorf("open %s: %w", pattern, err)
	}
	slashed := filepath.ToSlash(pattern)
	if !deep(slashed) {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		return describe(names), nil
	}
	slashed = path.Clean(slashed)
	root := path.Dir(fixed(slashed) + "x")
	below := slashed
	if root != "." {
		below = strings.TrimPrefix(strings.TrimPrefix(slashed, root), "/")
	}
	return walk(filepath.FromSlash(root), func(name string) bool { return Match(below, name) })
}

// describe looks up what names name. One that cannot be looked up is for its
// reader to complain about, and a pipe has no size.
func describe(names []string) []File {
	files := make([]File, len(names))
	for i, name := range names {
		files[i].Path = name
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			files[i].Size, files[i].Modified = info.Size(), info.ModTime()
		}
	}
	return files
}

// walk finds a directory's files, those of its directories too, whose names
// seen from it are wanted. What is hidden by a dot is left out, and so are
// links to directories.
func walk(dir string, want func(name string) bool) ([]File, error) {
	var found []File
	err := filepath.WalkDir(dir, func(at string, entry fs.DirEntry, err error) error {
		if at == dir && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if at != dir && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		name, err := filepath.Rel(dir, at)
		if err != nil || entry.IsDir() || !want(filepath.ToSlash(name)) {
			return err
		}
		info, err := os.Stat(at) // of what a link leads to
		if err != nil {
			found = append(found, File{Path: at})
			return nil
		}
		if info.Mode().IsRegular() {
			found = append(found, File{at, info.Size(), info.ModTime()})
		}
		return nil
	})
	return found, err
}

// IsPattern reports whether a path has characters that stand for others.
func IsPattern(name string) bool { return strings.ContainsAny(name, "*?[") }

// deep reports whether a pattern has ** as one of its names.
func deep(pattern string) bool { return slices.Contains(strings.Split(pattern, "/"), "**") }

// fixed is the part of a pattern before the first character that stands for
// others.
func fixed(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		return pattern[:i]
	}
	return pattern
}

// CheckPattern refuses a pattern that cannot be read.
func CheckPattern(pattern string) error {
	if _, err := path.Match(filepath.ToSlash(pattern), ""); err != nil {
		return err
	}
	return CheckObject(pattern, true)
}

// Match reports whether a name with slashes is what a pattern stands for. A
// pattern that cannot be read matches nothing.
func Match(pattern, name string) bool {
	return matchParts(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

func matchParts(pattern, name []string) bool {
	// Where the last ** stood, and what it had taken: trying it with one more
	// name is all the going back that is ever needed.
	star, taken := -1, 0
	p, n := 0, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == "**" {
			star, taken = p, n
			p++
			continue
		}
		if p < len(pattern) {
			if ok, err := path.Match(pattern[p], name[n]); ok && err == nil {
				p++
				n++
				continue
			}
		}
		if star < 0 {
			return false
		}
		taken++
		p, n = star+1, taken
	}
	for p < len(pattern) && pattern[p] == "**" {
		p++
	}
	return p == len(pattern)
}
