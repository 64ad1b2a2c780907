// Package chat renders a conversation into the text that a model was trained on, with the model's own chat template.
//
// Templates are Jinja, as Hugging Face's transformers library runs them: trim_blocks and lstrip_blocks are on, loops have
// break and continue, raise_exception and strftime_now exist, and tojson writes plain JSON. They come with model files, so
// they are run with bounds: no files, no macros and no recursive loops (a template with one is refused by name), at most
// MaxOutputBytes of text, MaxRange numbers from range, and MaxTime for the loops. What isn't bounded is the memory that a
// template takes by making strings longer and longer, so it still deserves the trust that its model does.
//
// A Template never changes once made and is safe for concurrent use.
package chat

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
)

// The bounds on a template and on what it does.
const (
	MaxTemplateBytes = 64 << 10 // real templates have 1 to 20 KiB
	MaxTagBytes      = 16 << 10 // between {{ and }}; with the next, it bounds the stack that parsing takes
	MaxNesting       = 100      // brackets inside brackets in a tag
	MaxOutputBytes   = 1 << 30  // of what one Render writes
	MaxRange         = 1 << 16  // numbers from one call of range
	MaxTime          = time.Minute
)

// Sentinels that errors of New and Render wrap.
var (
	// ErrTemplate is for a template that can't be parsed, or fails while it runs.
	ErrTemplate = errors.New("chat template")
	// ErrRaised is for a conversation that the template itself refuses, by calling raise_exception.
	ErrRaised = errors.New("the chat template refuses the conversation")
	// ErrBound is for a template that passes one of the bounds above.
	ErrBound = errors.New("the chat template passes a bound")
)

// Message is one turn. Role is what the template knows: usually "system", "user" or "assistant".
type Message struct{ Role, Content string }

// Template is a parsed chat template.
type Template struct {
	compiled *exec.Template
	specials map[string]string
	now      func() time.Time
}

// New parses a template. specials are the names under which it finds special tokens, such as bos_token and eos_token.
// Errors wrap ErrTemplate or ErrBound.
func New(template string, specials map[string]string) (t *Template, err error) {
	if len(template) > MaxTemplateBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, and may have %d", ErrBound, len(template), MaxTemplateBytes)
	}
	defer recovered(&err)
	t = &Template{specials: maps.Clone(specials), now: time.Now}
	rewritten, err := rewrite(template)
	if err != nil {
		return nil, err
	}
	cfg := config.New()
	cfg.KeepTrailingNewline = true // rewrite has taken the one that Jinja drops
	t.compiled, err = exec.NewTemplate(rootName, cfg, source(rewritten), t.environment())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, plain(err))
	}
	return t, nil
}

// Render writes the conversation as the model expects it; with addGenerationPrompt the text ends where the model's answer
// begins. Special tokens are part of the text, so encode it with Special set. Errors wrap ErrRaised, ErrBound or
// ErrTemplate.
func (t *Template) Render(messages []Message, addGenerationPrompt bool) (string, error) {
	return t.renderUntil(messages, addGenerationPrompt, time.Now().Add(MaxTime))
}

func (t *Template) renderUntil(messages []Message, addGenerationPrompt bool, deadline time.Time) (text string, err error) {
	defer recovered(&err)
	list := make([]any, len(messages))
	for i, m := range messages {
		list[i] = map[string]any{"role": m.Role, "content": m.Content}
	}
	data := map[string]any{}
	for name, token := range t.specials {
		data[name] = token
	}
	data["messages"], data["add_generation_prompt"] = list, addGenerationPrompt
	state := &run{deadline: deadline}
	data[runName] = state

	out := bounded{run: state}
	if err := t.compiled.Execute(&out, exec.NewContext(data)); state.err != nil {
		return "", state.err
	} else if err != nil {
		return "", fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	return out.String(), nil
}

// runName is where the functions of this package find the state of a Render. It can't be written as a Jinja name.
const runName = "headinfer run"

// run is the state of one Render. err is the first failure in one of this package's functions: the engine turns errors of
// functions into text, so it keeps the error itself.
type run struct {
	deadline time.Time
	err      error
}

func runOf(ctx *exec.Context) *run {
	if v, ok := ctx.Get(runName); ok {
		if r, ok := v.(*run); ok {
			return r
		}
	}
	return &run{}
}

// fail keeps the first failure, and returns it for the engine to stop.
func (r *run) fail(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if r.err == nil {
		r.err = err
	}
	return err
}

// recovered turns a panic of the template engine into an error.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: the template engine panics: %v", ErrTemplate, p)
	}
}

// plain drops the outermost error of the engine, which quotes the whole template.
func plain(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// bounded collects text up to MaxOutputBytes.
type bounded struct {
	strings.Builder
	run *run
}

func (b *bounded) Write(p []byte) (int, error) { return b.WriteString(string(p)) }

func (b *bounded) WriteString(s string) (int, error) {
	if b.Len()+len(s) > MaxOutputBytes {
		return 0, b.run.fail("%w: it writes more than %d bytes", ErrBound, MaxOutputBytes)
	}
	return b.Builder.WriteString(s)
}

// rootName is what the engine calls the one template there is.
const rootName = "chat_template"

// source is a loader with that template and nothing else: no file can be read.
type source string

var _ loaders.Loader = source("")

func (s source) Read(path string) (io.Reader, error) {
	if path != rootName {
		return nil, fmt.Errorf("%w: it asks for the file %q; a chat template stands alone", ErrTemplate, path)
	}
	return strings.NewReader(string(s)), nil
}

func (s source) Resolve(path string) (string, error) { return path, nil }

func (s source) Inherit(string) (loaders.Loader, error) { return s, nil }

// names lists the keys of a map in order, for errors.
func names[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}
