package model

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"headinfer/model/tokenizer"
)

// TestBuiltinIsTheExported reads the built-in model back from the directory
// that it is exported to.
func TestBuiltinIsTheExported(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "there", "builtin")
	if err := ExportBuiltin(dir); err != nil {
		t.Fatal(err)
	}
	carried, err := Open(Builtin)
	if err != nil {
		t.Fatal(err)
	}
	exported, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(carried.Config, exported.Config) || carried.ChatTemplate != exported.ChatTemplate || carried.ChatTemplate == "" {
		t.Errorf("carried %+v, exported %+v", carried.Config, exported.Config)
	}
	for _, spec := range carried.Config.tensors() {
		a, _ := carried.source.(*stored).lookup(spec.name)
		b, _ := exported.source.(*stored).lookup(spec.name)
		if len(a.Data) == 0 || string(a.Data) != string(b.Data) {
			t.Errorf("tensor %s differs", spec.name)
		}
	}
	const text = "The access code of the north gate is 48213."
	ids, err := carried.Tokenizer.Encode(text, tokenizer.EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	others, err := exported.Tokenizer.Encode(text, tokenizer.EncodeOptions{})
	if err != nil || len(ids) == 0 || !slices.Equal(ids, others) {
		t.Errorf("%v and %v, error %v", ids, others, err)
	}
	if err := ExportBuiltin(dir); err == nil {
		t.Error("a model was written over")
	}
	for _, c := range []*Checkpoint{carried, exported} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestBuiltinStaysSmall keeps the program from growing unseen.
func TestBuiltinStaysSmall(t *testing.T) {
	var sum int64
	entries, err := os.ReadDir("builtin")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
	}
	if sum > 8_000_000 {
		t.Errorf("the built-in model's folder has %d bytes", sum)
	}
}
