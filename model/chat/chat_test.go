package chat

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"headinfer/model/gguf"
)

// TestGolden compares with Python's Jinja, set up as transformers does (tools/golden/tokenizer/chat.py).
func TestGolden(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "chat.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Now       time.Time         `json:"now"`
		Specials  map[string]string `json:"specials"`
		Templates map[string]string `json:"templates"`
		Cases     []struct {
			Template string    `json:"template"`
			Messages []Message `json:"messages"`
			Prompt   bool      `json:"prompt"`
			Want     string    `json:"want"`
			Raises   string    `json:"raises"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	golden.Templates["gguf"] = modelTemplate(t)
	compared := map[string]int{}
	for i, c := range golden.Cases {
		source := golden.Templates[c.Template]
		if source == "" {
			continue // the model file is absent
		}
		tmpl, err := New(source, golden.Specials)
		if err != nil {
			t.Fatalf("%s: %v", c.Template, err)
		}
		tmpl.now = func() time.Time { return golden.Now }
		got, err := tmpl.Render(c.Messages, c.Prompt)
		compared[c.Template]++
		if c.Raises != "" {
			if !errors.Is(err, ErrRaised) || !strings.HasSuffix(err.Error(), ": "+c.Raises) {
				t.Errorf("case %d, %s: error %v, want one that says %q", i, c.Template, err, c.Raises)
			}
			continue
		}
		if err != nil || got != c.Want {
			t.Errorf("case %d, %s, %q:\n got %q\nwant %q\nerror %v", i, c.Template, c.Messages, got, c.Want, err)
		}
	}
	t.Logf("compared %v", compared)
}

// modelTemplate is SmolLM2's own template, or "" where the model file is absent.
func modelTemplate(t *testing.T) string {
	t.Helper()
	f, err := gguf.Open(filepath.Join("..", "..", "models", "SmolLM2-135M-Instruct.Q4_1.gguf"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Logf("without SmolLM2's own template: %v", err)
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	template, err := f.String("tokenizer.chat_template")
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func TestConcurrentRender(t *testing.T) {
	tmpl, err := New("{% for m in messages %}{{ m.role }}{{ loop.index }}{{ m.content[-1] }}{% endfor %}", nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if got, err := tmpl.Render([]Message{{Role: "a", Content: "xy"}, {Role: "b", Content: "z"}}, false); err != nil || got != "a1yb2z" {
					t.Errorf("%q, %v; want a1yb2z", got, err)
				}
			}
		})
	}
	wg.Wait()
}
