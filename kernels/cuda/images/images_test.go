package images

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var targets = []string{"compute_80", "sm_80", "sm_89", "sm_90a", "sm_120"}

// manifestSources returns the names of the .cu files that the manifest lists.
func manifestSources(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("manifest.txt")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^source [0-9a-f]{64} (\S+)\.cu$`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return names
}

func TestEveryTargetHasEverySource(t *testing.T) {
	want := manifestSources(t)
	if len(want) == 0 {
		t.Fatal("the manifest lists no sources")
	}
	for _, target := range targets {
		modules, err := Load(target)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range modules {
			got = append(got, m.Name)
			switch ptx := target == "compute_80"; {
			case ptx && !bytes.Contains(m.Data, []byte(".target sm_80")):
				t.Errorf("%s of %s is not PTX for sm_80", m.Name, target)
			case !ptx && !bytes.HasPrefix(m.Data, []byte("\x7fELF")):
				t.Errorf("%s of %s is not a cubin", m.Name, target)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has modules %v, the manifest lists %v", target, got, want)
		}
	}
}

// Every kernel must be in every target's image, under the same name.
func TestEveryTargetHasEveryKernel(t *testing.T) {
	modules, err := Load("compute_80")
	if err != nil {
		t.Fatal(err)
	}
	entry := regexp.MustCompile(`\.entry (\w+)`)
	kernels := map[string][]string{}
	for _, m := range modules {
		for _, e := range entry.FindAllSubmatch(m.Data, -1) {
			kernels[m.Name] = append(kernels[m.Name], string(e[1]))
		}
	}
	for _, target := range targets[1:] {
		cubins, err := Load(target)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range cubins {
			for _, kernel := range kernels[m.Name] {
				if !bytes.Contains(m.Data, []byte(".text."+kernel+"\x00")) {
					t.Errorf("%s of %s has no kernel %s", m.Name, target, kernel)
				}
			}
		}
	}
}

func TestTarget(t *testing.T) {
	for _, c := range []struct {
		major, minor int
		want         string
	}{
		{8, 0, "sm_80"}, {8, 6, "sm_80"}, {8, 7, "sm_80"}, {8, 9, "sm_89"}, {9, 0, "sm_90a"},
		{10, 0, "compute_80"}, {10, 3, "compute_80"}, {11, 0, "compute_80"}, {12, 0, "sm_120"}, {12, 1, "sm_120"}, {13, 0, "compute_80"},
	} {
		got, err := Target(c.major, c.minor)
		if err != nil || got != c.want {
			t.Errorf("Target(%d, %d) = %q, %v; want %q", c.major, c.minor, got, err, c.want)
		}
		if _, err := files.Open(got + ".tar.gz"); err != nil {
			t.Errorf("Target(%d, %d) names an image that is not there: %v", c.major, c.minor, err)
		}
	}
	_, err := Target(7, 5)
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(fmt.Sprint(err), "7.5") {
		t.Errorf("Target(7, 5) gave %v", err)
	}
}

func TestLoadUnknown(t *testing.T) {
	if _, err := Load("sm_1"); err == nil || !strings.Contains(err.Error(), "sm_1") {
		t.Errorf("got %v", err)
	}
}
