package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestFacts compares what a run is made with to what it was made with.
func TestFacts(t *testing.T) {
	t.Parallel()
	r := random(t)
	option := func(v string) Fact { return Fact{Name: "documents.decode.max_tokens", Value: v} }
	file := func(name, v, key string) Fact { return Fact{Name: "input " + name, Value: v, Key: key, Input: true} }
	for _, c := range []struct {
		name     string
		keys     []string
		was, is  []Fact
		says     string // of the refusal; empty where it is gone on with
		newInput bool
	}{
		{"the same", []string{"a"}, []Fact{option("64"), file("a", "1", "a")}, []Fact{file("a", "1", "a"), option("64")}, "", false},
		{"an option", []string{"a"}, []Fact{option("64")}, []Fact{option("128")}, "documents.decode.max_tokens was 64 and is 128; start over with --restart, or go on all the same with --accept-changes", false},
		{"an option, nothing done", nil, []Fact{option("64")}, []Fact{option("128")}, "", true},
		{"an option is gone", []string{"a"}, []Fact{option("64")}, nil, "documents.decode.max_tokens was 64 and is gone", false},
		{"an option is new", []string{"a"}, nil, []Fact{option("64")}, "documents.decode.max_tokens was not there and is 64", false},
		{"a new file", []string{"a"}, []Fact{file("a", "1", "a")}, []Fact{file("a", "1", "a"), file("b", "1", "b")}, "", true},
		{"a new file of many", []string{"x"}, []Fact{file("a", "1", "")}, []Fact{file("a", "1", ""), file("b", "1", "")}, "", true},
		{"a file", []string{"a"}, []Fact{file("a", "1", "a")}, []Fact{file("a", "2", "a")}, "input a was 1 and is 2", true},
		{"a file's question", []string{"a#2"}, []Fact{file("a", "1", "a")}, []Fact{file("a", "2", "a")}, "input a was 1 and is 2", true},
		{"a file's window", []string{"a@0-100"}, []Fact{file("a", "1", "a")}, nil, "input a was 1 and is gone", false},
		{"a file that is not done", []string{"b", "a.txt"}, []Fact{file("a", "1", "a")}, []Fact{file("a", "2", "a")}, "", true},
		{"a file's key", []string{"x"}, []Fact{file("a", "1", "a")}, []Fact{file("a", "1", "b")}, "", false},
		{"a file whose name is no text", []string{"caf\xe9"}, []Fact{file("caf\xe9", "1", "caf\xe9")}, []Fact{file("caf\xe9", "1", "caf\xe9")}, "", false},
		{"another of that name", []string{"caf\xe9"}, []Fact{file("caf\xe9", "1", "caf\xe9")}, []Fact{file("caf\xe9", "2", "caf\xe9")}, "was 1 and is 2", true},
		{"a file is gone that is not done", []string{"b"}, []Fact{file("a", "1", "a")}, nil, "", false},
		{"a file of many", []string{"x"}, []Fact{file("a", "1", "")}, []Fact{file("a", "2", "")}, "input a was 1 and is 2", true},
		{"a file of many is gone", []string{"x"}, []Fact{file("a", "1", "")}, nil, "input a was 1 and is gone", false},
		{"a pipe", []string{"x"}, []Fact{option("64")}, []Fact{option("64"), {Name: "input -", Input: true, Passing: true}}, "", true},
		{"several", []string{"x"}, []Fact{option("64"), file("a", "1", "")}, nil, "was 64 and is gone; input a was 1 and is gone; ", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.jsonl")
			j := open(t, path, Options{Facts: c.was})
			appendAll(t, j, r, c.keys...)
			if err := j.Finish(nil); err != nil {
				t.Fatal(err)
			}
			closed(t, j)
			look, lookErr := Look(path, Options{Facts: c.is})
			j, err := begun(path, Options{Facts: c.is})
			if c.says == "" {
				if err != nil || lookErr != nil {
					t.Fatalf("refused: %v, %v", err, lookErr)
				}
				if !look.Begun || look.Complete != !c.newInput {
					t.Errorf("complete: %v, and something to do: %v", look.Complete, c.newInput)
				}
				closed(t, j) // as one that is interrupted
				if look, err := Look(path, Options{Facts: c.is}); err != nil || c.newInput && (look.Complete || look.Status.Complete || look.Finished) {
					t.Errorf("after an interruption: %+v, %v", look, err)
				}
				// What was accepted is what it is made with now.
				j = open(t, path, Options{Facts: c.is})
				if err := j.Finish(nil); err != nil {
					t.Fatal(err)
				}
				closed(t, j)
				look, err := Look(path, Options{Facts: c.is})
				if passes := slices.ContainsFunc(c.is, func(f Fact) bool { return f.Passing }); err != nil || look.Complete == passes {
					t.Errorf("afterwards: %+v, %v", look, err)
				}
				return
			}
			var changed *ChangedError
			if !errors.As(err, &changed) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Fatalf("the error is %v, expected %q", err, c.says)
			}
			if lookErr == nil || lookErr.Error() != err.Error() {
				t.Errorf("before it is opened, the error is %v", lookErr)
			}
			closed(t, open(t, path, Options{Facts: c.is, AcceptChanges: true}))
			if look, err := Look(path, Options{Facts: c.is}); err != nil || look.Complete {
				t.Errorf("accepted, and interrupted: %+v, %v", look, err)
			}
			j = open(t, path, Options{Facts: c.is})
			if err := j.Finish(nil); err != nil {
				t.Fatal(err)
			}
			closed(t, j)
			if look, err := Look(path, Options{Facts: c.is}); err != nil || !look.Complete {
				t.Errorf("accepted: %+v, %v", look, err)
			}
		})
	}
	var many []Fact
	for i := range 50 {
		many = append(many, Fact{Name: fmt.Sprint(i), Value: "1"})
	}
	path := filepath.Join(t.TempDir(), "a.jsonl")
	j := open(t, path, Options{Facts: many})
	appendAll(t, j, r, "a")
	closed(t, j)
	if _, err := begun(path, Options{}); err == nil || !strings.Contains(err.Error(), "; 45 changes more; ") {
		t.Errorf("of 50 changes the error says %v", err)
	}
	if _, err := begun(path, Options{Facts: []Fact{{Name: "a"}, {Name: "a"}}}); err == nil {
		t.Error("a fact twice")
	}
}

