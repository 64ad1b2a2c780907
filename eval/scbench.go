package eval

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// SCBench is what stands for all of SCBench's tasks, of which each has a file of its own.
const SCBench = "scbench"

// scPrefix begins the names of SCBench's tasks.
const scPrefix = "scbench_"

// scBench lists the tasks of SCBench whose scores are had by comparing strings. Its scores of scbench_many_shot differ:
// there, an answer is right that has any one character of the label in it.
func scBench() []Task {
	var all []Task
	for _, t := range []Task{
		{Name: "kv", Doc: "the value of a key in a long JSON object", Metric: Verbatim, AnswerTokens: 150},
		{Name: "prefix_suffix", Doc: "the string with a beginning and an end among random ones", Metric: Verbatim, AnswerTokens: 150},
		{Name: "vt", Doc: "the variables that hold a value, over several steps", Metric: Share, AnswerTokens: 30},
		{Name: "qa_eng", Doc: "questions about a novel", Metric: AnyOne, Words: true, AnswerTokens: 40},
		{Name: "qa_chn", Doc: "questions about a Chinese book", Metric: Characters, AnswerTokens: 40},
		{Name: "choice_eng", Doc: "questions with four choices about a novel", Metric: Choice, AnswerTokens: 40},
		{Name: "many_shot", Doc: "the label of a case after many examples", Metric: Label, AnswerTokens: 10},
	} {
		t.Name = scPrefix + t.Name
		t.Doc = "SCBench: " + t.Doc + "."
		t.Data = "SCBench's " + t.Name + ".jsonl"
		t.questions = scBenchQuestions
		all = append(all, t)
	}
	return all
}

// unscored are the other tasks, and why they are not there.
var unscored = map[string]string{
	"repoqa":               "an answer is a function, compared as code",
	"repoqa_and_kv":        "half of its answers are functions, compared as code",
	"summary":              "an answer is a summary, scored by ROUGE",
	"summary_with_needles": "half of its answers are summaries, scored by ROUGE",
	"mf":                   "its texts are arrays of numbers, and so are its answers",
}

func scNames() []string {
	var names []string
	for _, t := range scBench() {
		names = append(names, t.Name)
	}
	return names
}

// scBenchFile returns the task of a file of SCBench's, by the file's name. Its earlier files begin with multi_turn_.
func scBenchFile(path string) (Task, error) {
	name, _, _ := strings.Cut(strings.ToLower(filepath.Base(path)), ".")
	for _, prefix := range []string{scPrefix, "multi_turn_"} {
		short, ok := strings.CutPrefix(name, prefix)
		if _, scored := Find(scPrefix + short); ok && (scored || unscored[short] != "") {
			return FindGiven(scPrefix+short, path)
		}
	}
	return Task{}, fmt.Errorf("%s: the name says not which of SCBench's tasks it is; expected scbench_kv.jsonl or the like, or the task in place of %s: %s",
		path, SCBench, strings.Join(scNames(), ", "))
}

// scBenchQuestions reads a record of SCBench: a string named context, or input in its place, and multi_turns, an array of
// objects with the strings input and answer. An answer may be an array of strings; of questions with four choices, it is
// one of the four strings of options. Every turn becomes a question of its own about the context.
func scBenchQuestions(t Task, r record) ([]Sample, error) {
	field := "context"
	if !r.has(field) && r.has("input") {
		field = "input"
	}
	text, err := r.filled(field)
	if err != nil {
		return nil, err
	}
	text = strings.TrimSpace(text)
	turns, err := r.list("multi_turns", "an array of questions")
	if err != nil {
		return nil, err
	}
	if len(turns) == 0 {
		return nil, r.wrong("multi_turns", "is empty", "one question or more")
	}
	var all []Sample
	for i, raw := range turns {
		turn, err := newRecord(fmt.Sprintf("%s, multi_turns[%d]", r.place, i), raw)
		if err != nil {
			return nil, err
		}
		s, err := scBenchTurn(t, turn)
		if err != nil {
			return nil, err
		}
		s.Text = text
		s.ID = fmt.Sprintf("%s, turn %d", r.place, i+1)
		all = append(all, s)
	}
	return all, nil
}

func scBenchTurn(t Task, turn record) (Sample, error) {
	s := Sample{Task: t.Name}
	question, err := turn.filled("input")
	if err != nil {
		return s, err
	}
	s.Question = strings.TrimSpace(question)
	switch t.Metric {
	case Choice:
		return scBenchChoice(s, turn)
	case Verbatim:
		if t.Name == scPrefix+"kv" {
			s.Question = "Give the value that stands for this key in the JSON object above. " + s.Question
		}
	case AnyOne:
		s.Question += " Answer in a few words."
	}
	s.Expected, err = turn.answers()
	return s, err
}

// scBenchChoice fills in a question with four choices.
func scBenchChoice(s Sample, turn record) (Sample, error) {
	options, err := turn.texts("options", "an array of four strings")
	if err != nil {
		return s, err
	}
	if len(options) != len(letters) {
		return s, turn.wrong("options", fmt.Sprintf("has %d values", len(options)), "four")
	}
	answer, err := turn.filled("answer")
	if err != nil {
		return s, err
	}
	right := slices.Index(options, answer)
	if right < 0 {
		return s, turn.wrong("answer", fmt.Sprintf("is %q", quoted(answer)), "one of options")
	}
	s.Question = withOptions(s.Question, options)
	s.Expected = []string{letters[right], answer}
	return s, nil
}

// answers returns the field answer, a string or an array of them, none empty, without the white space around them.
func (r record) answers() ([]string, error) {
	const want = "a string, or an array of strings"
	all := []string{""}
	var err error
	switch kind := kindOf(r.fields["answer"]); kind {
	case "a string":
		all[0], err = r.text("answer")
	case "an array":
		all, err = r.texts("answer", want)
	case "nothing":
		err = r.wrong("answer", "is missing", want)
	default:
		err = r.wrong("answer", "is "+kind, want)
	}
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	if len(all) == 0 || slices.Contains(all, "") {
		return nil, r.wrong("answer", "is empty", want)
	}
	return all, nil
}
