package stages

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/model/tokenizer"
)

type splitOptions struct {
	Tokens  config.Count `yaml:"tokens" default:"4Ki" min:"16" unit:"tokens" doc:"Longest window, in the model's tokens of its text alone. A document that is no longer goes on as it is." example:"2Ki"`
	Overlap config.Count `yaml:"overlap" default:"128" unit:"tokens" doc:"How much of its end a window has in common with the next, at most." example:"256"`
}

// Check refuses windows that would not get on.
func (o *splitOptions) Check() []config.OptionError {
	if o.Overlap > o.Tokens/2 {
		return []config.OptionError{{Option: "overlap", What: fmt.Sprintf("is %s, and tokens %s", o.Overlap, o.Tokens), Want: "half of tokens at most"}}
	}
	return nil
}

// split makes windows of documents that are too long, each a document with the
// id ID@FROM-TO: the bytes of the text that it has. They are cut at white space
// where there is some in the last quarter of a window, and else between
// characters.
type split struct {
	tokens, overlap int
	count           func(text string) (int, error)
	perToken        float64 // bytes, of what was counted so far of the document
}

// perToken is how many bytes a token has, for all that is known of a document.
const perToken = 4

func newSplit(e *Engine, o *splitOptions) (graph.Stage[*Document, *Document], error) {
	return &split{tokens: int(o.Tokens), overlap: int(o.Overlap), count: func(text string) (int, error) {
		ids, err := e.Checkpoint.Tokenizer.Encode(text, tokenizer.EncodeOptions{})
		return len(ids), err
	}}, nil
}

// Process gives on a document's windows, or the document.
func (s *split) Process(ctx context.Context, in *Document, emit func(*Document) error) error {
	s.perToken = perToken // where it is cut must not depend on others before it
	for from := 0; ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		to, err := s.end(in.Text[from:])
		if err != nil {
			return &graph.DocumentError{ID: in.ID, Err: err}
		}
		to += from
		if from == 0 && to == len(in.Text) {
			return emit(in)
		}
		if text := in.Text[from:to]; strings.TrimSpace(text) != "" {
			window := *in
			window.ID, window.Text = fmt.Sprintf("%s@%d-%d", in.ID, from, to), text
			if err := emit(&window); err != nil {
				return err
			}
		}
		if to == len(in.Text) {
			return nil
		}
		if from, err = s.begin(in.Text, from, to); err != nil {
			return &graph.DocumentError{ID: in.ID, Err: err}
		}
	}
}

// end returns where a window ends that begins with text.
func (s *split) end(text string) (int, error) {
	n, err := s.longest(text, s.tokens, func(n int) string { return text[:n] }, func(n int) int {
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		return n
	})
	if err != nil || n == len(text) {
		return n, err
	}
	if n == 0 {
		return 0, errors.New("a character has more tokens than a window; raise tokens")
	}
	// A word before, if that does not cost too much.
	if at := strings.LastIndexFunc(text[:n], unicode.IsSpace); at > n*3/4 {
		_, size := utf8.DecodeRuneInString(text[at:])
		short := at + size
		// Less text is fewer tokens, but not with every tokenizer.
		if count, err := s.count(text[:short]); err != nil {
			return 0, err
		} else if count <= s.tokens {
			return short, nil
		}
	}
	return n, nil
}

// begin returns where the window after [from, to) begins.
func (s *split) begin(text string, from, to int) (int, error) {
	if s.overlap == 0 {
		return to, nil
	}
	window := text[from:to]
	n, err := s.longest(window, s.overlap, func(n int) string { return window[len(window)-n:] }, func(n int) int {
		for n > 0 && !utf8.RuneStart(window[len(window)-n]) {
			n--
		}
		return n
	})
	if err != nil {
		return 0, err
	}
	// The whole word that begins next, if there is one soon.
	tail := window[len(window)-n:]
	if at := strings.IndexFunc(tail, unicode.IsSpace); at >= 0 && at < n/4 {
		_, size := utf8.DecodeRuneInString(tail[at:])
		// Less text is fewer tokens, but not with every tokenizer.
		if count, err := s.count(tail[at+size:]); err != nil {
			return 0, err
		} else if count <= s.overlap {
			n -= at + size
		}
	}
	if n == len(window) {
		n = 0 // or it would not get on
	}
	return to - n, nil
}

// longest returns about how many bytes of text have at most limit tokens, at
// most as many and at least so many that a few more would not fit. part is the
// part of some bytes, and whole brings a number down to whole characters.
func (s *split) longest(text string, limit int, part func(n int) string, whole func(n int) int) (int, error) {
	fits, misfits := 0, len(text)+1 // bytes
	guess := len(text)
	if most := int(float64(limit) * s.perToken); most < guess {
		guess = most
	}
	for range 64 {
		n := guess
		if n < len(text) {
			n = whole(n)
		}
		if n <= fits || n >= misfits {
			if n = whole(fits + (misfits-fits)/2); n <= fits {
				return fits, nil
			}
		}
		count, err := s.count(part(n))
		if err != nil {
			return 0, err
		}
		if count > limit {
			misfits = n
		} else if fits = n; n == len(text) || count >= limit-limit/64 {
			if count > 0 {
				s.perToken = float64(n) / float64(count)
			}
			return fits, nil
		}
		// As many bytes a token as this part had, and a little less, so that it fits.
		guess = int(float64(n) * (float64(limit) - float64(limit)/128) / float64(max(count, 1)))
		guess = min(max(guess, fits+1), misfits-1, len(text))
	}
	return fits, nil
}
