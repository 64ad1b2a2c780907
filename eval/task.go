package eval

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
)

// Task is a kind of question.
type Task struct {
	Name string // RULER's, or the benchmark's
	Doc  string // one sentence
	// Data says what file of the user's the questions are in; "" if they are made without one.
	Data string
	// Depth says that what is asked for stands at one depth of the text. Other tasks spread it over the whole text.
	Depth bool
	// Metric says how answers are scored.
	Metric Metric
	// Words says that answers are words of a text, for which F1 means something.
	Words bool
	// Groups are what scores are also counted by, in the order of tables.
	Groups []string
	// AnswerTokens is the most that an answer may take.
	AnswerTokens int

	// One of two: what makes a sample, and what reads those of a file's record.
	draft     func(*drafter) (draft, error)
	questions func(Task, record) ([]Sample, error)
}

// Tasks returns all tasks: needles first, those whose texts are given last.
func Tasks() []Task {
	made := []Task{
		{Name: "niah_single", Doc: "One fact in a long text, at a depth.", Depth: true, AnswerTokens: 128, draft: single},
		{Name: "niah_multikey", Doc: "One fact at a depth, among three of the same kind about other places.", Depth: true, AnswerTokens: 128, draft: multikey},
		{Name: "niah_multivalue", Doc: "Four values of one key, all asked for.", AnswerTokens: 128, draft: multivalue},
		{Name: "niah_multiquery", Doc: "Four facts, all asked for in one question.", AnswerTokens: 128, draft: multiquery},
		{Name: "vt", Doc: "Variable tracking: five variables that hold a value, each but the first copied from another.", AnswerTokens: 128, draft: tracking},
		{Name: "cwe", Doc: "Common words: the ten most frequent words of a numbered list.", AnswerTokens: 120, draft: common},
		{Name: "fwe", Doc: "Frequent words: the three most frequent words of a coded text, by Zipf's law.", AnswerTokens: 50, draft: frequent},
		{
			Name: "qa", Doc: "A question about one paragraph of a user's file, among its others.", Data: "a file in SQuAD's format",
			Metric: AnyOne, Words: true, AnswerTokens: 32, draft: paragraphs,
		},
	}
	return append(append(made, longBench()), scBench()...)
}

// Find returns the task of a name; ok is false if there is none.
func Find(name string) (t Task, ok bool) {
	for _, t := range Tasks() {
		if t.Name == name {
			return t, true
		}
	}
	return Task{}, false
}

// Names lists the tasks' names, in the order of Tasks.
func Names() []string {
	var names []string
	for _, t := range Tasks() {
		names = append(names, t.Name)
	}
	return names
}

// Sample is one question about one text.
type Sample struct {
	Task     string
	ID       string  // of a question that is given; "" otherwise
	Tokens   int     // asked for
	Real     int     // of the prompt, as Generator.Total counts it
	Depth    float64 // 0 to 1; 0 for a task without depth
	Seed     uint64  // 0 for a question that is given
	Text     string
	Question string
	Expected []string // what a right answer holds, in the order that the task's Metric says
	Groups   []string // those of the task's that it belongs to
}

// Generator makes samples for one tokenizer.
type Generator struct {
	// Count returns the tokens of a piece of text that stands inside another.
	Count func(piece string) int
	// Total returns the tokens of the whole prompt, question and template included; nil for Count of the text.
	Total func(text, question string) (int, error)
	QA    *QA // nil if there is none: no samples of qa then
}

// ErrShort says that what a task plants and asks takes more tokens than were asked for.
var ErrShort = errors.New("too few tokens")

// tolerance is how far a prompt's length may be from what was asked.
const tolerance = 0.01

// Sample makes a sample whose prompt has as many tokens as asked, within 1%. depth says where the fact stands, 0 for
// the beginning, 1 for the end; tasks without depth ignore it. The error is ErrShort if the task does not fit.
func (g *Generator) Sample(t Task, tokens int, depth float64, seed uint64) (Sample, error) {
	s := Sample{Task: t.Name, Tokens: tokens, Seed: seed}
	switch {
	case t.Given():
		return s, fmt.Errorf("eval: the texts of task %q are read from a file; take Read", t.Name)
	case t.draft == nil:
		return s, fmt.Errorf("eval: no task %q; take one of Tasks", t.Name)
	case t.Depth && !(depth >= 0 && depth <= 1):
		return s, fmt.Errorf("eval: task %s at depth %g; expected 0 (the beginning) to 1 (the end)", t.Name, depth)
	case g.Count == nil:
		return s, errors.New("eval: a generator without Count; give it the tokenizer's")
	case tokens < 1:
		return s, fmt.Errorf("eval: task %s of %d tokens; expected 1 or more", t.Name, tokens)
	}
	if t.Depth {
		s.Depth = depth
	}
	name := fnv.New64a()
	_, _ = fmt.Fprintf(name, "%s %d %g", t.Name, tokens, s.Depth) // a hash takes all it is given
	d := &drafter{Generator: g, rng: rand.New(rand.NewPCG(seed, name.Sum64())), tokens: tokens, depth: s.Depth}
	made, err := t.draft(d)
	if err != nil {
		return s, fmt.Errorf("eval: task %s: %w", t.Name, err)
	}
	s.Question, s.Expected = made.question, made.expected
	if s.Text, s.Real, err = d.fit(made); err != nil {
		return s, fmt.Errorf("eval: task %s: %w", t.Name, err)
	}
	return s, nil
}

// drafter is what a task's draft is made with.
type drafter struct {
	*Generator
	rng    *rand.Rand
	tokens int
	depth  float64
}

// draft is a sample before its text has been brought to its length.
type draft struct {
	question string
	expected []string
	// body gives a text of about room tokens, and may be asked more than once; it must depend on room alone.
	body func(room int) (string, error)
}

// total counts the tokens of a whole prompt.
func (d *drafter) total(text, question string) (int, error) {
	if d.Total == nil {
		return d.Count(text), nil
	}
	return d.Total(text, question)
}

// fit asks for bodies until the prompt has the asked tokens. What the template takes and how pieces join is not known
// beforehand, so each round corrects the room by what the one before was off; the nearest is taken.
func (d *drafter) fit(made draft) (text string, real int, err error) {
	const rounds = 5
	frame := 0
	if d.Total != nil {
		if frame, err = d.Total("", made.question); err != nil {
			return "", 0, err
		}
	}
	room, best := d.tokens-frame, d.tokens+1
	for range rounds {
		if room < 1 {
			break
		}
		body, err := made.body(room)
		if err != nil {
			return "", 0, err
		}
		n, err := d.total(body, made.question)
		if err != nil {
			return "", 0, err
		}
		if off := abs(d.tokens - n); off < best {
			text, real, best = body, n, off
		}
		if best*1000 <= d.tokens {
			break
		}
		room += d.tokens - n
	}
	if float64(best) > tolerance*float64(d.tokens) {
		return "", 0, fmt.Errorf("%w: %d were asked for, and the nearest text makes %d; ask for more", ErrShort, d.tokens, real)
	}
	return text, real, nil
}

func abs(n int) int { return max(n, -n) }
