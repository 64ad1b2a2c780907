package pipelines

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// ablations holds the matrices, ablations/NAME.yaml each.
//
//go:embed ablations/*.yaml
var ablations embed.FS

const ablationFolder = "ablations"

// Ablations lists the matrices that the program carries in alphabetical order.
func Ablations() []string {
	// The pattern is a constant, and what is embedded can be read.
	files, _ := fs.Glob(ablations, ablationFolder+"/*"+extension)
	for i, file := range files {
		files[i] = strings.TrimSuffix(path.Base(file), extension)
	}
	return files
}

// ReadAblation returns a matrix's file, or an error that matches fs.ErrNotExist.
func ReadAblation(name string) ([]byte, error) {
	src, err := ablations.ReadFile(path.Join(ablationFolder, name+extension))
	if err != nil {
		return nil, fmt.Errorf("no matrix %q; there are %s: %w", name, strings.Join(Ablations(), ", "), fs.ErrNotExist)
	}
	return src, nil
}
