package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHolds(t *testing.T) {
	for _, c := range []struct {
		answer string
		want   bool
	}{
		{"48213", true},
		{"The secret code is 48213.", true},
		{"It is 48,213!", true},
		{"4 8 2 1 3", true},
		{"148213 is wrong, 48213 is right", true},
		{"148213", false},
		{"482130", false},
		{"48,2130", false},
		{"4821", false},
		{"48213-", true},
		{"", false},
		{"I don't know.", false},
	} {
		if got := holds(c.answer, "48213"); got != c.want {
			t.Errorf("holds(%q) = %v, expected %v", c.answer, got, c.want)
		}
	}
}

func TestDocumentName(t *testing.T) {
	for id, want := range map[string]string{
		"testdata/corpus/a-b.txt": "a-b",
		`C:\corpus\a-b.txt`:       "a-b",
		"a.b.txt":                 "a.b",
		"a":                       "",
		"":                        "",
		"dir/.txt":                "",
	} {
		if got := documentName(id); got != want {
			t.Errorf("documentName(%q) = %q, expected %q", id, got, want)
		}
	}
}

// TestScoreOfAWrittenCorpus goes through the command as a person would: writes a corpus, answers some of it, scores.
func TestScoreOfAWrittenCorpus(t *testing.T) {
	seed := freshSeed(t)
	dir := filepath.Join(t.TempDir(), "new", "corpus")
	var stdout, stderr bytes.Buffer
	if err := run([]string{"-out", dir, "-seed", fmt.Sprint(seed)}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	right := 0
	for i, d := range generateCorpus(t, seed) {
		answer := "The secret code is " + d.key + "."
		switch {
		case i == 3:
			answer = "I cannot say."
		case i == 5:
			continue // not answered at all
		case rand.IntN(2) == 0:
			answer = d.key[:2] + "," + d.key[2:]
			fallthrough
		default:
			right++
		}
		line, err := json.Marshal(map[string]any{"id": dir + "/" + d.name + ".txt", "answer": answer, "tokens": 7})
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
	}
	file := filepath.Join(t.TempDir(), "answers.jsonl")
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout.Reset()
	if err := run([]string{"-score", file, "-dir", dir}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	want := fmt.Sprintf("facts found: %d of 12 (", right)
	if len(got) != 13 || !strings.HasPrefix(got[12], want) {
		t.Fatalf("printed %d lines:\n%s\nexpected 12 documents, then %q", len(got), stdout.String(), want)
	}
	if n := strings.Count(stdout.String(), "missed  "); n != 1 {
		t.Errorf("%d documents missed, expected 1", n)
	}
	if n := strings.Count(stdout.String(), "no answer  "); n != 1 {
		t.Errorf("%d documents without an answer, expected 1", n)
	}
}

func TestScoreClasses(t *testing.T) {
	documents := []known{{"c", "33333", 5000}, {"a", "11111", 1024}, {"b", "22222", 1025}, {"d", "44444", 99999}}
	var out strings.Builder
	if err := score(documents, map[string]string{"a": "11111", "c": "33333"}, &out); err != nil {
		t.Fatal(err)
	}
	want := "facts found: 2 of 4 (1 of 1 up to 1K tokens, 0 of 1 up to 2K tokens, 1 of 2 up to 8K tokens)\n"
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("printed:\n%s\nexpected the last line %q", out.String(), want)
	}
}

func TestScoreErrors(t *testing.T) {
	for _, c := range []struct{ name, lines, want string }{
		{"not JSON", "{\"id\": \"a.txt\", \"answer\": \"x\"}\n\nhello\n", "f:3: expected"},
		{"no answer", `{"id": "a.txt"}`, `f:1: expected an "id"`},
		{"no name", `{"id": "a", "answer": "x"}`, `found id "a"`},
		{"twice", "{\"id\": \"a.txt\", \"answer\": \"x\"}\n{\"id\": \"b/a.txt\", \"answer\": \"y\"}", "f:2: a second answer for a"},
	} {
		if _, err := readAnswers("f", strings.NewReader(c.lines)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected it to say %q", c.name, err, c.want)
		}
	}
	var out strings.Builder
	err := score([]known{{"a", "1", 1}}, map[string]string{"a": "1", "z": "2"}, &out)
	if err == nil || !strings.Contains(err.Error(), "answers for z") {
		t.Errorf("an answer for an unknown document: error %v", err)
	}
	if _, err := readKeys(t.TempDir()); err == nil || !strings.Contains(err.Error(), "found no NAME.answer") {
		t.Errorf("an empty folder: error %v", err)
	}
}

func TestRunErrors(t *testing.T) {
	for _, args := range [][]string{{}, {"-out", "x", "-score", "y"}, {"-nothing"}, {"stray"}, {"-score", "missing.jsonl", "-dir", committed}} {
		var stdout, stderr bytes.Buffer
		if err := run(args, &stdout, &stderr); err == nil {
			t.Errorf("run(%q) gave no error", args)
		}
	}
}