// TestLongChange shows of long values where they begin to differ.
func TestLongChange(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 5000)
	text := Change{"prompt", long + "Answer" + long, long + "Reply" + long}.String()
	if len(text) > 400 || !strings.Contains(text, "éAnsweré") || !strings.Contains(text, "éReplyé") || !utf8.ValidString(text) {
		t.Errorf("%d bytes: %s", len(text), text)
	}
	if text := (Change{"prompt", "", long}).String(); len(text) > 300 || !utf8.ValidString(text) {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}

// TestForm makes a complete output anew when its form changes, also where a process was
// killed after that was accepted.
func TestForm(t *testing.T) {
	t.Parallel()
	upper := func(dst *os.File, records io.Reader) error {
		data, err := io.ReadAll(records)
		if err == nil {
			_, err = dst.Write(append([]byte("HEAD\n"), bytes.ToUpper(data)...))
		}
		return err
	}
	for _, records := range []int{0, 3} {
		r, path := random(t), filepath.Join(t.TempDir(), "a")
		j := open(t, path, Options{Form: "lower"})
		for i := range records {
			appendAll(t, j, r, fmt.Sprint("doc ", i))
		}
		if err := j.Finish(nil); err != nil {
			t.Fatal(err)
		}
		closed(t, j)
		was := read(t, path)
		if records > 0 { // else there is nothing that would be of both
			_, err := begun(path, Options{Form: "upper"})
			_, lookErr := Look(path, Options{Form: "upper"})
			for _, err := range []error{err, lookErr} {
				if _, changed := errors.AsType[*ChangedError](err); !changed || !strings.Contains(err.Error(), "output was lower and is upper") {
					t.Errorf("another form: %v", err)
				}
			}
		}
		j = open(t, path, Options{Form: "upper", AcceptChanges: true})
		if err := j.release(); err != nil { // as if killed
			t.Fatal(err)
		}
		j.mu.Lock()
		j.closed = true
		j.mu.Unlock()
		if read(t, path) != was {
			t.Error("the output is another before it is whole")
		}
		j = open(t, path, Options{Form: "upper"})
		if j.Records() != int64(records) || j.Done("doc 0") != (records > 0) {
			t.Errorf("%d records", j.Records())
		}
		if err := j.Finish(upper); err != nil {
			t.Fatal(err)
		}
		closed(t, j)
		if read(t, path) != "HEAD\n"+strings.ToUpper(was) || read(t, path+".records") != was {
			t.Error("the output is not made anew")
		}
		if s, err := Look(path, Options{Form: "upper"}); err != nil || !s.Complete {
			t.Errorf("%+v, %v", s, err)
		}
	}
}
