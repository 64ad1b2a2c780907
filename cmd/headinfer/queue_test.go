package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"headinfer/stages/queue"
	"headinfer/stages/queue/queuetest"
)

// The servers of a test are this binary, started once more.
func init() { queuetest.Serve() }

// TestQueueCommands runs submit and work as a user does, with one server.
func TestQueueCommands(t *testing.T) {
	dir, r := t.TempDir(), random(t)
	t.Setenv("NATS_URL", queuetest.Start(t, 1).URL())
	t.Setenv("PREFIX", words(r, 2)) // which workers have to see too
	dead := corpus(t, r, filepath.Join(dir, "documents.jsonl"), 40)
	write(t, filepath.Join(dir, "p.yaml"), fmt.Sprintf(manyFile, tinyModel(t)))
	want := plain(t, dir, dead)
	answers, letters := filepath.Join(dir, "out/answers.jsonl"), filepath.Join(dir, "out/dead-letters.jsonl")

	// The queue is filled, twice, and nobody waits.
	fails(t, dir, exitUsage, "none is under way", "work")
	stdout, stderr, code := headinfer(t, dir, "submit", "p.yaml", "--no-wait")
	if code != exitDeadLetters || !strings.Contains(stdout, "submitted  40 documents\n") || !strings.Contains(stderr, `"run":"p","replicas":1`) {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	stdout, _, _ = headinfer(t, dir, "submit", "p.yaml", "--no-wait", "--json")
	var report map[string]any
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || report["there"] != 40.0 || report["submitted"] != 0.0 {
		t.Errorf("the second time: %v, %s", err, stdout)
	}
	if _, err := os.Stat(answers); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there are answers before any work: %v", err)
	}

	// What must not go on.
	fails(t, dir, exitUsage, "under way with other values of --set; --run names another run, --restart begins this one anew", "submit", "p.yaml", "--set", "documents.decode.max_tokens=5")
	fails(t, dir, exitUsage, `--run: the run's name is "a b"`, "submit", "p.yaml", "--run", "a b")
	fails(t, dir, exitUsage, `there is no run "P"; under way: p; did you mean "p"?`, "work", "P")
	fails(t, dir, exitUsage, "a worker may change device options and model.path", "work", "--set", "documents.decode.max_tokens=5")
	fails(t, dir, exitUsage, "is not the one that the run \"p\" was submitted with", "work", "--set", "model.path=random:tiny")
	fails(t, dir, exitFailed, "NATS server nats://***@127.0.0.1:1", "work", "--url", "nats://u:secret@127.0.0.1:1")

	// A worker on another machine: the pipeline and its variables come with the run.
	prefix := os.Getenv("PREFIX")
	t.Setenv("PREFIX", "another")
	fails(t, dir, exitUsage, "other values of environment variables", "submit", "p.yaml")
	working := spawn(t, t.TempDir(), "work", "--json", "--set", "device.memory=48MiB")
	t.Setenv("PREFIX", prefix)
	stdout, stderr, code = headinfer(t, dir, "submit", "p.yaml")
	if code != exitDeadLetters || !strings.Contains(stdout, " were in the queue") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if code := working.ends(t, patience); code != 0 || !strings.Contains(working.out.String(), `"budget_bytes": 50331648`) {
		t.Errorf("the worker: exit code %d: %s", code, &working.out)
	}
	compare(t, byID(t, answers), want)
	lines, err := os.ReadFile(letters)
	if err != nil || strings.Count(string(lines), "\n") != dead || !strings.Contains(string(lines), `"stage":"chunked-prefill","reason":"on `) {
		t.Errorf("%d dead letters were expected, with stage and machine: %s %v", dead, lines, err)
	}
	if stdout, _, code := headinfer(t, dir, "work", "p"); code != 0 || stdout != "" {
		t.Errorf("work at a complete run: exit code %d: %s", code, stdout)
	}

	// What failed is tried again, and what is answered is not.
	working = spawn(t, dir, "work", "p")
	working.kill() // whatever it did
	before, err := os.ReadFile(answers)
	if err != nil {
		t.Fatal(err)
	}
	submitting := spawn(t, dir, "submit", "p.yaml")
	eventually(t, func() bool { _, _, code := headinfer(t, dir, "work", "p"); return code == 0 && submitting.ended() })
	if code := submitting.ends(t, patience); code != exitDeadLetters || !strings.Contains(submitting.out.String(), "submitted  1 documents, and 39 answered before") {
		t.Errorf("once more: exit code %d: %s", code, &submitting.out)
	}
	if after, err := os.ReadFile(answers); err != nil || string(after) != string(before) {
		t.Errorf("the answers changed: %v", err)
	}

	// Anew, with another pipeline.
	fails(t, dir, exitUsage, "documents.decode.max_tokens was 4 and is 3", "submit", "p.yaml", "--set", "documents.decode.max_tokens=3")
	submitting = spawn(t, dir, "submit", "p.yaml", "--restart", "--set", "documents.decode.max_tokens=3")
	eventually(t, func() bool { _, _, code := headinfer(t, dir, "work", "p"); return code == 0 && submitting.ended() })
	for id, a := range byID(t, answers) {
		if a.AnswerTokens > 3 {
			t.Errorf("%q has %d tokens", id, a.AnswerTokens)
		}
	}
}

