package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/kernels"
	"headinfer/stages"
)

func newGenerate() *cobra.Command {
	var o overrides
	var modelPath, document string
	c := &cobra.Command{
		Use:   `generate -m MODEL [-f DOCUMENT] "PROMPT"`,
		Short: "Answer one prompt, streaming to the terminal",
		Long: `Answer one prompt with the model's chat template, streaming to the terminal.

--set changes the options of a pipeline with the stages tokenize,
chunked-prefill, decode, prefetch, attention and offload: for instance
--set documents.decode.max_tokens=64 or --set documents.tokenize.chat=false.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if modelPath == "" {
				return usage(fmt.Errorf("no model; name a directory or a .gguf file with -m; see `%s --help`", c.CommandPath()))
			}
			doc := &stages.Document{ID: "prompt", Question: args[0]}
			if document != "" {
				text, err := os.ReadFile(document)
				if err != nil {
					return usage(fmt.Errorf("the document of -f: %w", err))
				}
				if err := stages.CheckText(text); err != nil {
					return usage(fmt.Errorf("the document of -f: %s: %w", document, err))
				}
				doc.Text = string(text) + "\n\n"
			}
			p, err := promptPipeline(&o, doc)
			if err != nil {
				return err
			}
			p.Model.Path = modelPath
			return generate(c.Context(), p, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVarP(&modelPath, "model", "m", "", "the model: builtin, a directory, a .gguf file, hf:OWNER/NAME, or random:NAME")
	c.Flags().StringVarP(&document, "file", "f", "", "a document to put before the prompt")
	o.flags(c)
	return c
}

// promptFile is the pipeline of generate; its two ends are made here.
const promptFile = `
documents:
  - command-line
  - tokenize:        { prompt: "{{.Text}}{{.Question}}", chat: true }
  - chunked-prefill: {}
  - decode:          { max_tokens: 512 }
  - terminal
heads:
  - prefetch:  {}
  - attention: {}
  - offload:   {}
`

func promptPipeline(o *overrides, doc *stages.Document) (*pipeline, error) {
	type none struct{}
	registry, err := graph.NewRegistry(append(stages.Specs(),
		graph.NewSource(config.Documents, "command-line", "The prompt.",
			func(*stages.Engine, *none) (graph.Source[*stages.Document], error) { return commandLine{doc}, nil }),
		graph.NewSink(config.Documents, "terminal", "Shown while it was written.",
			func(*stages.Engine, *none) (graph.Sink[*stages.Answer], error) { return terminal{}, nil }),
	)...)
	if err != nil {
		return nil, err
	}
	file, err := config.Load("generate", []byte(promptFile), registry, o.all(), os.LookupEnv)
	if err != nil {
		return nil, usage(err)
	}
	return check(registry, file)
}

type commandLine struct{ doc *stages.Document }

func (s commandLine) Produce(_ context.Context, emit func(*stages.Document) error) error {
	return emit(s.doc)
}

type terminal struct{}

func (terminal) Consume(context.Context, *stages.Answer) error { return nil }

// printer shows an answer as it is written.
type printer struct {
	begun bool
	out   io.Writer
	err   error // of the first write that failed
}

func (p *printer) Prefill(string, int, int) {}

func (p *printer) Text(_, text string) {
	if !p.begun { // an answer is printed as it is kept, without white space around
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
		p.begun = text != ""
	}
	if p.err == nil {
		_, p.err = fmt.Fprint(p.out, text)
	}
}

func generate(ctx context.Context, p *pipeline, out, errOut io.Writer) (err error) {
	if err := fetchModel(ctx, p, newLogger(errOut)); err != nil {
		return err
	}
	log := newLogger(errOut).Level(zerolog.WarnLevel)
	engine, done, err := openEngine(p, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	answer := &printer{out: out}
	engine.Observer = answer
	var dropped error
	run, err := p.documents.Build(engine, graph.WithDeadLetters(func(_ string, e *graph.DocumentError) { dropped = usage(e.Err) }))
	if err != nil {
		return usage(err)
	}
	err = run.Run(ctx)
	if err == nil && dropped != nil {
		return dropped
	}
	if answer.err == nil {
		_, answer.err = fmt.Fprintln(out)
	}
	if err != nil && ctx.Err() != nil {
		return &exitError{exitInterrupted, errors.New("interrupted")}
	}
	r := engine.Report()
	fmt.Fprintf(errOut, "%d tokens read at %s, %d written at %s; device memory %s, standard would take %s\n",
		r.PromptTokens, rate(r.PromptTokens, r.Prefill), r.AnswerTokens, rate(r.DecodeSteps, r.Decode),
		kernels.FormatBytes(r.Memory.Peak), kernels.FormatBytes(r.StandardDevice()))
	return errors.Join(err, answer.err)
}
