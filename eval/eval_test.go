package eval

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func freshSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return seed
}

// bytesOf counts bytes as tokens; wordsOf counts runs of letters, digits and other marks.
func bytesOf(s string) int { return len(s) }

var runs = regexp.MustCompile(`[a-zA-Z]+|[0-9]|[^a-zA-Z0-9 ]`)

func wordsOf(s string) int { return len(runs.FindAllStringIndex(s, -1)) }

// framed is a prompt's length with a template of some tokens around it.
func framed(count func(string) int) func(text, question string) (int, error) {
	return func(text, question string) (int, error) {
		return 3 + count(text+"\n\nQuestion: "+question+"\nAnswer:"), nil
	}
}

const squad = `{"version": "v2.0", "data": [{"title": "x", "paragraphs": [
 {"context": "The mill at Orrin was built in 1712 by Tam Weaver.", "qas": [
  {"id": "1", "question": "When was the mill at Orrin built?", "answers": [{"text": "1712", "answer_start": 31}, {"text": "1712", "answer_start": 31}]},
  {"id": "2", "question": "Who sold it?", "answers": [], "is_impossible": true}]},
 {"context": "Larks nest on the ground.", "qas": [{"question": "Where do larks nest?", "answers": [{"text": "on the ground"}, {"text": "the ground"}]}]},
 {"context": "In 1712 the river froze.", "qas": []}]}]}`

func generator(t *testing.T, count func(string) int) *Generator {
	t.Helper()
	path := filepath.Join(t.TempDir(), "squad.json")
	if err := os.WriteFile(path, []byte(squad), 0o644); err != nil {
		t.Fatal(err)
	}
	qa, err := ReadQA(path)
	if err != nil {
		t.Fatal(err)
	}
	return &Generator{Count: count, Total: framed(count), QA: qa}
}

// madeTasks are those whose texts are made here.
func madeTasks() []Task {
	return slices.DeleteFunc(Tasks(), Task.Given)
}

func sample(t *testing.T, g *Generator, task Task, tokens int, depth float64, seed uint64) Sample {
	t.Helper()
	s, err := g.Sample(task, tokens, depth, seed)
	if err != nil {
		t.Fatalf("%s, %d tokens, depth %g, seed %d: %v", task.Name, tokens, depth, seed, err)
	}
	return s
}

// TestLengths holds every task to the asked tokens within 1%, counted anew.
func TestLengths(t *testing.T) {
	seed := freshSeed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	for name, c := range map[string]struct {
		count func(string) int
		least int
	}{"bytes": {bytesOf, 2500}, "words": {wordsOf, 900}} {
		g := generator(t, c.count)
		for _, task := range madeTasks() {
			for _, tokens := range []int{c.least, c.least + r.IntN(9000), 20011} {
				s := sample(t, g, task, tokens, r.Float64(), r.Uint64())
				n, _ := g.Total(s.Text, s.Question)
				if n != s.Real || abs(n-tokens)*100 > tokens {
					t.Errorf("%s in %s: %d tokens, and the sample says %d; %d were asked for", task.Name, name, n, s.Real, tokens)
				}
			}
		}
	}
}

// TestSamplesDependOnTheirArgumentsAlone draws each sample twice, and its
// neighbours in seed, length and task.
func TestSamplesDependOnTheirArgumentsAlone(t *testing.T) {
	seed := freshSeed(t)
	for _, task := range madeTasks() {
		a := sample(t, generator(t, bytesOf), task, 4000, 0.5, seed)
		b := sample(t, generator(t, bytesOf), task, 4000, 0.5, seed)
		if a.Text != b.Text || a.Question != b.Question || !slices.Equal(a.Expected, b.Expected) {
			t.Errorf("%s: two samples of seed %d differ", task.Name, seed)
		}
		if c := sample(t, generator(t, bytesOf), task, 4000, 0.5, seed+1); c.Text == a.Text {
			t.Errorf("%s: seeds %d and %d give the same text", task.Name, seed, seed+1)
		}
		if d := sample(t, generator(t, bytesOf), task, 4000, 0.6, seed); (d.Text == a.Text) == task.Depth {
			t.Errorf("%s: another depth gives the same text: %t", task.Name, d.Text == a.Text)
		}
	}
}

