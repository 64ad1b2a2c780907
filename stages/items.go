package stages

import "time"

// Document is a text and a question about it, as a source read them.
type Document struct {
	ID       string
	Text     string
	Question string
	// Questions are several about the same text, in the place of Question. Each has
	// an answer of its own.
	Questions []string
	Fields    map[string]any // what else the record held, for prompts
	// Index is its place among what the run reads, or its first question's.
	Index int64
	// Grade scores an answer; nil where no right answer is known.
	Grade func(answer string) *Grade
}

// Grade is how right an answer is.
type Grade struct {
	Expected []string `json:"expected"` // what a right answer holds
	Score    float64  `json:"score"`    // 0 to 1
}

// Prompt is a document as the token ids of what the model will read.
type Prompt struct {
	*Document
	Tokens   []int32
	Branches []Branch // if it has several questions: Tokens are what their prompts begin with
}

// Branch is one of several questions about a document.
type Branch struct {
	*Document         // as if it were the only one
	Tokens    []int32 // what follows the tokens that all have in common
}

// Prefilled is a prompt that the model has read.
type Prefilled struct {
	*Document
	Cache   *Text
	Logits  []float32 // [vocabulary], of the token to come
	Seconds float64
}

// Release gives the cache back if the item is dropped.
func (p *Prefilled) Release() { p.Cache.Release() }

// Answer is what the model wrote.
type Answer struct {
	ID             string  `json:"id"`
	Question       string  `json:"question,omitempty"`
	Answer         string  `json:"answer"`
	Stop           string  `json:"stop"` // why it ended: "end", "stop", "max_tokens", "context"
	PromptTokens   int     `json:"prompt_tokens"`
	AnswerTokens   int     `json:"answer_tokens"`
	PrefillSeconds float64 `json:"prefill_seconds"`
	DecodeSeconds  float64 `json:"decode_seconds"`
	Index          int64   `json:"-"` // its document's
	*Grade                 // nil where no right answer is known
}

func seconds(since time.Time) float64 { return time.Since(since).Seconds() }
