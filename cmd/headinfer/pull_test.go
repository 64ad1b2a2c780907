package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"headinfer/model/hub"
)

const pullCommit = "0123456789abcdef0123456789abcdef01234567"

// testHub serves owner/tiny, the tiny model as a folder and as a GGUF file, and
// the gated owner/gated. before is called with the path of every request, and
// may answer it.
func testHub(t *testing.T, before func(w http.ResponseWriter, r *http.Request) bool) (endpoint string) {
	t.Helper()
	files := map[string][]byte{}
	for name, elements := range map[string][]string{
		"config.json": {"tiny-llama", "config.json"}, "tokenizer.json": {"tiny-llama", "tokenizer.json"},
		"model.safetensors": {"tiny-llama", "model.safetensors"}, "tiny.gguf": {"tiny-llama.gguf"},
	} {
		path, err := repository(append([]string{"testdata"}, elements...)...)
		if err != nil {
			t.Fatal(err)
		}
		if files[name], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	type object = map[string]any
	var siblings []object
	for name, data := range files {
		git, whole := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...)), sha256.Sum256(data)
		s := object{"rfilename": name, "size": len(data), "blobId": hex.EncodeToString(git[:])}
		if name == "model.safetensors" {
			s["lfs"] = object{"size": len(data), "sha256": hex.EncodeToString(whole[:])}
		}
		siblings = append(siblings, s)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isFile := strings.CutPrefix(r.URL.Path, "/owner/tiny/resolve/"+pullCommit+"/")
		data, known := files[name]
		switch {
		case before != nil && before(w, r):
		case r.URL.Path == "/api/models/owner/tiny/revision/main":
			if err := json.NewEncoder(w).Encode(object{"sha": pullCommit, "siblings": siblings}); err != nil {
				t.Error(err)
			}
		case strings.Contains(r.URL.Path, "owner/gated"):
			w.Header().Set("X-Error-Code", "GatedRepo")
			w.WriteHeader(http.StatusForbidden)
		case isFile && known:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// hubCommand prepares the program in a folder of its own, with a cache there.
func hubCommand(t *testing.T, ctx context.Context, dir, endpoint string, args ...string) (c *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	c = exec.CommandContext(ctx, "headinfer", args...)
	c.Dir, stdout, stderr = dir, new(bytes.Buffer), new(bytes.Buffer)
	c.Stdout, c.Stderr = stdout, stderr
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "HF_") && !strings.HasPrefix(v, "HUGGING") && !strings.HasPrefix(v, "TRANSFORMERS_") {
			c.Env = append(c.Env, v)
		}
	}
	c.Env = append(c.Env, "HF_HOME="+dir, "HF_ENDPOINT="+endpoint)
	return c, stdout, stderr
}

// withHub runs the program to its end.
func withHub(t *testing.T, dir, endpoint string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, out, errOut := hubCommand(t, ctx, dir, endpoint, args...)
	err := c.Run()
	if ctx.Err() != nil || c.ProcessState == nil {
		t.Fatalf("headinfer %q: %v\n%s", args, err, errOut)
	}
	return out.String(), errOut.String(), c.ProcessState.ExitCode()
}

// TestPull pulls a model and one file of it, and runs both from the cache.
func TestPull(t *testing.T) {
	dir, endpoint := t.TempDir(), testHub(t, nil)
	snapshot := filepath.Join(dir, "hub", "models--owner--tiny", "snapshots", pullCommit)
	stdout, stderr, code := withHub(t, dir, endpoint, "pull", "owner/tiny")
	if code != 0 || stdout != snapshot+"\n" || !strings.Contains(stderr, "model fetched") {
		t.Fatalf("exit code %d: %q, %s", code, stdout, stderr)
	}
	if stdout, stderr, code = withHub(t, dir, endpoint, "pull", "hf:owner/tiny"); code != 0 || stdout != snapshot+"\n" || stderr != "" {
		t.Errorf("again: exit code %d: %q, %s", code, stdout, stderr)
	}
	if stdout, stderr, code = withHub(t, dir, endpoint, "pull", "owner/tiny", "--file", "tiny.gguf"); code != 0 || stdout != filepath.Join(snapshot, "tiny.gguf")+"\n" {
		t.Errorf("one file: exit code %d: %q, %s", code, stdout, stderr)
	}

	answer := ""
	for _, path := range []string{snapshot, "hf:owner/tiny@" + pullCommit, "hf:owner/tiny", "hf:owner/tiny:tiny.gguf"} {
		// Nothing listens there, so this warns for what is no commit.
		stdout, stderr, code := withHub(t, dir, "http://127.0.0.1:1", "generate", "-m", path, "--device", "cpu",
			"--set", "documents.tokenize.chat=false", "--set", "documents.decode.max_tokens=8", "Where is it?")
		if code != 0 || stdout == "" || answer != "" && stdout != answer {
			t.Errorf("%s: exit code %d: %q, and %q was expected: %s", path, code, stdout, answer, stderr)
		}
		answer = stdout
	}
}

