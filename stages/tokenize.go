package stages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/model/chat"
	"headinfer/model/tokenizer"
)

type tokenizeOptions struct {
	Prompt string `yaml:"prompt" default:"{{.Text}}\n\nQuestion: {{.Question}}\nAnswer:" doc:"What the model reads: a Go template over the document's ID, Text, Question and Fields." example:"{{.Text}}\n\n{{.Question}}"`
	Chat   bool   `yaml:"chat" default:"false" doc:"Put the prompt into the model's chat template, as a message of the user." example:"true"`
	System string `yaml:"system" default:"" doc:"With chat, a system message before it." example:"Answer in one sentence."`
	// Thinking is a word and not a flag, because templates treat an absent variable as a third case.
	Thinking string `yaml:"thinking" default:"model" doc:"With chat, whether the model may think first: on, off, or model for what its template does unasked. Templates without enable_thinking ignore it." example:"off"`
}

// Check refuses a prompt that is no template, or names a field that no
// document has.
func (o *tokenizeOptions) Check() []config.OptionError {
	if _, ok := thinking[o.Thinking]; !ok {
		return []config.OptionError{{Option: "thinking", What: fmt.Sprintf("is %q", o.Thinking), Want: "model, on or off"}}
	}
	prompt, err := o.parse()
	what := "is no Go template: "
	if err == nil {
		// Which Fields there are, only the documents know.
		err = prompt.Execute(io.Discard, &Document{Fields: map[string]any{}})
		if err == nil || !strings.Contains(err.Error(), "can't evaluate field") {
			return nil
		}
		what = "names what no document has: "
	}
	return []config.OptionError{{Option: "prompt", What: what + err.Error(), Want: "text with {{.Text}}, {{.Question}}, {{.ID}} and {{.Fields.name}} in it"}}
}

// thinking gives the template's variables for each word of the option.
var thinking = map[string]map[string]any{"model": nil, "on": {"enable_thinking": true}, "off": {"enable_thinking": false}}

func (o *tokenizeOptions) parse() (*template.Template, error) {
	return template.New("prompt").Option("missingkey=error").Parse(o.Prompt)
}

type tokenize struct {
	engine *Engine
	asks   any // its options, by which the engine knows where its documents' answers go
	prompt *template.Template
	chat   *chat.Template // nil without chat
	system string
	vars   map[string]any // the template's own
	tokens *tokenizer.Tokenizer
	vocab  int   // tokens that the model has an embedding for
	index  int64 // of the next document or question
	met    roll
}

func newTokenize(e *Engine, o *tokenizeOptions) (graph.Stage[*Document, *Prompt], error) {
	prompt, err := o.parse()
	if err != nil {
		return nil, fmt.Errorf("option prompt: %w", err)
	}
	t := &tokenize{engine: e, asks: o, met: newRoll(), prompt: prompt, system: o.System, vars: thinking[o.Thinking], tokens: e.Checkpoint.Tokenizer, vocab: e.Checkpoint.Config.Vocab}
	if o.Chat {
		t.chat, err = e.chatTemplate()
	}
	return t, err
}

// chatTemplate compiles the model's own.
func (e *Engine) chatTemplate() (*chat.Template, error) {
	if e.Checkpoint.ChatTemplate == "" {
		return nil, errors.New("option chat: the model has no chat template; set chat to false")
	}
	specials := map[string]string{}
	for name, get := range map[string]func() (int32, bool){"bos_token": e.Checkpoint.Tokenizer.BOS, "eos_token": e.Checkpoint.Tokenizer.EOS} {
		if id, ok := get(); ok {
			specials[name] = e.Checkpoint.Tokenizer.Token(id)
		}
	}
	return chat.New(e.Checkpoint.ChatTemplate, specials)
}

