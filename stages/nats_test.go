package stages

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"headinfer/config"
	"headinfer/graph"
)

// TestSentDocument sends documents through the queue's encoding: what comes out
// is what went in, in value and in type, since prompts print it.
func TestSentDocument(t *testing.T) {
	r, _ := seeded(t)
	text := func() string {
		b := make([]byte, r.IntN(20)) // not UTF-8, most of the time
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	for range 100 {
		in := sentDocument{Document: &Document{
			ID: fmt.Sprintf("ä/%d#", r.Uint32()), Text: text(), Question: text(), Index: r.Int64(),
			Fields: map[string]any{
				"text": text(), "whole": r.Int64(), "number": float64(r.Int64()), "inf": math.Inf(-1), "yes": r.IntN(2) == 0, "nothing": nil,
				"list": []any{int64(3), 3.0, text(), nil}, "map": map[string]any{"": text()},
			},
		}, Graded: r.IntN(2) == 0}
		for i := range r.IntN(4) {
			in.Questions = append(in.Questions, text())
			if r.IntN(2) == 0 {
				in.Skip = append(in.Skip, i+1)
			}
		}
		data, err := in.encode()
		if err != nil {
			t.Fatal(err)
		}
		out, err := decodeDocument(data)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(in, out) {
			t.Fatalf("%+v became %+v", in.Document, out.Document)
		}
		for range 20 { // whatever comes, there is an error or a document
			bad := append([]byte(nil), data[:r.IntN(len(data)+1)]...)
			if len(bad) > 0 {
				bad[r.IntN(len(bad))] ^= byte(1 + r.IntN(255))
			}
			if _, err := decodeDocument(bad); err == nil && len(bad) < len(data) {
				t.Fatalf("%d bytes of %d were read as a document", len(bad), len(data))
			}
		}
	}
	// A field of Document that is not sent would be lost.
	if n := reflect.TypeFor[Document]().NumField(); n != 7 {
		t.Errorf("Document has %d fields; send the new one, and count it here", n)
	}
	if _, err := decodeDocument([]byte{0x80}); err == nil { // an empty map
		t.Error("a document without an id was read")
	}
	if _, err := (sentDocument{Document: &Document{ID: "\xff"}}).encode(); err == nil {
		t.Error("an id that is not UTF-8 was sent")
	}
}

const divided = `
model: { path: random:tiny }
documents:
%s
heads: [prefetch, attention, offload]
`

// TestDivide cuts pipelines in three, and refuses those that cannot be.
func TestDivide(t *testing.T) {
	for _, c := range []struct{ documents, want string }{
		{"  - task:\n  - tokenize:\n  - chunked-prefill:\n  - decode:\n  - jsonl: { path: out/a.jsonl }",
			"task / tokenize chunked-prefill decode / jsonl"},
		{"  - task: { id: t }\n  - tokenize: { id: k }\n  - chunked-prefill:\n  - decode: { id: nats }\n  - jsonl: { path: out/a.jsonl }\n  - jsonl: { id: b, from: nats, path: out/b.jsonl }",
			"task / tokenize chunked-prefill decode / jsonl jsonl"},
		{"  - task:\n  - tokenize:\n  - chunked-prefill:\n  - decode:\n  - jsonl: { path: out/a.jsonl }\n  - tokenize: { id: k, from: task }\n  - chunked-prefill: { id: c }\n  - decode: { id: d }\n  - jsonl: { id: j, path: out/b.jsonl }",
			`"k" is a second line of stages`},
		{"  - read-nats: { run: r }\n  - tokenize:\n  - chunked-prefill:\n  - decode:\n  - nats:", `"read-nats" cannot be submitted`},
	} {
		r, err := Registry()
		if err != nil {
			t.Fatal(err)
		}
		p, err := config.Load("p.yaml", fmt.Appendf(nil, divided, c.documents), r, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Graphs(r, p); err != nil {
			t.Fatal(err)
		}
		parts, err := Divide(r, p)
		if err != nil {
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: expected %s", err, c.want)
			}
			continue
		}
		for name, build := range map[string]func() (*graph.Graph, error){
			"before": func() (*graph.Graph, error) { return parts.Before(nil) },
			"after":  func() (*graph.Graph, error) { return parts.After(nil) },
			"worker": func() (*graph.Graph, error) { return parts.Worker(WorkerOptions{InFlight: 1, Text: 1}) },
		} {
			if _, err := build(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		var got []string
		for _, part := range [][]config.Entry{parts.before, parts.work, parts.after} {
			var names []string
			for _, e := range part {
				names = append(names, e.Stage)
			}
			got = append(got, strings.Join(names, " "))
		}
		if got := strings.Join(got, " / "); got != c.want {
			t.Errorf("cut into %s, and %s was expected", got, c.want)
		}
	}
}

// TestNATSPairs checks that one end of a queue asks for the other.
func TestNATSPairs(t *testing.T) {
	for documents, want := range map[string]string{
		"  - read-nats: { run: r }\n  - tokenize:\n  - chunked-prefill:\n  - decode:\n  - jsonl: { path: out/a.jsonl }": `p.yaml:4:5: "read-nats" takes documents, and nothing gives`,
		"  - task:\n  - tokenize:\n  - chunked-prefill:\n  - decode:\n  - nats:":                                        `p.yaml:8:5: "nats" gives answers back, and nothing takes`,
		"  - read-nats: { run: r }\n  - tokenize:\n  - chunked-prefill:\n  - decode:\n  - nats:":                        "",
		"  - read-nats: { run: a b }\n  - tokenize:\n  - chunked-prefill:\n  - decode:\n  - nats:":                      `p.yaml:4:18: option "run" is "a b"`,
	} {
		r, err := Registry()
		if err != nil {
			t.Fatal(err)
		}
		p, err := config.Load("p.yaml", fmt.Appendf(nil, divided, documents), r, nil, nil)
		if err == nil {
			_, _, err = Graphs(r, p)
		}
		if got := fmt.Sprint(err); (err != nil) != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%s\n%s, and %q was expected", documents, got, want)
		}
	}
}
