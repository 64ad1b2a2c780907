package stages

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// sentDocument is a document as it lies in a queue. MessagePack keeps what JSON
// would not: whether a field is a whole number, and text that is not UTF-8.
type sentDocument struct {
	*Document
	// Skip are the numbers of questions, from 1, that have an answer already.
	Skip []int
	// Graded says that the answer is to be scored where the document came from.
	Graded bool
}

// missing returns the ids of the answers that are asked for.
func (s sentDocument) missing() []string {
	keys := keysOf(s.Document)
	for _, n := range s.Skip {
		keys[n-1] = ""
	}
	return slices.DeleteFunc(keys, func(key string) bool { return key == "" })
}

// keysOf returns the ids of a document's answers.
func keysOf(d *Document) []string {
	if len(d.Questions) == 0 {
		return []string{d.ID}
	}
	keys := make([]string, len(d.Questions))
	for i := range keys {
		keys[i] = fmt.Sprintf("%s#%d", d.ID, i+1)
	}
	return keys
}

func (s sentDocument) encode() ([]byte, error) {
	if !utf8.ValidString(s.ID) {
		return nil, errors.New("the id is not valid UTF-8; rename the document")
	}
	questions, skip := make([]any, len(s.Questions)), make([]any, len(s.Skip))
	for i, q := range s.Questions {
		questions[i] = q
	}
	for i, n := range s.Skip {
		skip[i] = int64(n)
	}
	b, err := msgp.AppendIntf(nil, map[string]any{
		"id": s.ID, "index": s.Index, "text": s.Text, "question": s.Question, "questions": questions,
		"fields": s.Fields, "skip": skip, "graded": s.Graded,
	})
	if err != nil {
		return nil, fmt.Errorf("its fields cannot be sent: %w", err)
	}
	return b, nil
}

// decodeDocument reads what encode wrote.
func decodeDocument(b []byte) (s sentDocument, err error) {
	v, rest, err := msgp.ReadIntfBytes(b)
	m, ok := v.(map[string]any)
	if err == nil && (!ok || len(rest) > 0) {
		err = errors.New("it is no map, or more than one")
	}
	if err != nil {
		return s, fmt.Errorf("the queue's message is no document: %w", err)
	}
	s.Document = &Document{}
	var questions, skip []any
	for _, err := range []error{
		field(m, "id", &s.ID), field(m, "index", &s.Index), field(m, "text", &s.Text), field(m, "question", &s.Question),
		field(m, "questions", &questions), field(m, "fields", &s.Fields), field(m, "skip", &skip), field(m, "graded", &s.Graded),
	} {
		if err != nil {
			return s, err
		}
	}
	for _, q := range questions {
		text, ok := q.(string)
		if !ok {
			return s, fmt.Errorf("the queue's message has a question that is a %T; expected a string", q)
		}
		s.Questions = append(s.Questions, text)
	}
	for _, n := range skip {
		number, ok := n.(int64)
		if !ok || number < 1 || int(number) > len(questions) {
			return s, fmt.Errorf("the queue's message leaves out the question %v of %d", n, len(questions))
		}
		s.Skip = append(s.Skip, int(number))
	}
	if s.ID == "" {
		return s, errors.New("the queue's message has a document without an id")
	}
	return s, nil
}

// field reads an entry of a decoded map; one that is not there, or nil, stays zero.
func field[T any](m map[string]any, name string, into *T) error {
	v := m[name]
	if v == nil {
		return nil
	}
	got, ok := v.(T)
	if !ok {
		return fmt.Errorf("the queue's message has a %q that is a %T; expected a %T", name, v, *into)
	}
	*into = got
	return nil
}

// sentAnswer is what comes back: an answer, or why there is none.
type sentAnswer struct {
	Document string `json:"document"` // its id
	Key      string `json:"key"`      // the answer's id; the document's where all of it failed
	// Keys are the ids of the answers that there will not be, where all of the document
	// failed; none if the worker could not read which they are.
	Keys   []string `json:"keys,omitempty"`
	Index  int64    `json:"index"`
	Graded bool     `json:"graded,omitempty"`
	Answer *Answer  `json:"answer,omitempty"`
	Stage  string   `json:"stage,omitempty"` // that failed
	Reason string   `json:"reason,omitempty"`
	Worker string   `json:"worker"` // the machine
}

func (s sentAnswer) encode() ([]byte, error) { return json.Marshal(s) }

func decodeAnswer(b []byte) (s sentAnswer, err error) {
	err = json.Unmarshal(b, &s)
	if err == nil && (s.Key == "" || s.Answer == nil && s.Reason == "") {
		err = errors.New("neither an answer nor a reason")
	}
	if err != nil {
		return s, fmt.Errorf("the queue's message is no answer: %w", err)
	}
	return s, nil
}