// TestNeedles looks for what is asked in the texts: there, once, where it should be.
func TestNeedles(t *testing.T) {
	seed := freshSeed(t)
	g := generator(t, bytesOf)
	for i, depth := range []float64{0, 0.1, 0.25, 0.5, 0.77, 1} {
		for _, name := range []string{"niah_single", "niah_multikey"} {
			task, _ := Find(name)
			s := sample(t, g, task, 9000, depth, seed+uint64(i))
			if len(s.Expected) != 1 || strings.Count(s.Text, s.Expected[0]) != 1 {
				t.Fatalf("%s: expected %q", name, s.Expected)
			}
			stated := strings.TrimSuffix(strings.Replace(s.Question, "What is the ", "The ", 1), "?") + " is " + s.Expected[0] + "."
			if strings.Count(s.Text, stated) != 1 {
				t.Errorf("%s: %q is not in the text once", name, stated)
			}
			at := float64(strings.Index(s.Text, stated)) / float64(len(s.Text)-len(stated))
			if at < depth-0.03 || at > depth+0.03 {
				t.Errorf("%s: the fact stands at %.3f; expected %g", name, at, depth)
			}
			numbers := regexp.MustCompile(`[0-9]+`).FindAllString(s.Text, -1)
			if want := map[string]int{"niah_single": 1, "niah_multikey": needles}[name]; len(numbers) != want {
				t.Errorf("%s: numbers %q", name, numbers)
			}
			if depth == 0.5 && !regexp.MustCompile(`[.?!]"? `+regexp.QuoteMeta(stated)+`\s`).MatchString(s.Text) {
				t.Errorf("%s: %q does not stand between sentences", name, stated)
			}
		}
	}
	for _, name := range []string{"niah_multivalue", "niah_multiquery"} {
		task, _ := Find(name)
		s := sample(t, g, task, 6000, 0, seed)
		if got := regexp.MustCompile(`[0-9]+`).FindAllString(s.Text, -1); len(s.Expected) != needles || !sameSet(got, s.Expected) {
			t.Errorf("%s: %q expected, %q in the text", name, s.Expected, got)
		}
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// TestTracking follows the copies through the text, in its order.
func TestTracking(t *testing.T) {
	task, _ := Find("vt")
	s := sample(t, generator(t, wordsOf), task, 3000, 0, freshSeed(t))
	value := regexp.MustCompile(`Which variables hold (\d{5})\?`).FindStringSubmatch(s.Question)
	if value == nil {
		t.Fatalf("question %q", s.Question)
	}
	holds := map[string]string{}
	var found []string
	for _, m := range regexp.MustCompile(`(\w+) is (?:stored in|copied to) ([A-Z]{3})\.`).FindAllStringSubmatch(s.Text, -1) {
		from, ok := holds[m[1]]
		if !ok {
			from = m[1]
		}
		holds[m[2]] = from
		if from == value[1] {
			found = append(found, m[2])
		}
	}
	if len(found) != hops+1 || !slices.Equal(found, s.Expected) {
		t.Errorf("the text gives %q, expected %q", found, s.Expected)
	}
}

// TestCounting counts the words of the lists.
func TestCounting(t *testing.T) {
	seed := freshSeed(t)
	for _, count := range []func(string) int{bytesOf, wordsOf} {
		g := generator(t, count)
		for _, tokens := range []int{3000, 20000} {
			for name, word := range map[string]string{"cwe": `\d+\. ([a-z]+)`, "fwe": `\b([a-z]{6})\b`} {
				task, _ := Find(name)
				s := sample(t, g, task, tokens, 0, seed)
				_, list, _ := strings.Cut(s.Text, "\n\n")
				times := map[string]int{}
				for _, m := range regexp.MustCompile(word).FindAllStringSubmatch(list, -1) {
					times[m[1]]++
				}
				byCount := func(a, b string) int { return times[b] - times[a] }
				var all []string
				for w := range times {
					all = append(all, w)
				}
				slices.SortFunc(all, byCount)
				n := len(s.Expected)
				if n >= len(all) || !sameSet(all[:n], s.Expected) || times[all[n-1]] <= times[all[n]] {
					t.Errorf("%s of %d: expected %q, and the text has most of %q", name, tokens, s.Expected, all[:min(n+1, len(all))])
				}
			}
		}
	}
}

func TestQuestions(t *testing.T) {
	seed := freshSeed(t)
	g := generator(t, bytesOf)
	task, _ := Find("qa")
	seen := map[string]bool{}
	for i := range uint64(12) {
		s := sample(t, g, task, 2500, 0, seed+i)
		seen[s.Question] = true
		for _, answer := range s.Expected {
			if n := strings.Count(s.Text, answer); n != 1 {
				t.Errorf("%q: the answer %q is there %d times", s.Question, answer, n)
			}
		}
	}
	if len(seen) != 2 || seen["Who sold it?"] {
		t.Errorf("questions %v; expected the two that have an answer", seen)
	}
	for text, want := range map[string]string{
		`{"data": 3}`: "expected JSON as SQuAD has it", `{}`: "no question with an answer", `[]`: "expected JSON",
		`{"data":[{"paragraphs":[{"context":" "}]}]}`:                        "data[0].paragraphs[0] has no context",
		`{"data":[{"paragraphs":[{"context":"a","qas":[{"answers":[]}]}]}]}`: "data[0].paragraphs[0].qas[0] has no question",
	} {
		path := filepath.Join(t.TempDir(), "bad.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadQA(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bad.json") {
			t.Errorf("%s: error %v, expected %q", text, err, want)
		}
	}
	if _, err := ReadQA(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	g := generator(t, bytesOf)
	single, _ := Find("niah_single")
	qa, _ := Find("qa")
	for name, err := range map[string]error{
		"no task": func() error { _, err := g.Sample(Task{Name: "x"}, 100, 0, 1); return err }(),
		"depth":   func() error { _, err := g.Sample(single, 1000, 1.1, 1); return err }(),
		"count":   func() error { _, err := new(Generator).Sample(single, 1000, 1, 1); return err }(),
		"tokens":  func() error { _, err := g.Sample(single, 0, 1, 1); return err }(),
		"no file": func() error { _, err := (&Generator{Count: bytesOf}).Sample(qa, 1000, 1, 1); return err }(),
	} {
		if err == nil || errors.Is(err, ErrShort) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, task := range madeTasks() {
		for _, tokens := range []int{1, 40, 90} {
			if _, err := g.Sample(task, tokens, 0.5, 3); !errors.Is(err, ErrShort) {
				t.Errorf("%s of %d bytes: %v, expected ErrShort", task.Name, tokens, err)
			}
		}
	}
	if _, ok := Find("niah"); ok {
		t.Error("a task of no name")
	}
}
