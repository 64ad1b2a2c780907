package model

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"headinfer/model/builtin"
	"headinfer/model/safetensors"
)

// Builtin is the path of the model that the program carries.
const Builtin = "builtin"

func openBuiltin() (*Checkpoint, error) {
	return openLayout(Builtin, func(path string) ([]byte, error) { return builtin.Files.ReadFile(filepath.Base(path)) },
		func() (*safetensors.Set, error) {
			const file = "model.safetensors"
			data, err := builtin.Files.ReadFile(file)
			if err != nil {
				return nil, err
			}
			return safetensors.Parse(file, aligned(data))
		})
}

// aligned returns a copy of data that starts on a multiple of 8, as a mapped
// file does.
func aligned(data []byte) []byte {
	words := make([]uint64, (len(data)+7)/8)
	room := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(data))
	copy(room, data)
	return room
}

// ExportBuiltin writes the built-in model as an ordinary directory, which is
// made if need be and must not hold a model yet.
func ExportBuiltin(dir string) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := fs.ReadDir(builtin.Files, ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s is there already; name a directory without a model", path)
		}
	}
	for _, e := range entries {
		data, err := builtin.Files.ReadFile(e.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, e.Name()), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
