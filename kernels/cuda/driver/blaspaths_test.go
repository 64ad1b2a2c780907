//go:build linux

package driver

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBLASPaths(t *testing.T) {
	glob := func(pattern string) ([]string, error) {
		if strings.Contains(pattern, "[") {
			return []string{"/usr/local/cuda-12.8/lib64", "/usr/local/cuda-13.0/lib64"}, nil
		}
		return nil, nil
	}
	for _, c := range []struct {
		env  map[string]string
		want []string // each comes before the next
	}{
		{map[string]string{"CUDA_HOME": "/toolkit"}, []string{
			"libcublasLt.so.13",
			"libcublasLt.so.12",
			"/toolkit/lib64/libcublasLt.so.13",
			"/usr/local/cuda/lib64/libcublasLt.so.13",
			"/usr/local/cuda-13.0/lib64/libcublasLt.so.13",
			"/usr/local/cuda-12.8/lib64/libcublasLt.so.12",
		}},
		// Who names a place means it.
		{map[string]string{
			"HEADINFER_CUBLAS": "/site-packages" + string(filepath.ListSeparator) + "/x/libcublasLt.so.13.0.2",
			"CUDA_HOME":        "/toolkit",
		}, []string{
			"/site-packages/libcublasLt.so.13",
			"/site-packages/libcublasLt.so.12",
			"/site-packages/nvidia/cu13/lib/libcublasLt.so.13",
			"/site-packages/nvidia/cublas/lib/libcublasLt.so.12",
			"/x/libcublasLt.so.13.0.2",
		}},
	} {
		got := blasPaths(func(name string) string { return c.env[name] }, glob)
		inOrder(t, got, c.want)
		named := c.env["HEADINFER_CUBLAS"] != ""
		if slices.Contains(got, blasNames[0]) == named {
			t.Errorf("with %v, searched are\n%s", c.env, strings.Join(got, "\n"))
		}
	}
}

// inOrder checks that got has every one of want, in its order, and nothing twice.
func inOrder(t *testing.T, got, want []string) {
	t.Helper()
	last := -1
	for _, w := range want {
		i := slices.Index(got, filepath.FromSlash(w))
		if filepath.Base(w) == w {
			i = slices.Index(got, w)
		}
		if i <= last {
			t.Errorf("%s is at %d, expected after %d, in\n%s", w, i, last, strings.Join(got, "\n"))
		}
		last = i
	}
	if slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, "[") }) {
		t.Errorf("a glob was not expanded:\n%s", strings.Join(got, "\n"))
	}
	sorted := slices.Sorted(slices.Values(got))
	if len(slices.Compact(sorted)) != len(got) {
		t.Errorf("something is searched twice:\n%s", strings.Join(got, "\n"))
	}
}

func TestBLASPathsWithoutSettings(t *testing.T) {
	got := blasPaths(func(string) string { return "" }, filepath.Glob)
	if len(got) < 3 || got[0] != blasNames[0] {
		t.Errorf("without settings the loader's own search should come first, got %v", got)
	}
}
