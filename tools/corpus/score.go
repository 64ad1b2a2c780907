package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// known is what scoring needs of a document on disk.
type known struct {
	name, key string
	// tokens is estimated from the text's characters.
	tokens int
}

// lengths are the classes of the last line, in thousands of tokens.
var lengths = []int{1, 2, 4, 8}

// readKeys reads the key and the length of every document in dir that has an answer.
func readKeys(dir string) ([]known, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.answer"))
	if err != nil {
		return nil, fmt.Errorf("%s: listing the answers: %w", dir, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: found no NAME.answer; write the corpus with -out %s, or name its folder with -dir", dir, dir)
	}
	documents := make([]known, 0, len(files))
	for _, file := range files {
		answer, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading an answer: %w", err)
		}
		key := strings.TrimSpace(string(answer))
		if key == "" {
			return nil, fmt.Errorf("%s: the answer is empty; expected the key, such as 48213", file)
		}
		base := strings.TrimSuffix(file, ".answer")
		text, err := os.ReadFile(base + ".txt")
		if err != nil {
			return nil, fmt.Errorf("reading the text beside %s: %w", file, err)
		}
		tokens := int(float64(utf8.RuneCount(text)) / charactersAToken)
		documents = append(documents, known{filepath.Base(base), key, tokens})
	}
	return documents, nil
}

// record is the part of an answer line that scoring reads.
type record struct {
	ID     string  `json:"id"`
	Answer *string `json:"answer"`
}

// readAnswers reads JSON lines into the answers by document name. A document may be answered once.
func readAnswers(file string, in io.Reader) (map[string]string, error) {
	answers := map[string]string{}
	reader := bufio.NewReader(in)
	for number := 1; ; number++ {
		line, err := reader.ReadString('\n')
		if strings.TrimSpace(line) != "" {
			var r record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				return nil, fmt.Errorf(`%s:%d: expected {"id": "…", "answer": "…"}: %w`, file, number, err)
			}
			name := documentName(r.ID)
			switch _, twice := answers[name]; {
			case name == "" || r.Answer == nil:
				return nil, fmt.Errorf(`%s:%d: expected an "id" that ends in NAME.txt and an "answer"; found id %q`, file, number, r.ID)
			case twice:
				return nil, fmt.Errorf("%s:%d: a second answer for %s; keep one line a document", file, number, name)
			}
			answers[name] = *r.Answer
		}
		if errors.Is(err, io.EOF) {
			return answers, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: reading the answers: %w", file, number, err)
		}
	}
}

// documentName takes NAME out of an id such as testdata/corpus/NAME.txt, written on any system; "" if it isn't one.
func documentName(id string) string {
	id = id[strings.LastIndexAny(id, `/\`)+1:]
	name, ok := strings.CutSuffix(id, ".txt")
	if !ok {
		return ""
	}
	return name
}

// holds reports whether an answer says the key: the key's own characters with no digit or letter run into it, and
// with the commas or spaces that a model may put between digits left out.
func holds(answer, key string) bool {
	if between(answer, key) {
		return true
	}
	joined := answer
	for _, gap := range []string{",", " "} {
		joined = closeGaps(joined, gap)
	}
	return between(joined, key)
}

// closeGaps removes gap wherever a digit stands on both its sides.
func closeGaps(s, gap string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == gap[0] && i > 0 && i+1 < len(s) && isDigit(s[i-1]) && isDigit(s[i+1]) {
			continue
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

func between(s, key string) bool {
	for from := 0; ; {
		at := strings.Index(s[from:], key)
		if at < 0 {
			return false
		}
		at += from
		end := at + len(key)
		if (at == 0 || !isDigit(s[at-1])) && (end == len(s) || !isDigit(s[end])) {
			return true
		}
		from = at + 1
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// score prints one line a document and, last, how many facts were found in all and in each class of length.
func score(documents []known, answers map[string]string, out io.Writer) error {
	slices.SortFunc(documents, func(a, b known) int { return strings.Compare(a.name, b.name) })
	unknown := maps.Clone(answers)
	found, foundIn, countIn := 0, map[int]int{}, map[int]int{}
	var lines strings.Builder
	for _, d := range documents {
		answer, given := answers[d.name]
		delete(unknown, d.name)
		class := lengths[len(lengths)-1]
		for _, k := range slices.Backward(lengths) {
			if d.tokens <= k*1024 {
				class = k
			}
		}
		countIn[class]++
		verdict := "missed"
		switch {
		case !given:
			verdict = "no answer"
		case holds(answer, d.key):
			verdict = "found"
			found++
			foundIn[class]++
		}
		fmt.Fprintf(&lines, "%-9s  %-18s  key %s, about %d tokens", verdict, d.name, d.key, d.tokens)
		if given {
			fmt.Fprintf(&lines, ", answered %q", shorten(answer, 60))
		}
		lines.WriteString("\n")
	}
	if len(unknown) > 0 {
		names := slices.Sorted(maps.Keys(unknown))
		return fmt.Errorf("answers for %s, which the corpus does not hold; name its folder with -dir", strings.Join(names, ", "))
	}
	classes := make([]string, 0, len(lengths))
	for _, k := range lengths {
		if countIn[k] > 0 {
			classes = append(classes, fmt.Sprintf("%d of %d up to %dK tokens", foundIn[k], countIn[k], k))
		}
	}
	fmt.Fprintf(&lines, "facts found: %d of %d (%s)\n", found, len(documents), strings.Join(classes, ", "))
	if _, err := io.WriteString(out, lines.String()); err != nil {
		return fmt.Errorf("printing the score: %w", err)
	}
	return nil
}

// shorten cuts s to at most n characters.
func shorten(s string, n int) string {
	if letters := []rune(s); len(letters) > n {
		return string(letters[:n]) + "…"
	}
	return s
}

// scoreFile scores the answers in file.
func scoreFile(file string, documents []known, out io.Writer) error {
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("opening the answers: %w", err)
	}
	answers, err := readAnswers(file, in)
	if closeErr := in.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("closing the answers: %w", closeErr)
	}
	if err != nil {
		return err
	}
	return score(documents, answers, out)
}
