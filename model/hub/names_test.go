package hub

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestParse(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for _, c := range []struct {
		s    string
		want Model
	}{
		{"o/n", Model{"o", "n", "main", ""}},
		{"hf:o/n", Model{"o", "n", "main", ""}},
		{"Some-Owner/A.model_1B-v0.3", Model{"Some-Owner", "A.model_1B-v0.3", "main", ""}},
		{"o/n@main", Model{"o", "n", "main", ""}},
		{"hf:o/n@" + commit, Model{"o", "n", commit, ""}},
		{"o/n@refs/pr/1", Model{"o", "n", "refs/pr/1", ""}},
		{"o/n:m.gguf", Model{"o", "n", "main", "m.gguf"}},
		{"hf:o/n@v1.0:Q4/m@x.GGUF", Model{"o", "n", "v1.0", "Q4/m@x.GGUF"}},
	} {
		got, err := Parse(c.s)
		if err != nil || got != c.want {
			t.Errorf("%q is %+v, %v; expected %+v", c.s, got, err, c.want)
		}
	}
	for s, want := range map[string]string{
		"":                             `"" is no owner`,
		"hf:":                          `"" is no owner`,
		"name":                         `"" is no model's name`,
		"o/":                           "no model's name",
		"o/n/x":                        `"n/x" is no model's name`,
		"../n":                         `".." is no owner`,
		"o/..":                         "no model's name",
		"o/a--b":                       "no model's name",
		"o/-n":                         "no model's name",
		"o/n ":                         "no model's name",
		"https://hub.example/o/n":      "no model's name",
		"o/" + strings.Repeat("n", 97): "no model's name",
		"o/n@":                         `"" is no branch`,
		"o/n@../../x":                  "no branch",
		"o/n@a//b":                     "no branch",
		"o/n@a b":                      "no branch",
		"o/n@-x":                       "no branch",
		"o/n@a\\b":                     "no branch",
		"o/n:":                         `"" is no file`,
		"o/n:../m.gguf":                `"../m.gguf" is no file`,
		"o/n:/m.gguf":                  "no file",
		"o/n:a\\m.gguf":                "no file",
		"o/n:c:m.gguf":                 "no file",
		"o/n:config.json":              "no GGUF file",
	} {
		got, err := Parse(s)
		if !errors.Is(err, ErrName) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "expected OWNER/NAME") {
			t.Errorf("%q is %+v, %v; expected an error that says %q", s, got, err, want)
		}
	}
}

// FuzzParse reads anything: what is taken is written as it was read, and its
// paths stay in the cache.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"o/n", "hf:o/n@v1:a/b.gguf", "o/n@refs/pr/1", "../x", "o/n@../x", "o/n:a/../../b.gguf"} {
		f.Add(s)
	}
	h := &Hub{Settings: Settings{Cache: filepath.Join(string(filepath.Separator), "cache")}}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := Parse(s)
		if err != nil {
			if !errors.Is(err, ErrName) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if again, err := Parse(m.String()); err != nil || again != m {
			t.Errorf("%q is %+v, and again %+v, %v", s, m, again, err)
		}
		dir := h.snapshotDir(m, strings.Repeat("0", 40))
		for path, in := range map[string]string{
			h.refPath(m): filepath.Join(h.repoDir(m), "refs"), h.repoDir(m): h.Cache, result(dir, m): h.repoDir(m), h.lockPath(m, "e"): filepath.Join(h.Cache, ".locks"),
		} {
			if !strings.HasPrefix(path, in+string(filepath.Separator)) {
				t.Errorf("%q: %s is not in %s", s, path, in)
			}
		}
	})
}

func TestNameOf(t *testing.T) {
	commit := strings.Repeat("0a", 20)
	h := &Hub{Settings: Settings{Cache: t.TempDir()}}
	dir := h.snapshotDir(Model{Owner: "some-owner", Name: "a.model"}, commit)
	if name, ok := NameOf(dir); !ok || name != "some-owner/a.model" {
		t.Errorf("%s is %q, %t", dir, name, ok)
	}
	for _, dir := range []string{"", ".", "/", "models/llama", filepath.Dir(dir), filepath.Join(dir, "x"), filepath.Join("models--a", "snapshots", commit), filepath.Join("models--a--b", "blobs", commit), filepath.Join("models--a--b", "snapshots", "main")} {
		if name, ok := NameOf(dir); ok {
			t.Errorf("%s is %q", dir, name)
		}
	}
}