// TestPullFirstUse runs a pipeline whose model is not there yet.
func TestPullFirstUse(t *testing.T) {
	dir, endpoint := t.TempDir(), testHub(t, nil)
	write(t, filepath.Join(dir, "documents.jsonl"), `{"text":"the key is under the mat"}`+"\n")
	write(t, filepath.Join(dir, "p.yaml"), `
model:  { path: "hf:owner/tiny" }
device: { kind: cpu }
documents:
  - read-jsonl:      { path: documents.jsonl }
  - tokenize:        { prompt: "{{.Text}}" }
  - chunked-prefill: {}
  - decode:          { max_tokens: 3 }
  - jsonl:           { path: out/answers.jsonl }
heads: [prefetch, attention, offload]
`)
	_, stderr, code := withHub(t, dir, endpoint, "run", "p.yaml")
	if code != 0 || !strings.Contains(stderr, "model fetched") || !strings.Contains(stderr, `"model":"owner/tiny","device"`) {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if got := readAnswers(t, filepath.Join(dir, "out/answers.jsonl")); len(got) != 1 || got[0].AnswerTokens != 3 {
		t.Errorf("the answers are %+v", got)
	}
}

func TestPullRefused(t *testing.T) {
	dir, endpoint := t.TempDir(), testHub(t, nil)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"pull", "owner/other"}, exitUsage, "headinfer: model owner/other not found at " + endpoint},
		{[]string{"pull", "owner/tiny", "--file", "other.gguf"}, exitUsage, `file "other.gguf" not found in revision "main"; there are tiny.gguf`},
		{[]string{"pull", "owner/tiny:tiny.gguf", "--file", "tiny.gguf"}, exitUsage, "names a file already"},
		{[]string{"pull", "owner/tiny", "--file", "../tiny.gguf"}, exitUsage, `"../tiny.gguf" is no file of a repository`},
		{[]string{"pull", "tiny"}, exitUsage, "expected OWNER/NAME"},
		{[]string{"pull", "owner/gated"}, exitFailed, "the model is gated; accept its licence on " + endpoint + "/owner/gated, and set HF_TOKEN"},
		{[]string{"generate", "-m", "hf:owner/other", "x"}, exitUsage, "model owner/other not found"},
		{[]string{"generate", "-m", "hf:owner", "x"}, exitUsage, "expected OWNER/NAME"},
	} {
		stdout, stderr, code := withHub(t, dir, endpoint, c.args...)
		if code != c.code || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit code %d: %q", c.args, code, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "hub")); !os.IsNotExist(err) {
		t.Errorf("it made a cache: %v", err)
	}
}

// TestHubError gives each kind of failure its exit code.
func TestHubError(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		code int // 0: the default
	}{
		{t.Context(), hub.ErrNotFound, exitUsage},
		{t.Context(), hub.ErrName, exitUsage},
		{t.Context(), hub.ErrOffline, exitUsage},
		{t.Context(), hub.ErrDenied, 0},
		{t.Context(), hub.ErrChecksum, 0},
		{t.Context(), hub.ErrNoSpace, 0},
		{ended, context.Canceled, exitInterrupted},
	} {
		code := 0
		if coded, ok := errors.AsType[*exitError](hubError(c.ctx, fmt.Errorf("x: %w", c.err))); ok {
			code = coded.code
		}
		if code != c.code {
			t.Errorf("%v has the exit code %d, and %d was expected", c.err, code, c.code)
		}
	}
}

// TestPullProgress shows a pull that grows, loses some, and ends.
func TestPullProgress(t *testing.T) {
	bar := newPullBar(io.Discard)
	var log bytes.Buffer
	watch := &pullLog{log: zerolog.New(&log), model: "o/n"}
	watch.end(nil)
	for _, p := range []hub.Progress{
		{Files: 2, Bytes: 10},
		{Files: 2, Bytes: 10, BytesDone: 4},
		{Files: 2, FilesDone: 2, Bytes: 10, BytesDone: 10, Fetched: 6},
		{Files: 3, FilesDone: 2, Bytes: 5 << 20, BytesDone: 10, Fetched: 6},
		{Files: 3, FilesDone: 2, Bytes: 5 << 20, BytesDone: 2 << 20, Fetched: 2 << 20},
		{Files: 3, FilesDone: 2, Bytes: 5 << 20, BytesDone: 10, Fetched: 2 << 20},
		{Files: 3, FilesDone: 3, Bytes: 5 << 20, BytesDone: 5 << 20, Fetched: 7 << 20},
	} {
		bar.show(p)
		watch.show(p)
		if got := bar.bar.Current(); got != p.BytesDone || bar.bar.Completed() {
			t.Errorf("after %+v the bar is at %d, complete: %t", p, got, bar.bar.Completed())
		}
	}
	watch.end(nil)
	bar.stop()
	newPullBar(io.Discard).stop() // nothing came
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), `"there":"10 B"`) || !strings.Contains(log.String(), `"there":"5 MiB"`) {
		t.Errorf("it logged %s", &log)
	}

	p := hub.Progress{Files: 7, FilesDone: 3, Bytes: 10 << 30, BytesDone: 4 << 30, Fetched: 1 << 30}
	if got := pullDone(p); got != "3 of 7 files  4 GiB of 10 GiB " {
		t.Errorf("done: %q", got)
	}
	if got := pullRate(p, 16*time.Second); got != " 64 MiB/s  1m36s left" {
		t.Errorf("rate: %q", got)
	}
	if got := pullRate(p, 100*time.Millisecond); got != "" {
		t.Errorf("rate: %q", got)
	}
}
