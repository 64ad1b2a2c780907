// Package gguf reads and writes GGUF, the single-file checkpoint format of
// llama.cpp: typed metadata, then tensors.
//
// What is read: versions 2 and 3, little-endian, with tensors in the encodings
// of kernels.DType. Everything else is refused by its name. Shapes are
// outermost dimension first, the reverse of the order in the file, so a linear
// layer is [rows, cols] and a row's elements are consecutive.
//
// A File owns its memory map. Tensor.Data aliases it, is read-only and is valid
// until Close; metadata is copied out of the map and outlives it. A File does
// not change after it is made, so any number of goroutines may read it.
//
// A file is not trusted. Every count, length, offset and product of dimensions
// is compared with the bytes that are there before memory is taken for it, so
// Parse takes memory in proportion to the file's size whatever the file says, and
// never for more than the first 256 MiB of it: what follows is tensors only.
// Tensors of one File never overlap, and no name or key occurs twice.
package gguf

import (
	"errors"
	"fmt"
	"slices"

	"headinfer/model/mapped"
	"headinfer/model/tensor"
)

// What a caller may test for with errors.Is.
var (
	// ErrDamaged is a file that contradicts itself or ends too soon.
	ErrDamaged = errors.New("damaged GGUF file")
	// ErrUnsupported is a file that may be sound and that this package does
	// not read: another format, version, byte order or tensor encoding.
	ErrUnsupported = errors.New("unsupported GGUF file")
	// ErrNoKey is metadata that the file does not have.
	ErrNoKey = errors.New("no such metadata key")
	// ErrType is metadata of another type than the one asked for.
	ErrType = errors.New("metadata of another type")
)

// FileError says what is wrong with a file and where.
type FileError struct {
	File   string // as given to Open or Parse
	Offset int    // bytes from the start of the file
	Place  string // what is written there, such as `metadata 17, key "a.b"`
	Reason string // what was found, what was expected, and what to change
	Kind   error  // ErrDamaged or ErrUnsupported
}

// Error writes "file: at byte 1234 (place): reason".
func (e *FileError) Error() string {
	return fmt.Sprintf("%s: at byte %d (%s): %s", e.File, e.Offset, e.Place, e.Reason)
}

// Unwrap returns Kind.
func (e *FileError) Unwrap() error { return e.Kind }

// File is a parsed GGUF file.
type File struct {
	name    string
	arch    string
	keys    []string
	values  map[string]any // of the Go types that KV.Value lists
	tensors []tensor.Tensor
	index   map[string]int // into tensors
	mapping *mapped.File   // nil if made by Parse
}

// Open maps and parses the file at path. Close it when its tensors are no
// longer used. What is wrong with the contents is a *FileError.
func Open(path string) (*File, error) {
	mapping, err := mapped.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a GGUF file: %w", err)
	}
	f, err := Parse(path, mapping.Bytes())
	if err != nil {
		return nil, errors.Join(err, mapping.Close())
	}
	f.mapping = mapping
	return f, nil
}

// Parse reads a file that is in memory already; name stands for it in errors,
// each of which is a *FileError. Tensors alias data.
func Parse(name string, data []byte) (*File, error) {
	r := &reader{file: name, data: data, alignment: defaultAlignment}
	head, err := r.header()
	if err != nil {
		return nil, err
	}
	f := &File{name: name, values: map[string]any{}, index: map[string]int{}}
	if err := f.readMetadata(r, head.metadata); err != nil {
		return nil, err
	}
	if err := f.readTensors(r, head.tensors); err != nil {
		return nil, err
	}
	return f, nil
}

// Close gives the memory map back. The tensors' data is invalid afterwards.
func (f *File) Close() error {
	if f.mapping == nil {
		return nil
	}
	return f.mapping.Close()
}

// Name returns the path or name that the file was opened by.
func (f *File) Name() string { return f.name }

// Architecture returns general.architecture, such as "llama", or "" if the file
// does not say.
func (f *File) Architecture() string { return f.arch }

// Keys returns the metadata's keys in the file's order.
func (f *File) Keys() []string { return slices.Clone(f.keys) }

// Tensors returns every tensor in the file's order.
func (f *File) Tensors() []tensor.Tensor { return slices.Clone(f.tensors) }

// Tensor returns the tensor of that name.
func (f *File) Tensor(name string) (tensor.Tensor, bool) {
	i, ok := f.index[name]
	if !ok {
		return tensor.Tensor{}, false
	}
	return f.tensors[i], true
}
