package stages

import "time"

// Document is a text and a question about it, as a source read them.
type Document struct {
	ID       string
	Text     string
	Question string
	Fields   map[string]any // what else the record held, for prompts
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
	Tokens []int32
}

// Prefilled is a prompt that the model has read.
type Prefilled struct {
	*Prompt
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
	*Grade                 // nil where no right answer is known
}

func seconds(since time.Time) float64 { return time.Since(since).Seconds() }
