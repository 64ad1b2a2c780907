package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"headinfer/kernels/cpu/simd"
)

// TestMain puts the program, built with this test, on the PATH as headinfer.
func TestMain(m *testing.M) {
	// With the race detector every process would sleep a second at its end.
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	testscript.Main(m, map[string]func(){"headinfer": main})
}

// repository returns the absolute path of something in the repository.
func repository(elements ...string) (string, error) {
	return filepath.Abs(filepath.Join(append([]string{"..", ".."}, elements...)...))
}

// TestScripts runs the command line as a user does. Each script has $MODEL, a
// tiny model's directory, and $GGUF, one in a file; ok.yaml is a pipeline that
// works with d/*.txt.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for name, path := range map[string][]string{
				"MODEL": {"testdata", "tiny-llama"}, "GGUF": {"testdata", "tiny-llama.gguf"}, "SHARDED": {"testdata", "tiny-llama-sharded"},
			} {
				abs, err := repository(path...)
				if err != nil {
					return err
				}
				env.Setenv(name, abs)
			}
			env.Setenv("NL", "\n")
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return os.CopyFS(env.WorkDir, os.DirFS("testdata/work"))
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "full":
				info, err := os.Stat("/dev/full")
				return err == nil && info.Mode()&fs.ModeCharDevice != 0, nil
			case "bf16":
				return simd.CanPairs() == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "cut": cut, "edit": edit, "repeat": repeat, "json": isJSON, "ids": ids, "same-answers": sameAnswers, "tracks": tracks,
		},
	})
}

// exits N command args...: the command ends with exit code N.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N command args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s did not end by itself: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, and %d was expected", got, want)
	}
}

// cut N from to: the first N bytes of a file become another.
func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: cut N from to")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	data := ts.ReadFile(args[1])
	if n > len(data) {
		ts.Fatalf("%s has only %d bytes", args[1], len(data))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(data[:n]), 0o666))
}

// edit file old new: replaces a text, which must be there, everywhere in a file.
func edit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: edit file old new")
	}
	data := ts.ReadFile(args[0])
	if !strings.Contains(data, args[1]) {
		ts.Fatalf("%s does not have %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(data, args[1], args[2])), 0o666))
}

// repeat N text file: writes a text N times.
func repeat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: repeat N text file")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.Repeat(args[1], n)), 0o666))
}

// json file [path value]: the file is one JSON value and nothing else; at a
// path such as device_memory.budget_bytes or stages.0.name it holds a value.
func isJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 && len(args) != 3 {
		ts.Fatalf("usage: json file [path value]")
	}
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	decoder.UseNumber()
	var v any
	ts.Check(decoder.Decode(&v))
	if decoder.More() {
		ts.Fatalf("%s has more than one JSON value", args[0])
	}
	if len(args) == 1 {
		return
	}
	for _, key := range strings.Split(args[1], ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(in) {
				ts.Fatalf("no %q in a list of %d", key, len(in))
			}
			v = in[i]
		default:
			ts.Fatalf("no %q in %v", key, v)
		}
	}
	if got := fmt.Sprint(v); got != args[2] {
		ts.Fatalf("%s is %s, and %s was expected", args[1], got, args[2])
	}
}

// record is what the tests look at in an answer.
type record struct {
	ID           string `json:"id"`
	Question     string `json:"question"`
	Answer       string `json:"answer"`
	Stop         string `json:"stop"`
	PromptTokens int    `json:"prompt_tokens"`
	AnswerTokens int    `json:"answer_tokens"`
}

// records reads a file of answers; every line must be whole.
func records(data []byte) ([]record, error) {
	var all []record
	for i, line := range bytes.SplitAfter(data, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		if !bytes.HasSuffix(line, []byte("\n")) {
			return nil, fmt.Errorf("line %d has no end", i+1)
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// ids file id...: a file of answers or dead letters has exactly these, in this
// order. A backslash in the file counts as a slash.
func ids(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: ids file id...")
	}
	all, err := records([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	got := make([]string, len(all))
	for i, r := range all {
		got[i] = strings.ReplaceAll(r.ID, `\`, "/")
	}
	if g, w := strings.Join(got, " "), strings.Join(args[1:], " "); g != w {
		ts.Fatalf("%s has the ids %q, and %q were expected", args[0], g, w)
	}
}

// same-answers a b: two files hold the same answers, whatever they took.
func sameAnswers(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] same-answers a b")
	}
	var all [2][]record
	for i, name := range args {
		var err error
		all[i], err = records([]byte(ts.ReadFile(name)))
		ts.Check(err)
		if len(all[i]) == 0 {
			ts.Fatalf("%s is empty", name)
		}
	}
	if same := fmt.Sprint(all[0]) == fmt.Sprint(all[1]); same == neg {
		ts.Fatalf("the answers differ: %t\n%+v\n%+v", !same, all[0], all[1])
	}
}
