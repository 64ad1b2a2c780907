package chat

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestExpressions compares random expressions with transformers' Jinja (tools/golden/chat/expressions.py).
func TestExpressions(t *testing.T) {
	path := filepath.Join("testdata", "expressions.json")
	if other := os.Getenv("HEADINFER_CHAT_EXPRESSIONS"); other != "" {
		path = other
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Seed      int     `json:"seed"`
		Variables Options `json:"variables"`
		Cases     []struct {
			Of    string `json:"of"`
			Want  string `json:"want"`
			Fails bool   `json:"fails"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	different, failures := 0, 0
	for _, c := range golden.Cases {
		got := ""
		tmpl, err := New("{{ "+c.Of+" }}", nil)
		if err == nil {
			got, err = tmpl.RenderWith(nil, golden.Variables)
		}
		if c.Fails {
			failures++
		}
		if c.Fails && errors.Is(err, ErrTemplate) || !c.Fails && err == nil && got == c.Want {
			continue
		}
		if different++; different <= 40 {
			t.Errorf("%s\n got %q\nwant %q\nerror %v, want one: %v", c.Of, got, c.Want, err, c.Fails)
		}
	}
	t.Logf("seed %d: %d expressions, %d of them refused; %d differ", golden.Seed, len(golden.Cases), failures, different)
}
