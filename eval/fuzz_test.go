package eval

import (
	"encoding/json"
	"strings"
	"testing"
)

// fuzzGiven reads anything as the files of some tasks: what is taken has texts, and an answer that holds all that is
// expected is right.
func fuzzGiven(t *testing.T, text string, tasks ...Task) {
	for _, task := range tasks {
		all, err := parseGiven(task, strings.NewReader(text))
		if (err == nil) != (len(all) > 0) && err == nil {
			t.Errorf("%s: no samples, and no error", task.Name)
		}
		for _, s := range all {
			if strings.TrimSpace(s.Text) == "" || strings.TrimSpace(s.Question) == "" || len(s.Expected) == 0 {
				t.Errorf("%s: %+v", task.Name, s)
			}
			answer := strings.Join(s.Expected, " ")
			if task.Metric == Letter || task.Metric == Choice {
				answer = "The correct answer is (" + s.Expected[0] + ")."
			}
			if got := Score(task, answer, s.Expected); got < 0 || got > 1 || got != 1 && task.Metric != Characters && task.Metric != Label {
				t.Errorf("%s: %q scores %g, expected are %q", task.Name, answer, got, s.Expected)
			}
		}
	}
}

func FuzzLongBench(f *testing.F) {
	data, err := json.Marshal([]any{longBenchRecord("1"), longBenchRecord("2")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Add(strings.ReplaceAll(string(data[1:len(data)-1]), "},{", "}\r\n{"))
	f.Add(`[{"_id": 1e999}]`)
	f.Fuzz(func(t *testing.T, text string) { fuzzGiven(t, text, longBench()) })
}

func FuzzSCBench(f *testing.F) {
	data, err := json.Marshal(choiceRecord())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Add(`{"input": "x", "multi_turns": [{"input": "y", "answer": ["A", "B"]}]}` + "\n" + `{"context": "x", "multi_turns": [{"input": "y", "answer": "(A) z"}]}`)
	f.Fuzz(func(t *testing.T, text string) { fuzzGiven(t, text, scBench()...) })
}

func FuzzQA(f *testing.F) {
	f.Add([]byte(squad))
	f.Add([]byte(`{"data": [{"paragraphs": [{"context": "x", "qas": null}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := parseQA(data)
		if err != nil {
			return
		}
		for _, one := range q.asked {
			if one.question == "" || len(one.answers) == 0 || one.paragraph >= len(q.paragraphs) || q.paragraphs[one.paragraph] == "" {
				t.Errorf("%+v of %d paragraphs", one, len(q.paragraphs))
			}
		}
	})
}

func FuzzScores(f *testing.F) {
	f.Add("The correct answer is (B)", "B", "x")
	f.Add("(A) Monday", "(B) Monday", "the")
	f.Fuzz(func(t *testing.T, answer, one, two string) {
		for metric := Share; metric <= Characters; metric++ {
			if got := Score(Task{Metric: metric}, answer, []string{one, two}); !(got >= 0 && got <= 1) {
				t.Errorf("metric %d scores %g", metric, got)
			}
		}
		if got := F1(answer, []string{one, two}); !(got >= 0 && got <= 1) {
			t.Errorf("F1 %g", got)
		}
	})
}
