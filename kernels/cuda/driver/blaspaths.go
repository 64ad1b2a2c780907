//go:build linux

package driver

import (
	"path/filepath"
	"slices"
)

// blasNames are cuBLASLt's file names, the one to prefer first.
var blasNames = []string{"libcublasLt.so.13", "libcublasLt.so.12"}

// blasPaths lists what to open in search of cuBLASLt, in order: what
// HEADINFER_CUBLAS names (files, or folders such as Python's site-packages), and
// nothing else if it names anything; or else what the system's loader finds by
// name, and the usual folders of toolkits. A folder may be a glob. getenv and
// glob are os.Getenv and filepath.Glob.
func blasPaths(getenv func(string) string, glob func(string) ([]string, error)) []string {
	var paths []string
	add := func(folders ...string) {
		for _, folder := range folders {
			found, err := glob(folder)
			if err != nil || len(found) == 0 {
				found = []string{folder}
			}
			slices.Sort(found)
			slices.Reverse(found) // of several versions the newest
			for _, f := range found {
				for _, name := range blasNames {
					paths = append(paths, filepath.Join(f, name))
				}
			}
		}
	}
	for _, named := range filepath.SplitList(getenv("HEADINFER_CUBLAS")) {
		if named == "" {
			continue
		}
		if ok, _ := filepath.Match("libcublasLt.so*", filepath.Base(named)); ok {
			paths = append(paths, named)
			continue
		}
		// Python's wheels of CUDA 13 and 12 put it below site-packages.
		add(named, filepath.Join(named, "nvidia/cu13/lib"), filepath.Join(named, "nvidia/cublas/lib"), filepath.Join(named, "lib64"))
	}
	if len(paths) > 0 {
		return unique(paths)
	}
	paths = append(paths, blasNames...)
	for _, variable := range []string{"CUDA_HOME", "CUDA_PATH"} {
		if home := getenv(variable); home != "" {
			add(filepath.Join(home, "lib64"), filepath.Join(home, "lib"))
		}
	}
	add("/usr/local/cuda/lib64", "/usr/local/cuda-1[0-9]*/lib64", "/opt/cuda/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib64")
	return unique(paths)
}

// unique drops what is there a second time.
func unique(paths []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(paths, func(p string) bool {
		again := seen[p]
		seen[p] = true
		return again
	})
}
