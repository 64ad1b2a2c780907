package chat

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// turns are messages as JSON has them: content is a string or a list of parts.
type turns []Message

func (t *turns) UnmarshalJSON(data []byte) error {
	var list []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	for _, l := range list {
		m := Message{Role: l.Role}
		into := any(&m.Content)
		if strings.HasPrefix(string(l.Content), "[") {
			into = &m.Parts
		}
		if err := json.Unmarshal(l.Content, into); err != nil {
			return err
		}
		*t = append(*t, m)
	}
	return nil
}

// UnmarshalJSON reads numbers without a point as integers.
func (o *Options) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	if err := dec.Decode(&o.Variables); err != nil {
		return err
	}
	for name, v := range o.Variables {
		o.Variables[name] = withNumbers(v)
	}
	return nil
}

func withNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = withNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = withNumbers(v[k])
		}
	}
	return v
}

// TestFamilies compares templates in the manner of today's models with transformers (tools/golden/chat).
func TestFamilies(t *testing.T) {
	for name, text := range compareGolden(t, filepath.Join("testdata", "families.json")) {
		if file, err := os.ReadFile(filepath.Join("testdata", "families", name+".jinja")); err != nil || string(file) != text {
			t.Errorf("families.json was made of another %s.jinja (%v); run tools/golden/chat/make.py", name, err)
		}
	}
	if more := os.Getenv("HEADINFER_CHAT_GOLDEN"); more != "" {
		compareGolden(t, more)
	}
}

// compareGolden gives the templates that the file was made of.
func compareGolden(t *testing.T, path string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Now           time.Time         `json:"now"`
		Specials      map[string]string `json:"specials"`
		Templates     map[string]string `json:"templates"`
		Conversations []turns           `json:"conversations"`
		Cases         []struct {
			Template  string  `json:"template"`
			Messages  int     `json:"messages"`
			Bare      bool    `json:"bare"`
			Variables Options `json:"variables"`
			Want      *string `json:"want"`
			Raises    *string `json:"raises"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	parsed, refused := map[string]*Template{}, map[string]error{}
	for name, source := range golden.Templates {
		tmpl, err := New(source, golden.Specials)
		if err != nil {
			refused[name] = err
			continue
		}
		tmpl.now = func() time.Time { return golden.Now }
		parsed[name] = tmpl
	}
	shown := map[string]int{}
	equal := 0
	for i, c := range golden.Cases {
		messages := golden.Conversations[c.Messages]
		c.Variables.AddGenerationPrompt = !c.Bare
		got, err := "", refused[c.Template]
		if err == nil {
			got, err = parsed[c.Template].RenderWith(messages, c.Variables)
		}
		var ok bool
		want := "an error"
		switch {
		case c.Want != nil:
			ok, want = err == nil && got == *c.Want, *c.Want
		case c.Raises != nil:
			ok, want = errors.Is(err, ErrRaised) && strings.HasSuffix(err.Error(), ": "+*c.Raises), "raised: "+*c.Raises
		default:
			ok = errors.Is(err, ErrTemplate)
		}
		if ok {
			equal++
			continue
		}
		if shown[c.Template]++; shown[c.Template] <= 2 {
			t.Errorf("case %d, %s, conversation %d, %v:\n got %.1500q\nwant %.1500q\nerror %v", i, c.Template, c.Messages, c.Variables, got, want, err)
		}
	}
	t.Logf("%s: %d templates, %d of %d cases are equal; not: %v", path, len(golden.Templates), equal, len(golden.Cases), shown)
	return golden.Templates
}
