package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"headinfer/stages/queue/queuetest"
)

const manyFile = `
model: { path: %q }
device: { memory: 64MiB }
documents:
  - read-jsonl:      { path: documents.jsonl }
  - tokenize:        { prompt: "${PREFIX:-Text:} {{.Text}} {{.Question}} {{.Fields.n}}" }
  - chunked-prefill: { chunk: 64 }
  - decode:          { max_tokens: 4 }
  - jsonl:           { path: out/answers.jsonl }
heads: [prefetch, attention, offload]
`

// corpus writes documents, of which some have several questions, one is too long
// for the model and for a message, and one is no document. It returns how many
// dead letters there must be.
func corpus(t *testing.T, r *rand.Rand, path string, many int) (dead int) {
	t.Helper()
	var b strings.Builder
	for i := range many {
		record := map[string]any{"id": fmt.Sprintf("d/%d", i), "text": words(r, 1+r.IntN(40)), "question": words(r, 3), "n": i}
		if r.IntN(5) == 0 {
			var questions []string
			for range 1 + r.IntN(4) {
				questions = append(questions, words(r, 1+r.IntN(5)))
			}
			delete(record, "question")
			record["questions"] = questions
		}
		if i == many/2 {
			record["text"], dead = strings.Repeat("long ", 200_000), dead+1
			delete(record, "questions")
			record["question"] = "?"
		}
		line, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", line)
		if i == many/3 {
			b.WriteString("{\"id\": \"no text\"}\n")
			dead++
		}
	}
	write(t, path, b.String())
	return dead
}

// process is a headinfer that runs beside the test.
type process struct {
	*exec.Cmd
	out  bytes.Buffer
	done chan struct{}
}

func spawn(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), "headinfer", args...), done: make(chan struct{})}
	p.Dir, p.Stdout, p.Stderr = dir, &p.out, &p.out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait() // the exit code says
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = p.Process.Kill()
	<-p.done
}

// ended reports whether it has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ends waits for it and returns its exit code.
func (p *process) ends(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		_ = p.Process.Kill()
		<-p.done
		t.Fatalf("%v has not ended after %v:\n%s", p.Args, within, &p.out)
	}
	return p.ProcessState.ExitCode()
}

// byID reads answers, of which no two may have the same id.
func byID(t *testing.T, path string) map[string]record {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := records(data)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	found := map[string]record{}
	for _, a := range all {
		if _, twice := found[a.ID]; twice {
			t.Errorf("%s: %q is there twice", path, a.ID)
		}
		found[a.ID] = a
	}
	return found
}

func compare(t *testing.T, got, want map[string]record) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d answers, and %d were expected", len(got), len(want))
	}
	wrong := 0
	for id, w := range want {
		if g, ok := got[id]; !ok || g != w {
			if wrong++; wrong <= 5 {
				t.Errorf("%q: %+v, and %+v was expected", id, g, w)
			}
		}
	}
}

// plain runs the pipeline on this machine alone.
func plain(t *testing.T, dir string, dead int) map[string]record {
	t.Helper()
	code := 0
	if dead > 0 {
		code = exitDeadLetters
	}
	if _, stderr, got := headinfer(t, dir, "run", "p.yaml", "--set", "documents.jsonl.path=out/plain.jsonl"); got != code {
		t.Fatalf("the plain run: exit code %d: %s", got, stderr)
	}
	return byID(t, filepath.Join(dir, "out/plain.jsonl"))
}

// TestManyMachines runs a corpus over a cluster of three servers and three
// workers, and kills workers, the submission and a server on the way.
func TestManyMachines(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes some seconds to choose its leaders")
	}
	dir, r, number := t.TempDir(), random(t), 1200
	if raceDetector { // which makes all of it some twenty times as slow
		number = 200
	}
	dead := corpus(t, r, filepath.Join(dir, "documents.jsonl"), number)
	write(t, filepath.Join(dir, "p.yaml"), fmt.Sprintf(manyFile, tinyModel(t)))
	want := plain(t, dir, dead)
	many(t, r, dir, scenario{workers: 3, kills: 10, dead: dead, depth: number / 6, pause: 400 * time.Millisecond, within: 90 * time.Second})
	compare(t, byID(t, filepath.Join(dir, "out/answers.jsonl")), want)
	letters, err := os.ReadFile(filepath.Join(dir, "out/dead-letters.jsonl"))
	if err != nil || bytes.Count(letters, []byte("\n")) != dead || !bytes.Contains(letters, []byte("the model's context")) {
		t.Errorf("%d dead letters were expected, with their reasons: %s %v", dead, letters, err)
	}
}

