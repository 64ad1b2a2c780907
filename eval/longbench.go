package eval

import (
	"fmt"
	"slices"
	"strings"
)

// longBench is LongBench v2, whose questions have four choices each.
func longBench() Task {
	return Task{
		Name: "longbench-v2", Doc: "LongBench v2's questions with four choices, about the texts of its file.",
		Data: "LongBench v2's data.json", Metric: Letter, Groups: slices.Concat(difficulties, lengths), AnswerTokens: 128,
		questions: longBenchQuestion,
	}
}

// What LongBench v2 says of its questions and texts.
var (
	difficulties = []string{"easy", "hard"}
	lengths      = []string{"short", "medium", "long"}
)

// longBenchQuestion reads a record of LongBench v2: strings named _id, domain, sub_domain, difficulty (easy, hard),
// length (short, medium, long), question, choice_A to choice_D, answer (A to D) and context.
func longBenchQuestion(t Task, r record) ([]Sample, error) {
	s := Sample{Task: t.Name}
	var err error
	if s.ID, err = r.filled("_id"); err != nil {
		return nil, err
	}
	r.place += fmt.Sprintf(" (_id %s)", quoted(s.ID))
	for _, field := range []string{"domain", "sub_domain"} {
		if _, err := r.text(field); err != nil {
			return nil, err
		}
	}
	difficulty, err := r.word("difficulty", difficulties...)
	if err != nil {
		return nil, err
	}
	length, err := r.word("length", lengths...)
	if err != nil {
		return nil, err
	}
	s.Groups = []string{difficulty, length}
	question, err := r.filled("question")
	if err != nil {
		return nil, err
	}
	var options []string
	for _, letter := range letters {
		option, err := r.text("choice_" + letter)
		if err != nil {
			return nil, err
		}
		options = append(options, option)
	}
	s.Question = withOptions(question, options)
	answer, err := r.word("answer", letters...)
	if err != nil {
		return nil, err
	}
	s.Expected = []string{answer}
	context, err := r.filled("context")
	s.Text = strings.TrimSpace(context)
	return []Sample{s}, err
}

// letters are those of four choices.
var letters = []string{"A", "B", "C", "D"}

// withOptions puts the choices behind a question, and asks for a letter in the words that Letter looks for.
func withOptions(question string, options []string) string {
	var out strings.Builder
	out.WriteString(strings.TrimSpace(question))
	for i, option := range options {
		fmt.Fprintf(&out, "\n(%s) %s", letters[i], strings.TrimSpace(option))
	}
	out.WriteString("\nChoose one of the four and say which in this form: The correct answer is (LETTER).")
	return out.String()
}
