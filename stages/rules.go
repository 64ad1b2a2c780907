package stages

import (
	"fmt"
	"path/filepath"

	"headinfer/config"
	"headinfer/stages/storage"
)

// rules checks what no stage can see alone. The error is config.Problems, or nil.
func rules(p *config.Pipeline) error {
	var all config.Problems
	all = append(all, onePerOutput(p.Documents)...)
	all = append(all, cacheReachesDevice(p.Heads)...)
	all = append(all, natsPairs(p.Documents)...)
	all = append(all, snapshotsKeepAll(p)...)
	if len(all) == 0 {
		return nil
	}
	return all
}

// onePerOutput refuses two sinks on one file, which would write over each
// other, and a sink on a file that is read.
func onePerOutput(entries []config.Entry) config.Problems {
	var all config.Problems
	writers := map[string]string{} // ids by path
	states := map[string]string{}  // ids by the path beside which there is a state
	for _, e := range entries {
		written := writtenBy(e)
		if written == "" {
			continue
		}
		path, state := cleanPath(written), ""
		if o, ok := e.Options.(outputOptions); ok {
			if local, journaled := o.output(); journaled {
				state = cleanPath(local)
			}
		}
		if other, taken := writers[path]; taken {
			all = append(all, e.Problem("path", fmt.Sprintf("%q writes to %s, as %q does", e.ID, written, other), "a path of its own"))
		} else if reader := readerOf(path, entries); reader != "" {
			all = append(all, e.Problem("path", fmt.Sprintf("%q writes to %s, which %q reads", e.ID, written, reader), "another path"))
		} else if other, taken := states[state]; taken && state != "" {
			all = append(all, e.Problem("state", fmt.Sprintf("%q keeps its state beside %s, as %q does", e.ID, state, other), "a state of its own"))
		}
		writers[path], states[state] = e.ID, e.ID
	}
	return all
}

// readingOptions are options of a source that reads files.
type readingOptions interface{ reads() []string }

// writingOptions are options of a stage or sink that writes to a path: an
// output's own, where that is not where its journal is.
type writingOptions interface{ writes() string }

// writtenBy returns what a stage or sink writes to, or "".
func writtenBy(e config.Entry) string {
	switch o := e.Options.(type) {
	case writingOptions:
		return o.writes()
	case outputOptions:
		path, _ := o.output()
		return path
	}
	return ""
}

// cleanPath writes a file's path in one way.
func cleanPath(path string) string {
	if storage.IsObject(path) {
		return path
	}
	return filepath.Clean(path)
}

// UserOf returns the id of the stage that reads or writes the file at a path,
// or "".
func UserOf(path string, entries []config.Entry) string {
	path = filepath.Clean(path)
	for _, e := range entries {
		if written := writtenBy(e); written != "" && cleanPath(written) == path {
			return e.ID
		}
	}
	return readerOf(path, entries)
}

// readerOf returns the id of a source that reads the file at a path, or "".
func readerOf(path string, entries []config.Entry) string {
	for _, e := range entries {
		o, ok := e.Options.(readingOptions)
		if !ok {
			continue
		}
		for _, pattern := range o.reads() {
			if covers(pattern, path) {
				return e.ID
			}
		}
	}
	return ""
}

// covers reports whether a path or pattern of a source is, or stands for, a
// clean path.
func covers(pattern, path string) bool {
	if !storage.IsObject(pattern) {
		pattern, path = filepath.ToSlash(filepath.Clean(pattern)), filepath.ToSlash(path)
	}
	return pattern == path || storage.Match(pattern, path) || isReadable(path) && storage.Match(pattern+"/**", path)
}

// cacheReachesDevice refuses a cache on the host without a ring to bring it
// to the device, and options of such copies for a cache that is never copied.
func cacheReachesDevice(entries []config.Entry) (all config.Problems) {
	var prefetch, offload *config.Entry
	var copies *prefetchOptions
	onHost := false
	for i, e := range entries {
		switch o := e.Options.(type) {
		case *prefetchOptions:
			prefetch, copies = &entries[i], o
		case *offloadOptions:
			offload, onHost = &entries[i], o.To == "host"
		}
	}
	if prefetch == nil || offload == nil {
		return nil
	}
	switch none := copies.Slots.Is("none"); {
	case onHost && none:
		all = append(all, prefetch.Problem("slots", fmt.Sprintf(
			"%q has no slots, and %q keeps the cache on the host", prefetch.ID, offload.ID),
			fmt.Sprintf("slots: 2 here, or to: device in %q", offload.ID)))
	case !onHost && !none:
		for _, bad := range copies.without("is for a cache on the host", fmt.Sprintf("to: host in %q", offload.ID)) {
			all = append(all, prefetch.Problem(bad.Option, fmt.Sprintf("option %q %s", bad.Option, bad.What), bad.Want))
		}
	}
	return all
}