// Process encodes a document. What the prompts of several questions begin with is
// kept apart from the rest of each.
func (t *tokenize) Process(ctx context.Context, in *Document, emit func(*Prompt) error) error {
	if len(in.Questions) == 0 {
		one := *in // another stage may number it otherwise
		tokens, err := t.unless(&one)
		if err != nil {
			return &graph.DocumentError{ID: in.ID, Err: err}
		}
		if tokens == nil {
			return nil
		}
		return emit(&Prompt{Document: &one, Tokens: tokens})
	}
	var asked []Branch
	for i, question := range in.Questions {
		one := *in
		one.ID, one.Question, one.Questions = fmt.Sprintf("%s#%d", in.ID, i+1), question, nil
		tokens, err := t.unless(&one)
		if err != nil {
			if err := graph.Drop(ctx, &graph.DocumentError{ID: one.ID, Err: err}); err != nil {
				return err
			}
		}
		if tokens != nil {
			asked = append(asked, Branch{&one, tokens})
		}
	}
	if n := t.shared(asked); n > 0 {
		whole := &Prompt{Document: in, Tokens: asked[0].Tokens[:n]}
		for _, a := range asked {
			whole.Branches = append(whole.Branches, Branch{a.Document, a.Tokens[n:]})
		}
		return emit(whole)
	}
	for _, a := range asked {
		if err := emit(&Prompt{Document: a.Document, Tokens: a.Tokens}); err != nil {
			return err
		}
	}
	return nil
}

// unless numbers a document or a question, and encodes it unless an earlier run has
// answered it: then there are no tokens. A second one of an id is refused.
func (t *tokenize) unless(in *Document) ([]int32, error) {
	at := t.index
	t.index++
	// Without outputs that tell answers apart by ids, as at a queue's worker, they may be the same.
	if _, differ := t.engine.Run.(outputs); differ && t.met.again(in.ID) {
		return nil, errSameID // before its place could become the first one's
	}
	if t.engine.doneAt(t.asks, in, at) {
		return nil, nil
	}
	return t.encode(in)
}

// shared returns how many tokens prompts have in common, with at least one more in
// each; 0 if they have less in common than one of them has of its own, which lies on
// the device, or if the same would not be read.
func (t *tokenize) shared(asked []Branch) int {
	if len(asked) < 2 || !t.engine.CanBranch() {
		return 0
	}
	first, n, longest := asked[0].Tokens, len(asked[0].Tokens)-1, len(asked[0].Tokens)
	for _, a := range asked[1:] {
		longest = max(longest, len(a.Tokens))
		n = min(n, len(a.Tokens)-1)
		for i := range n {
			if a.Tokens[i] != first[i] {
				n = i
				break
			}
		}
		if !t.engine.Checkpoint.Config.RotatesAlike(len(first), len(a.Tokens)) {
			return 0
		}
	}
	if n < longest-n {
		return 0
	}
	return n
}

func (t *tokenize) encode(in *Document) ([]int32, error) {
	var text strings.Builder
	if err := t.prompt.Execute(&text, in); err != nil {
		return nil, err
	}
	tokens, err := t.tokensOf(text.String())
	if err == nil && len(tokens) == 0 {
		err = errors.New("the prompt has no tokens")
	}
	for _, id := range tokens {
		if int(id) >= t.vocab {
			return nil, fmt.Errorf("the text holds %q, token %d, which the model has no embedding for; leave it out", t.tokens.Decode([]int32{id}), id)
		}
	}
	return tokens, err
}

func (t *tokenize) tokensOf(prompt string) ([]int32, error) {
	if t.chat == nil {
		return t.tokens.Encode(prompt, tokenizer.EncodeOptions{BOS: true})
	}
	var messages []chat.Message
	if t.system != "" {
		messages = append(messages, chat.Message{Role: "system", Content: t.system})
	}
	messages = append(messages, chat.Message{Role: "user", Content: prompt})
	text, err := t.chat.RenderWith(messages, chat.Options{AddGenerationPrompt: true, Variables: t.vars})
	if err != nil {
		return nil, err
	}
	// The template writes the special tokens, the first one included.
	return t.tokens.Encode(text, tokenizer.EncodeOptions{Special: true})
}