func TestFromEnv(t *testing.T) {
	home := t.TempDir()
	write := func(elements ...string) string {
		text := elements[len(elements)-1]
		path := filepath.Join(append([]string{home}, elements[:len(elements)-1]...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(".cache", "huggingface", "token", "hf_default\r\n")
	write("hf", "token", "\n hf_home \n")
	other := write("other-token", "hf_path")
	long := write("long-token", "hf_a b")
	in := func(elements ...string) string { return filepath.Join(append([]string{home}, elements...)...) }
	type env = map[string]string
	for _, c := range []struct {
		name string
		env  env
		want Settings
	}{
		{"nothing", env{}, Settings{defaultEndpoint, in(".cache", "huggingface", "hub"), "hf_default", false}},
		{"empty is nothing", env{"HF_HOME": "", "HF_TOKEN": "", "HF_ENDPOINT": ""}, Settings{defaultEndpoint, in(".cache", "huggingface", "hub"), "hf_default", false}},
		{"XDG", env{"XDG_CACHE_HOME": in("xdg")}, Settings{defaultEndpoint, in("xdg", "huggingface", "hub"), "", false}},
		{"HF_HOME", env{"HF_HOME": "~/hf", "XDG_CACHE_HOME": in("xdg")}, Settings{defaultEndpoint, in("hf", "hub"), "hf_home", false}},
		{"HF_HUB_CACHE", env{"HF_HUB_CACHE": "$DISK/models", "DISK": in("disk"), "HUGGINGFACE_HUB_CACHE": in("old")}, Settings{defaultEndpoint, in("disk", "models"), "hf_default", false}},
		{"the old name", env{"HUGGINGFACE_HUB_CACHE": in("old")}, Settings{defaultEndpoint, in("old"), "hf_default", false}},
		{"HF_TOKEN", env{"HF_TOKEN": " hf_mine\n", "HF_HOME": in("hf")}, Settings{defaultEndpoint, in("hf", "hub"), "hf_mine", false}},
		{"the token's file", env{"HF_TOKEN_PATH": other}, Settings{defaultEndpoint, in(".cache", "huggingface", "hub"), "hf_path", false}},
		{"no implicit token", env{"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_TOKEN": "x"}, Settings{defaultEndpoint, in(".cache", "huggingface", "hub"), "", false}},
		{"HF_ENDPOINT", env{"HF_ENDPOINT": "http://mirror.example:81/hub/"}, Settings{"http://mirror.example:81/hub", in(".cache", "huggingface", "hub"), "hf_default", false}},
		{"offline", env{"HF_HUB_OFFLINE": "yes"}, Settings{defaultEndpoint, in(".cache", "huggingface", "hub"), "", true}},
		{"not offline", env{"HF_HUB_OFFLINE": "0"}, Settings{defaultEndpoint, in(".cache", "huggingface", "hub"), "hf_default", false}},
	} {
		c.env["HOME"] = home
		got, err := FromEnv(func(name string) string { return c.env[name] })
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; expected %+v", c.name, got, err, c.want)
		}
	}
	for _, c := range []struct {
		env  env
		want string
	}{
		{env{"HOME": home, "HF_ENDPOINT": "hub.example"}, "HF_ENDPOINT"},
		{env{"HOME": home, "HF_ENDPOINT": "ftp://hub.example"}, "HF_ENDPOINT"},
		{env{"HOME": home, "HF_TOKEN": "hf_a\x01b"}, "HF_TOKEN"},
		{env{"HOME": home, "HF_TOKEN_PATH": long}, "long-token"},
		{env{"HOME": home, "HF_TOKEN_PATH": home}, home},
		{env{}, "set HF_HOME"},
	} {
		_, err := FromEnv(func(name string) string { return c.env[name] })
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hf_a") {
			t.Errorf("%v: %v", c.env, err)
		}
	}
}

func TestNoSpace(t *testing.T) {
	err := noSpace(&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, "dir")
	wantError(t, err, ErrNoSpace, "dir", "HF_HUB_CACHE")
	wantError(t, noSpace(diskFull, "dir"), ErrNoSpace)
	if err := noSpace(nil, "dir"); err != nil {
		t.Error(err)
	}
	if err := noSpace(os.ErrClosed, "dir"); errors.Is(err, ErrNoSpace) {
		t.Error(err)
	}
	if free, known := freeSpace(t.TempDir()); known && free <= 0 {
		t.Errorf("%d bytes are free", free)
	}
}
