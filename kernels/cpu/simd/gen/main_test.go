package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestAssemblyIsCurrent(t *testing.T) {
	for _, name := range []string{"avx512", "avx2"} {
		files, err := generate(name)
		if err != nil {
			t.Fatal(err)
		}
		for file, want := range files {
			got, err := os.ReadFile(filepath.Join("..", file))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not what gen writes: run go generate in kernels/cpu/simd", file)
			}
		}
	}
	if _, err := generate("sse9"); err == nil {
		t.Error("an unknown instruction set was generated")
	}
}