// TestManyMachinesLarge does so with the built-in model, over as many documents of
// 50 to 400 words as HEADINFER_MANY says, every 500th of 6,000.
func TestManyMachinesLarge(t *testing.T) {
	number, err := strconv.Atoi(os.Getenv("HEADINFER_MANY"))
	if err != nil {
		t.Skip("set HEADINFER_MANY to a number of documents; 10000 take most of an hour on two cores")
	}
	dir, r := t.TempDir(), random(t)
	var b strings.Builder
	for i := range number {
		length := 50 + r.IntN(351)
		if i%500 == 499 {
			length = 6000
		}
		line, err := json.Marshal(map[string]any{"id": fmt.Sprint(i), "text": prose(r, length), "question": "What is the access code?"})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", line)
	}
	write(t, filepath.Join(dir, "documents.jsonl"), b.String())
	p := strings.NewReplacer("chunk: 64", "chunk: auto", "64MiB", "1GiB", "{{.Fields.n}}", "")
	write(t, filepath.Join(dir, "p.yaml"), p.Replace(fmt.Sprintf(manyFile, "builtin")))
	start := time.Now()
	submit := spawn(t, dir, "run", "p.yaml", "--set", "documents.jsonl.path=out/plain.jsonl")
	if code := submit.ends(t, 3*time.Hour); code != 0 {
		t.Fatalf("the plain run: exit code %d: %s", code, &submit.out)
	}
	alone := time.Since(start)
	want := byID(t, filepath.Join(dir, "out/plain.jsonl"))
	if len(want) != number {
		t.Fatalf("%d answers to %d documents", len(want), number)
	}
	start = time.Now()
	many(t, r, dir, scenario{workers: 3, kills: 20, pause: alone / 20, depth: number, within: 3 * alone})
	t.Logf("%d documents: %v alone, %v with all that was killed", number, alone.Round(time.Second), time.Since(start).Round(time.Second))
	compare(t, byID(t, filepath.Join(dir, "out/answers.jsonl")), want)
}

// prose writes n words that look like English.
func prose(r *rand.Rand, n int) string {
	common := strings.Fields("the of and a to in is was he for it with as his on be at by had not are but from or have an they which one you were all her she there would their we him been has when who will no more if out so up said what its about than into them can only other time new some could these two may first then do any like my now over such our man me even most made after also did many off before must well back through years much where your way down should because long each just state people those too mister little good world make very year still see own work men day get here old life both between being under three never know same last another while us might great go come since against right came take used himself few house use place during without again home small however found thought went say part once high general upon school every keeper harbour lamp rope winter gate code")
	words := make([]string, n)
	for i := range words {
		words[i] = common[r.IntN(len(common))]
		if r.IntN(12) == 0 {
			words[i] += "."
		}
	}
	return strings.Join(words, " ")
}

// scenario is what happens on the way.
type scenario struct {
	workers, kills, dead, depth int
	pause                       time.Duration // between kills, at most
	within                      time.Duration // for what is left after the last
}

// many submits p.yaml to a new cluster, with some workers, and kills something
// again and again: workers, the submission, and once a server, which comes back.
func many(t *testing.T, r *rand.Rand, dir string, s scenario) {
	t.Helper()
	cluster := queuetest.Start(t, 3)
	submit := func() *process {
		return spawn(t, dir, "submit", "p.yaml", "--url", cluster.URL(), "--ack-wait", "2s", "--deliveries", "100", "--depth", strconv.Itoa(s.depth))
	}
	submitting := submit()
	all := make([]*process, s.workers)
	launch := func(i int) {
		// A worker that starts before the run is there says so and ends.
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			all[i] = spawn(t, dir, "work", "--url", cluster.URL(), "--in-flight", "8", "p")
			select {
			case <-all[i].done:
				if all[i].ProcessState.Success() {
					return // the run is complete
				}
			case <-time.After(300 * time.Millisecond):
				return
			}
		}
		t.Fatalf("a worker does not start:\n%s", &all[i].out)
	}
	for i := range all {
		launch(i)
	}
	down := -1
	for kill := range s.kills {
		select {
		case <-submitting.done:
		case <-time.After(s.pause/10 + rand.N(s.pause)):
		}
		if submitting.ended() {
			t.Logf("done after %d kills", kill)
			break
		}
		switch {
		case kill == 2:
			down = r.IntN(3)
			t.Logf("server %d is killed", down)
			cluster.Kill(down)
		case kill == s.kills*2/3 && down >= 0:
			t.Logf("server %d is back", down)
			cluster.Launch(down)
		case kill%4 == 3:
			t.Log("the submission is killed")
			submitting.kill()
			submitting = submit()
		default:
			i := r.IntN(s.workers)
			t.Logf("worker %d is killed", i)
			all[i].kill()
			launch(i)
		}
	}
	code := 0
	if s.dead > 0 {
		code = exitDeadLetters
	}
	if got := submitting.ends(t, s.within); got != code {
		t.Fatalf("submit: exit code %d:\n%s", got, &submitting.out)
	}
	for _, p := range all {
		if got := p.ends(t, 20*time.Second); got != 0 {
			t.Errorf("work: exit code %d:\n%s", got, &p.out)
		}
	}
}
