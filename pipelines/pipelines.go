// Package pipelines carries the paper's methods and ours in the program: each
// is a pipeline file of this folder, named after the method.
package pipelines

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

// FS holds the files, METHOD.yaml each.
//
//go:embed *.yaml
var FS embed.FS

const extension = ".yaml"

// Names lists the methods in alphabetical order.
func Names() []string {
	// The pattern is a constant, and what is embedded can be read.
	files, _ := fs.Glob(FS, "*"+extension)
	for i, file := range files {
		files[i] = strings.TrimSuffix(file, extension)
	}
	return files
}

// Read returns a method's file, or an error that matches fs.ErrNotExist.
func Read(method string) ([]byte, error) {
	src, err := FS.ReadFile(method + extension)
	if err != nil {
		return nil, fmt.Errorf("no method %q; there are %s: %w", method, strings.Join(Names(), ", "), fs.ErrNotExist)
	}
	return src, nil
}
