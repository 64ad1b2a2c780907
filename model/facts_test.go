package model

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestReadConfig compares with what opening the whole model gives.
func TestReadConfig(t *testing.T) {
	for _, path := range []string{"../testdata/tiny-llama", "../testdata/tiny-llama-sharded", "../testdata/tiny-llama.gguf"} {
		c, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadConfig(path)
		if err != nil || !reflect.DeepEqual(got, c.Config) {
			t.Errorf("%s: %+v (%v), want %+v", path, got, err, c.Config)
		}
		var parameters, bytes int64
		for _, e := range c.Encodings() {
			parameters, bytes = parameters+e.Parameters, bytes+e.Bytes
		}
		if parameters != got.Parameters() || bytes != c.WeightBytes() && path != "../testdata/tiny-llama-sharded" {
			t.Errorf("%s: encodings of %d parameters in %d bytes, and there are %d in %d", path, parameters, bytes, got.Parameters(), c.WeightBytes())
		}
		closing(t, c)
	}
	for _, path := range []string{"../testdata", "none.gguf", "none"} {
		if _, err := ReadConfig(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestParameters counts Llama 3 8B's, as published.
func TestParameters(t *testing.T) {
	c, err := Open("random:llama-3-8b")
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, c)
	if n := c.Config.Parameters(); n != 8_030_261_248 {
		t.Errorf("%d parameters", n)
	}
	if e := c.Encodings(); len(e) != 2 || e[0].Name != "bf16" || e[1].Name != "f32" || e[0].Bytes < e[1].Bytes {
		t.Errorf("encodings %+v", e)
	}
	if names := Shapes(); !slices.IsSorted(names) || !slices.Contains(names, "llama-3-8b") {
		t.Errorf("shapes %v", names)
	}
}
