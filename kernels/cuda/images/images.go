// Package images holds the compiled CUDA kernels.
//
// There is one image a target: a gzipped tar of one cubin (or PTX) for each
// file of kernels/cuda/src. tools/cuda/images.sh writes them, and manifest.txt,
// which says what they were compiled from; "make cuda-images" runs it.
package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

//go:embed *.tar.gz
var files embed.FS

// Module is one compiled source file.
type Module struct {
	Name string // the source's, without .cu
	Data []byte // a cubin, or PTX
}

// ErrUnsupported is wrapped by Target for devices that are too old.
var ErrUnsupported = errors.New("no kernels for this device")

// Target returns the name of the image that suits a device best, by its compute
// capability: a cubin where there is one that it can run, otherwise PTX, which
// the driver compiles when it is loaded.
func Target(major, minor int) (string, error) {
	switch {
	case major == 8 && minor == 9:
		return "sm_89", nil
	case major == 8:
		return "sm_80", nil
	case major == 9 && minor == 0:
		return "sm_90a", nil
	case major == 12:
		return "sm_120", nil
	case major > 8:
		return "compute_80", nil
	}
	return "", fmt.Errorf("%w: its compute capability is %d.%d and the kernels need 8.0 (Ampere) or newer; use the cpu device", ErrUnsupported, major, minor)
}

// Load returns the modules of a target, in the order of their names.
func Load(target string) ([]Module, error) {
	data, err := files.ReadFile(target + ".tar.gz")
	if err != nil {
		return nil, fmt.Errorf("kernel image %s: %w", target, err)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("kernel image %s: %w", target, err)
	}
	var modules []Module
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return modules, nil
		}
		if err != nil {
			return nil, fmt.Errorf("kernel image %s: %w", target, err)
		}
		code, err := io.ReadAll(archive)
		if err != nil {
			return nil, fmt.Errorf("kernel image %s: %s: %w", target, header.Name, err)
		}
		name := strings.TrimSuffix(header.Name, path.Ext(header.Name))
		modules = append(modules, Module{Name: name, Data: code})
	}
}
