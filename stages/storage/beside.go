package storage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
)

// Beside looks up files that stand beside others: name says what one's is called. Those
// that are there are returned by their paths. Of object stores it lists what is below
// the directory that all have in common.
func Beside(ctx context.Context, of []File, name func(path string) string) (map[string]File, error) {
	found, wanted := map[string]File{}, map[string]bool{}
	below := map[string]string{} // directories by bucket
	for _, f := range of {
		path := name(f.Path)
		if IsObject(path) {
			wanted[path] = true
			bucket, _ := splitObject(path)
			below[bucket] = common(below[bucket], path)
			continue
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found[path] = File{path, info.Size(), info.ModTime()}
	}
	for _, dir := range below {
		objects, err := listObjects(ctx, dir, func(path string) bool { return wanted[path] })
		if err != nil {
			return nil, err
		}
		for _, f := range objects {
			found[f.Path] = f
		}
	}
	return found, nil
}

// common is the directory, with the slash behind it, that holds a path and all of
// another directory; that is "" where there is none yet.
func common(dir, path string) string {
	if dir == "" {
		return path[:strings.LastIndex(path, "/")+1]
	}
	for !strings.HasPrefix(path, dir) {
		dir = dir[:strings.LastIndex(strings.TrimSuffix(dir, "/"), "/")+1]
	}
	return dir
}
