package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"headinfer/graph"
)

// TestMetrics asks for a run's figures while it is served and when it is over.
func TestMetrics(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "in.jsonl")
	if err := os.WriteFile(file, []byte("{\"id\":\"a\",\"text\":\"one\",\"questions\":[\"x\",\"y\"]}\n{\"id\":\"b\",\"text\":\"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := filepath.Join(dir, "p.yaml")
	text := fmt.Sprintf(`model: { path: "random:tiny" }
device: { kind: cpu, memory: 64MiB }
documents:
  - read-jsonl: { path: %q }
  - tokenize: {}
  - chunked-prefill: {}
  - decode: { max_tokens: 3 }
  - jsonl: { path: %q }
heads:
  - prefetch: {}
  - attention: {}
  - offload: {}
`, file, filepath.Join(dir, "out.jsonl"))
	if err := os.WriteFile(yaml, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := (&overrides{}).load(yaml)
	if err != nil {
		t.Fatal(err)
	}
	engine, done, err := openEngine(p, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := done(); err != nil {
			t.Error(err)
		}
	}()
	run, err := p.documents.Build(engine, graph.WithDeadLetters(func(string, *graph.DocumentError) {}))
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMetrics("127.0.0.1:0", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newMetrics(m.listener.Addr().String(), zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "--metrics 127.0.0.1:") {
		t.Errorf("an address that is taken: %v", err)
	}
	m.serve(engine, run)
	if got := scrape(t, m); !strings.Contains(got, `headinfer_stage_items_in_total{stage="decode"} 0`) {
		t.Errorf("before the run:\n%s", got)
	}
	if err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := scrape(t, m)
	for _, want := range []string{
		`headinfer_stage_items_out_total\{stage="tokenize"\} 1`,
		`headinfer_stage_items_out_total\{stage="decode"\} 2`,
		`headinfer_stage_dead_letters_total\{stage="read-jsonl"\} 1`,
		`headinfer_answers_total 2`,
		`headinfer_texts_in_flight 0`,
		`headinfer_device_memory_budget_bytes 6\.7108864e\+07`,
		`headinfer_device_memory_bytes\{purpose="weights"\} [1-9]`,
		`headinfer_tokens_total\{kind="prompt"\} [1-9]`,
		`headinfer_copied_bytes_total\{direction="out"\} [1-9]`,
	} {
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	m.stop()
	m.stop()
	if _, err := http.Get("http://" + m.listener.Addr().String() + "/metrics"); err == nil { //nolint:bodyclose,noctx // it fails
		t.Error("it still answers")
	}
}

func scrape(t *testing.T, m *metrics) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.listener.Addr().String()+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
