package eval

import "strings"

// Score returns the share of a task's answer that is right, 0 to 1, as RULER counts it: how many of the expected strings
// the answer holds, in any case of letters; for a task of which any one will do, such as qa, 1 if it holds one. It is 0
// when nothing is expected.
func Score(task Task, answer string, expected []string) float64 {
	if len(expected) == 0 {
		return 0
	}
	found := 0
	answer = strings.ToLower(answer)
	for _, want := range expected {
		if strings.Contains(answer, strings.ToLower(want)) {
			found++
		}
	}
	if task.AnyOf {
		return float64(min(found, 1))
	}
	return float64(found) / float64(len(expected))
}
