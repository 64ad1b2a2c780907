package stages

import (
	"fmt"
	"path/filepath"

	"headinfer/config"
)

// rules checks what no stage can see alone. The error is config.Problems, or nil.
func rules(p *config.Pipeline) error {
	var all config.Problems
	all = append(all, onePerOutput(p.Documents)...)
	all = append(all, cacheReachesDevice(p.Heads)...)
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
	for _, e := range entries {
		o, ok := e.Options.(*jsonlOptions)
		if !ok {
			continue
		}
		path := filepath.Clean(o.Path)
		if other, taken := writers[path]; taken {
			all = append(all, e.Problem("path", fmt.Sprintf("%q writes to %s, as %q does", e.ID, o.Path, other), "a path of its own"))
		} else if reader := readerOf(path, entries); reader != "" {
			all = append(all, e.Problem("path", fmt.Sprintf("%q writes to %s, which %q reads", e.ID, o.Path, reader), "another path"))
		}
		writers[path] = e.ID
	}
	return all
}

// UserOf returns the id of the stage that reads or writes the file at a path,
// or "".
func UserOf(path string, entries []config.Entry) string {
	path = filepath.Clean(path)
	for _, e := range entries {
		if o, ok := e.Options.(*jsonlOptions); ok && filepath.Clean(o.Path) == path {
			return e.ID
		}
	}
	return readerOf(path, entries)
}

// readerOf returns the id of a source that reads the file at a path, or "".
func readerOf(path string, entries []config.Entry) string {
	for _, e := range entries {
		var patterns []string
		switch o := e.Options.(type) {
		case *filesOptions:
			patterns = o.Paths
		case *readJSONLOptions:
			if filepath.Clean(o.Path) == path {
				return e.ID
			}
		}
		for _, pattern := range patterns {
			// A pattern that cannot be read is refused by the option itself.
			if match, err := filepath.Match(filepath.Clean(pattern), path); match && err == nil {
				return e.ID
			}
		}
	}
	return ""
}

// cacheReachesDevice refuses a cache on the host without a ring to bring it
// to the device.
func cacheReachesDevice(entries []config.Entry) config.Problems {
	var prefetch, offload *config.Entry
	slots, onHost := false, false
	for i, e := range entries {
		switch o := e.Options.(type) {
		case *prefetchOptions:
			prefetch, slots = &entries[i], !o.Slots.Is("none")
		case *offloadOptions:
			offload, onHost = &entries[i], o.To == "host"
		}
	}
	if prefetch == nil || offload == nil || slots || !onHost {
		return nil
	}
	return config.Problems{prefetch.Problem("slots", fmt.Sprintf(
		"%q has no slots, and %q keeps the cache on the host", prefetch.ID, offload.ID),
		fmt.Sprintf("slots: 2 here, or to: device in %q", offload.ID))}
}
