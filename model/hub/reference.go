package hub

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// Prefix begins a model path that names a model on the hub.
const Prefix = "hf:"

const (
	mainRevision = "main"
	ggufSuffix   = ".gguf"
	maxNamePart  = 96 // characters, as the hub has it
)

// Model names a model on the hub.
type Model struct {
	Owner, Name string
	Revision    string // a branch, a tag or a commit
	File        string // the one GGUF file that is meant; "" for config.json, safetensors and the rest
}

var (
	namePart   = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)
	commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// IsPath reports whether a model path names a model on the hub.
func IsPath(path string) bool { return strings.HasPrefix(path, Prefix) }

// Parse reads OWNER/NAME[@REVISION][:FILE.gguf], with or without hf: before it.
// The revision is main if none is given. The error matches ErrName.
func Parse(s string) (Model, error) {
	rest := strings.TrimPrefix(s, Prefix)
	fail := func(format string, args ...any) (Model, error) {
		return Model{}, fmt.Errorf("%w: %q: %s; expected OWNER/NAME, OWNER/NAME@REVISION or OWNER/NAME:FILE%s", ErrName, s, fmt.Sprintf(format, args...), ggufSuffix)
	}
	rest, file, hasFile := strings.Cut(rest, ":")
	repo, revision, hasRevision := strings.Cut(rest, "@")
	owner, name, _ := strings.Cut(repo, "/")
	m := Model{Owner: owner, Name: name, Revision: mainRevision, File: file}
	if hasRevision {
		m.Revision = revision
	}
	switch {
	case !isNamePart(owner):
		return fail("%q is no owner", owner)
	case !isNamePart(name):
		return fail("%q is no model's name", name)
	case !isRevision(m.Revision):
		return fail("%q is no branch, tag or commit", m.Revision)
	case hasFile && !isFileName(file):
		return fail("%q is no file of a repository", file)
	case hasFile && !isGGUF(file):
		return fail("%q is no GGUF file", file)
	}
	return m, nil
}

// String is what Parse reads.
func (m Model) String() string {
	s := m.repo()
	if m.Revision != mainRevision {
		s += "@" + m.Revision
	}
	if m.File != "" {
		s += ":" + m.File
	}
	return s
}

func (m Model) repo() string { return m.Owner + "/" + m.Name }

func isNamePart(s string) bool {
	return len(s) <= maxNamePart && namePart.MatchString(s) && !strings.Contains(s, "--") && !strings.Contains(s, "..")
}

// isRevision reports whether git could have such a revision, and a folder a
// file of that path.
func isRevision(s string) bool {
	return isFileName(s) && !strings.Contains(s, "..") && !strings.HasPrefix(s, "-") && !strings.ContainsAny(s, ` "<>|*?~^[{`)
}

// isFileName reports whether a slash-separated name stays within the folder
// that it is put in, on every system.
func isFileName(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == '\\' || r == ':' {
			return false
		}
	}
	return s != "." && fs.ValidPath(s) && filepath.IsLocal(filepath.FromSlash(s))
}

func isGGUF(name string) bool { return strings.HasSuffix(strings.ToLower(name), ggufSuffix) }

func isCommit(revision string) bool { return commitHash.MatchString(revision) }
