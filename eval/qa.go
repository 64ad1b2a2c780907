package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// QA is a file of questions about paragraphs, in SQuAD's format.
type QA struct {
	paragraphs []string
	asked      []asked
}

// asked is a question, and the paragraph that answers it.
type asked struct {
	question  string
	answers   []string
	paragraph int
}

// ReadQA reads a file of SQuAD's format, version 1.1 or 2: {"data": [{"paragraphs": [{"context": …, "qas": [{"question":
// …, "answers": [{"text": …}]}]}]}]}. Questions without an answer are left out. The error names the file and the
// place.
func ReadQA(path string) (*QA, error) {
	text, file, err := openData(path)
	if err != nil {
		return nil, fmt.Errorf("qa: %w", err)
	}
	data, err := io.ReadAll(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("qa: %s: %w", path, err)
	}
	q, err := parseQA(data)
	if err != nil {
		return nil, fmt.Errorf("qa: %s: %w", path, err)
	}
	return q, nil
}

func parseQA(data []byte) (*QA, error) {
	var file struct {
		Data []struct {
			Paragraphs []struct {
				Context string
				QAs     []struct {
					Question string
					Answers  []struct{ Text string }
				}
			}
		}
	}
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8; save the file in that encoding")
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf(`expected JSON as SQuAD has it, {"data": [{"paragraphs": [{"context": …, "qas": […]}]}]}: %w`, err)
	}
	q := &QA{}
	for i, article := range file.Data {
		for j, p := range article.Paragraphs {
			if strings.TrimSpace(p.Context) == "" {
				return nil, fmt.Errorf("data[%d].paragraphs[%d] has no context; expected the paragraph's text", i, j)
			}
			for k, one := range p.QAs {
				if strings.TrimSpace(one.Question) == "" {
					return nil, fmt.Errorf("data[%d].paragraphs[%d].qas[%d] has no question; expected one, and its answers", i, j, k)
				}
				var answers []string
				for _, a := range one.Answers {
					if text := strings.TrimSpace(a.Text); text != "" && !slices.Contains(answers, text) {
						answers = append(answers, text)
					}
				}
				if len(answers) > 0 {
					q.asked = append(q.asked, asked{strings.TrimSpace(one.Question), answers, len(q.paragraphs)})
				}
			}
			q.paragraphs = append(q.paragraphs, strings.TrimSpace(p.Context))
		}
	}
	if len(q.asked) == 0 {
		return nil, errors.New(`no question with an answer; expected {"data": [{"paragraphs": [{"context": …, "qas": [{"question": …, "answers": [{"text": …}]}]}]}]}`)
	}
	return q, nil
}

// mostMisses are how many paragraphs in a row may be too long before no more are tried.
const mostMisses = 20

// paragraphs puts the paragraph of a question among others of the file, which do not hold its answer, and fills up
// with prose before them: what is left when no paragraph fits, or when the file has no more.
func paragraphs(d *drafter) (draft, error) {
	if d.QA == nil {
		return draft{}, errors.New("no questions; read a file of SQuAD's format")
	}
	one := d.QA.asked[d.rng.IntN(len(d.QA.asked))]
	f, err := d.filler()
	if err != nil {
		return draft{}, err
	}
	order := d.rng.Perm(len(d.QA.paragraphs))
	at := d.rng.Float64()
	body := func(room int) (string, error) {
		gold := "\n\n" + d.QA.paragraphs[one.paragraph]
		if room -= d.Count(gold); room < 0 {
			return "", fmt.Errorf("%w: the paragraph takes %d more", ErrShort, -room)
		}
		var texts []string
		misses := 0
		for _, i := range order {
			if misses > mostMisses {
				break
			}
			text := "\n\n" + d.QA.paragraphs[i]
			if i == one.paragraph || one.answeredBy(text) {
				continue
			}
			if n := d.Count(text); n <= room {
				texts, room, misses = append(texts, text), room-n, 0
			} else {
				misses++
			}
		}
		texts = slices.Insert(texts, int(at*float64(len(texts)+1)), gold)
		pieces, err := f.fill(room)
		if err != nil {
			return "", err
		}
		return strings.TrimLeft(plant(pieces, nil)+strings.Join(texts, ""), "\n"), nil
	}
	return draft{one.question, one.answers, body}, nil
}

// answeredBy says whether a text holds one of the answers.
func (a asked) answeredBy(text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(a.answers, func(answer string) bool { return strings.Contains(text, strings.ToLower(answer)) })
}
