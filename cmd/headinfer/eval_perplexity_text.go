package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"headinfer/eval"
	"headinfer/model"
	"headinfer/model/tokenizer"
)

// forcedText is a text whose last tokens are forced: questions and answers.
type forcedText struct {
	asked  int // tokens that were asked for
	seed   uint64
	ids    []int32
	answer []bool // of the forced tokens: whether it is part of an answer
	err    error  // why there is no text
}

// split returns the tokens that are read as a prompt, and those forced.
func (t *forcedText) split() (read, forced []int32) {
	at := len(t.ids) - len(t.answer)
	return t.ids[:at], t.ids[at:]
}

// pair is a question about a fact of a text, and the text's own sentence that
// answers it.
type pair struct{ question, answer string }

// pairs finds the sentences of a sample's text that hold the expected values,
// and asks for each: "The access code of the mill is 48213." answers "What is
// the access code of the mill?".
func pairs(s eval.Sample) ([]pair, error) {
	var all []pair
	for _, value := range s.Expected {
		end := strings.Index(s.Text, " is "+value+".")
		if end < 0 {
			return nil, fmt.Errorf("task %s, seed %d: no sentence of the text says that something is %s", s.Task, s.Seed, value)
		}
		// A key is words; what is before it is a line's or a sentence's end.
		before := strings.TrimRightFunc(s.Text[:end], func(r rune) bool { return r == ' ' || unicode.IsLetter(r) })
		key := strings.TrimSpace(s.Text[len(before):end])
		if key == "" {
			return nil, fmt.Errorf("task %s, seed %d: the sentence with %s says of nothing that it is that", s.Task, s.Seed, value)
		}
		all = append(all, pair{
			question: "What is " + strings.ToLower(key[:1]) + key[1:] + "?",
			answer:   key + " is " + value + ".",
		})
	}
	return all, nil
}

// forcedTexts makes the texts of every length.
func (o *evalOptions) forcedTexts(checkpoint *model.Checkpoint) ([]forcedText, error) {
	var all []forcedText
	for _, tokens := range o.contexts {
		for i := range o.forcedSamples() {
			t, err := o.forcedText(checkpoint, tokens, o.seed+uint64(i))
			if err != nil {
				if !isCaseError(err) {
					return nil, err
				}
				t = forcedText{asked: tokens, err: err}
			}
			all = append(all, t)
			if t.err != nil {
				break // the other texts of this length would say the same
			}
		}
	}
	return all, nil
}

// forcedSamples is how many texts there are of a length: by default more than
// of questions, since one prompt asks for little.
func (o *evalOptions) forcedSamples() int {
	if o.said("samples") {
		return o.samples
	}
	return defaultForcedSamples
}

const defaultForcedSamples = 4

// forcedText makes a text of about as many tokens as asked: prose with facts,
// which are asked for one after the other until the forced tokens are full.
func (o *evalOptions) forcedText(checkpoint *model.Checkpoint, tokens int, seed uint64) (forcedText, error) {
	t := forcedText{asked: tokens, seed: seed}
	if most := checkpoint.Config.Context; tokens > most {
		return t, fmt.Errorf("%w: %d tokens, and it holds %d; ask for %d or less", errContext, tokens, most, most)
	}
	encode := func(text string, first bool) ([]int32, error) {
		return checkpoint.Tokenizer.Encode(text, tokenizer.EncodeOptions{BOS: first})
	}
	g := &eval.Generator{
		Count: func(piece string) int {
			// A piece that cannot be read fails in Total, which says why.
			ids, _ := encode(piece, false)
			return len(ids)
		},
		Total: func(text, _ string) (int, error) {
			ids, err := encode(text, true)
			return len(ids) + o.forced, err
		},
	}
	s, err := g.Sample(o.tasks[0], tokens, 0, seed)
	if err != nil {
		return t, err
	}
	if t.ids, err = encode(s.Text, true); err != nil {
		return t, err
	}
	asked, err := pairs(s)
	if err == nil && len(asked) == 0 {
		err = errors.New("a text with facts to ask for has none")
	}
	for i := 0; err == nil && len(t.answer) < o.forced; i++ {
		p := asked[i%len(asked)]
		for _, part := range []struct {
			text   string
			answer bool
		}{{"\n\nQuestion: " + p.question + "\nAnswer:", false}, {" " + p.answer, true}} {
			var ids []int32
			if ids, err = encode(part.text, false); err != nil {
				break
			}
			for _, id := range ids[:min(len(ids), o.forced-len(t.answer))] {
				t.ids, t.answer = append(t.ids, id), append(t.answer, part.answer)
			}
		}
	}
	return t, err
}