// TestQueueScores checks that answers to a task, which only its source can score,
// are scored, also those that wait when submit comes back; what of its variables the
// server sees; and that a run whose end was cut short is ended.
func TestQueueScores(t *testing.T) {
	dir, url := t.TempDir(), queuetest.Start(t, 1).URL()
	t.Setenv("NATS_URL", url)
	t.Setenv("OUT", "out/answers.jsonl")
	t.Setenv("PREFIX", "Text")
	p := strings.ReplaceAll(fmt.Sprintf(manyFile, tinyModel(t)), "read-jsonl:      { path: documents.jsonl }", "task: { samples: 6, tokens: 200 }")
	p = strings.ReplaceAll(p, "out/answers.jsonl", `"${OUT}"`)
	write(t, filepath.Join(dir, "p.yaml"), strings.ReplaceAll(p, "{{.Fields.n}}", ""))
	if _, stderr, code := headinfer(t, dir, "submit", "p.yaml", "--no-wait"); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	q, err := queue.Connect(t.Context(), queue.Server{URL: url}, nil)
	if err != nil {
		t.Fatal(err)
	}
	begun, err := q.Find(t.Context(), "p")
	if err != nil || len(begun.Variables) != 2 || begun.Variables["OUT"] != hidden("OUT", "out/answers.jsonl") || begun.Variables["PREFIX"] != "Text" {
		t.Errorf("the server sees %v, %v", begun.Variables, err)
	}
	t.Setenv("OUT", "out/others.jsonl")
	fails(t, dir, exitUsage, "other values of environment variables", "submit", "p.yaml")
	t.Setenv("OUT", "out/answers.jsonl")
	working := spawn(t, dir, "work")
	eventually(t, func() bool { _, _, code := headinfer(t, dir, "submit", "p.yaml"); return code == 0 })
	if code := working.ends(t, patience); code != 0 {
		t.Fatalf("work: exit code %d: %s", code, &working.out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "out/answers.jsonl"))
	if n := strings.Count(string(data), `"score":`); err != nil || n == 0 || n != strings.Count(string(data), "\n") {
		t.Errorf("%d scores in %s, %v", n, data, err)
	}

	// As if submit had been killed with complete outputs.
	if _, err := q.Create(t.Context(), begun, false); err != nil {
		t.Fatal(err)
	}
	working = spawn(t, dir, "work", "p") // by name, as it may be complete before the worker looks
	if stdout, stderr, code := headinfer(t, dir, "submit", "p.yaml"); code != 0 || !strings.Contains(stdout, "is complete") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if code := working.ends(t, patience); code != 0 {
		t.Errorf("work: exit code %d: %s", code, &working.out)
	}
	if now, err := q.Find(t.Context(), "p"); err != nil || !now.Complete {
		t.Errorf("the run is %+v, %v", now, err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	// Without its server, complete outputs are complete.
	t.Setenv("NATS_URL", "nats://u:secret@127.0.0.1:1")
	if stdout, stderr, code := headinfer(t, dir, "submit", "p.yaml"); code != 0 || !strings.Contains(stdout, "is complete") || strings.Contains(stderr, "secret") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if stdout, _, _ := headinfer(t, dir, "submit", "--help"); strings.Contains(stdout, "secret") {
		t.Errorf("--help shows a password: %s", stdout)
	}
}

// TestQueueInterrupted stops both sides as Ctrl-C does: what is at hand goes to
// others, and all is there in the end.
func TestQueueInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no program can send Ctrl-C to another there")
	}
	dir, r := t.TempDir(), random(t)
	t.Setenv("NATS_URL", queuetest.Start(t, 1).URL())
	dead := corpus(t, r, filepath.Join(dir, "documents.jsonl"), 400)
	write(t, filepath.Join(dir, "p.yaml"), fmt.Sprintf(manyFile, tinyModel(t)))
	want := plain(t, dir, dead)
	submitting := spawn(t, dir, "submit", "p.yaml")
	interrupt := func(p *process, why string) {
		t.Helper()
		if err := p.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if code := p.ends(t, patience); code != exitInterrupted || !strings.Contains(p.out.String(), why) {
			t.Errorf("exit code %d: %s", code, &p.out)
		}
	}
	time.Sleep(300 * time.Millisecond)
	working := spawn(t, dir, "work")
	time.Sleep(500 * time.Millisecond)
	interrupt(working, "go to other workers")
	interrupt(submitting, "submitting again writes their answers")
	submitting = spawn(t, dir, "submit", "p.yaml")
	// By name, as it may be complete before submit has ended.
	eventually(t, func() bool { _, _, code := headinfer(t, dir, "work", "p"); return code == 0 && submitting.ended() })
	if code := submitting.ends(t, patience); code != exitDeadLetters {
		t.Errorf("exit code %d: %s", code, &submitting.out)
	}
	compare(t, byID(t, filepath.Join(dir, "out/answers.jsonl")), want)
}

// eventually waits until something is as it should be.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v", patience)
		}
	}
}

// fails checks how a command is refused.
func fails(t *testing.T, dir string, code int, why string, args ...string) {
	t.Helper()
	if _, stderr, got := headinfer(t, dir, args...); got != code || !strings.Contains(stderr, why) {
		t.Errorf("%v: exit code %d and %s, and %d and %q were expected", args, got, stderr, code, why)
	}
}
