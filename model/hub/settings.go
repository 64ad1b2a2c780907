package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// defaultEndpoint is the hub that is asked when HF_ENDPOINT names no other.
const defaultEndpoint = "https://huggingface.co"

// Settings say which hub is asked, by whom, and where files go.
type Settings struct {
	Endpoint string // the hub's address, without a slash at its end
	Cache    string // the folder of the cache
	Token    string // "" for none
	Offline  bool   // nothing is asked; what is in the cache is used
}

// FromEnv takes the settings from the environment variables that other programs
// use, too: HF_ENDPOINT; HF_HUB_CACHE, or HF_HOME, or XDG_CACHE_HOME for the
// cache; HF_TOKEN, or the file HF_TOKEN_PATH, or HF_HOME/token for the token,
// unless HF_HUB_DISABLE_IMPLICIT_TOKEN is set; HF_HUB_OFFLINE. A variable that
// is empty counts as not set. getenv is os.Getenv.
func FromEnv(getenv func(string) string) (Settings, error) {
	first := func(names ...string) string {
		for _, name := range names {
			if v := getenv(name); v != "" {
				return v
			}
		}
		return ""
	}
	home, err := hubHome(first)
	if err != nil {
		return Settings{}, err
	}
	s := Settings{
		Endpoint: strings.TrimRight(first("HF_ENDPOINT"), "/"),
		Offline:  isTrue(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
		Cache:    filepath.Join(home, "hub"),
	}
	if dir := first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"); dir != "" {
		if s.Cache, err = expand(dir, first); err != nil {
			return Settings{}, fmt.Errorf("HF_HUB_CACHE: %w", err)
		}
	}
	if s.Endpoint == "" {
		s.Endpoint = defaultEndpoint
	}
	if u, err := url.Parse(s.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return Settings{}, fmt.Errorf("%w: HF_ENDPOINT is %q; expected an address such as %s", ErrName, s.Endpoint, defaultEndpoint)
	}
	if !s.Offline && !isTrue(first("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		if s.Token, err = findToken(home, first); err != nil {
			return Settings{}, err
		}
	}
	return s, nil
}

// hubHome is the folder that holds the cache and the token's file.
func hubHome(first func(...string) string) (string, error) {
	if dir := first("HF_HOME"); dir != "" {
		dir, err := expand(dir, first)
		if err != nil {
			return "", fmt.Errorf("HF_HOME: %w", err)
		}
		return dir, nil
	}
	base := first("XDG_CACHE_HOME")
	if base == "" {
		base = filepath.Join("~", ".cache")
	}
	base, err := expand(base, first)
	if err != nil {
		return "", fmt.Errorf("no folder for the cache of models: %w; set HF_HOME", err)
	}
	return filepath.Join(base, "huggingface"), nil
}

// expand replaces ~ and variables in a folder's name, and makes it absolute, so
// that what is printed holds in other folders.
func expand(dir string, first func(...string) string) (string, error) {
	if dir == "~" || strings.HasPrefix(dir, "~/") || strings.HasPrefix(dir, `~\`) {
		home := first("HOME", "USERPROFILE")
		if home == "" {
			return "", fmt.Errorf("%s: no home folder: neither HOME nor USERPROFILE is set", dir)
		}
		dir = filepath.Join(home, dir[1:])
	}
	return filepath.Abs(os.Expand(dir, func(name string) string { return first(name) }))
}

// findToken returns the token, or "" if there is none.
func findToken(home string, first func(...string) string) (string, error) {
	if token := clean(first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")); token != "" {
		return token, checkToken(token, "HF_TOKEN")
	}
	path := filepath.Join(home, "token")
	if p := first("HF_TOKEN_PATH"); p != "" {
		var err error
		if path, err = expand(p, first); err != nil {
			return "", fmt.Errorf("HF_TOKEN_PATH: %w", err)
		}
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("the hub's token: %w", err)
	}
	token := clean(string(data))
	return token, checkToken(token, path)
}

// checkToken refuses what no header can hold, without showing it.
func checkToken(token, from string) error {
	for _, r := range token {
		if r <= ' ' || r > '~' {
			return fmt.Errorf("%w: the token in %s has a space or a character that no token has", ErrName, from)
		}
	}
	return nil
}

func clean(token string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(token))
}

func isTrue(s string) bool {
	switch strings.ToUpper(s) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}
