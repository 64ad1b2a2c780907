package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"headinfer/config"
	"headinfer/eval"
	"headinfer/graph"
	"headinfer/model"
	"headinfer/model/tokenizer"
	"headinfer/stages"
)

// evalMethod is a pipeline that the program carries, without its source and
// its sink: for each task a graph from documents to answers.
type evalMethod struct {
	*pipeline
	name  string
	lossy []string // what its lossy stages lose
	tasks map[string]*graph.Graph
}

// plainPrompt asks a model that has no chat template.
const plainPrompt = `"{{.Text}}\n\nQuestion: {{.Question}}\nAnswer:"`

// loadTasks reads a method for every task, which differ in the tokens of an
// answer. What the user set counts for more.
func (o *evalOptions) loadTasks(name string, chat bool) (evalMethod, error) {
	m := evalMethod{name: name}
	err := o.fitTasks(&m, chat, func(sets []string) (*pipeline, error) {
		with := overrides{sets: append(sets, o.sets...), device: o.device}
		return with.loadMethod(name)
	})
	return m, err
}

// fitTasks makes a method ask every task; load reads its pipeline with some options set.
func (o *evalOptions) fitTasks(m *evalMethod, chat bool, load func(sets []string) (*pipeline, error)) error {
	registry, err := stages.Registry()
	if err != nil {
		return err
	}
	m.tasks = map[string]*graph.Graph{}
	for _, t := range o.tasks {
		sets := []string{fmt.Sprintf("documents.decode.max_tokens=%d", t.AnswerTokens)}
		if !chat {
			sets = append(sets, "documents.tokenize.chat=false", "documents.tokenize.prompt="+plainPrompt)
		}
		if m.pipeline, err = load(sets); err != nil {
			return err
		}
		if m.tasks[t.Name], err = between[*stages.Answer](registry, m.Pipeline); err != nil {
			return err
		}
	}
	for _, e := range m.Heads {
		if spec, _ := registry.Spec(config.Heads, e.Stage); spec.Lossy != "" {
			m.lossy = append(m.lossy, e.Stage+": "+spec.Lossy)
		}
	}
	return nil
}

// between returns the stages of a pipeline that lead from a document to an Out.
func between[Out any](registry *graph.Registry, file *config.Pipeline) (*graph.Graph, error) {
	open := *file
	open.Documents = nil
	for _, e := range file.Documents {
		spec, ok := registry.Spec(config.Documents, e.Stage)
		if ok && (spec.In == nil || spec.Out == nil) {
			continue
		}
		if len(open.Documents) == 0 {
			e.From = ""
		}
		open.Documents = append(open.Documents, e)
		if spec.Out == reflect.TypeFor[Out]() {
			break
		}
	}
	g, err := registry.Check(&open, config.Documents, graph.Ends{In: reflect.TypeFor[*stages.Document](), Out: reflect.TypeFor[Out]()})
	return g, usage(err)
}

// askOf sends one document through a graph and returns what it gives.
func askOf[Out any](ctx context.Context, g *graph.Graph, e *stages.Engine, doc *stages.Document) (out Out, err error) {
	given := false
	run, err := g.Build(e,
		graph.WithFeed(func(_ context.Context, emit func(any) error) error { return emit(doc) }),
		graph.WithDrain(func(item any) error {
			out, given = item.(Out)
			return nil
		}))
	if err != nil {
		return out, usage(err)
	}
	if err = run.Run(ctx); err == nil && !given {
		err = fmt.Errorf("document %q came to nothing", doc.ID)
	}
	return out, err
}

// evalCase is the samples of a task at a length, or why there are none. Of
// texts that are given, tokens is the most that a prompt may take, samples go
// from the shortest to the longest, and skipped are those that take more.
type evalCase struct {
	task    eval.Task
	tokens  int
	samples []eval.Sample
	skipped int
	err     error
}

// promptOf returns the tokens of sample i's prompt.
func (c *evalCase) promptOf(i int) int {
	if c.task.Given() && i < len(c.samples) {
		return c.samples[i].Real
	}
	return c.tokens
}

// depthsOf returns n depths from the beginning to the end.
func depthsOf(n int) []float64 {
	if n == 1 {
		return []float64{0.5}
	}
	all := make([]float64, n)
	for i := range all {
		all[i] = float64(i) / float64(n-1)
	}
	return all
}

// makeCases makes all samples: the lengths in their order, and at each every
// task. m is the method whose prompts are measured; those of all are the same.
func (o *evalOptions) makeCases(ctx context.Context, m evalMethod, checkpoint *model.Checkpoint, log zerolog.Logger) ([]evalCase, error) {
	registry, err := stages.Registry()
	if err != nil {
		return nil, err
	}
	tokenize, err := between[*stages.Prompt](registry, m.Pipeline)
	if err != nil {
		return nil, err
	}
	reader := &stages.Engine{Checkpoint: checkpoint} // all that tokenize asks for
	g := &eval.Generator{
		Count: func(piece string) int {
			// A piece that cannot be read fails in Total, which says why.
			ids, _ := checkpoint.Tokenizer.Encode(piece, tokenizer.EncodeOptions{})
			return len(ids)
		},
		Total: func(text, question string) (int, error) {
			prompt, err := askOf[*stages.Prompt](ctx, tokenize, reader, &stages.Document{ID: "sample", Text: text, Question: question})
			if err != nil {
				return 0, err
			}
			return len(prompt.Tokens), nil
		},
		QA: o.data.qa,
	}
	start, made := time.Now(), 0
	var cases []evalCase
	for _, tokens := range o.contexts {
		for _, t := range o.tasks {
			if t.Given() {
				continue
			}
			c := evalCase{task: t, tokens: tokens}
			if c.samples, c.err = o.samplesOf(g, t, tokens, checkpoint.Config.Context); c.err != nil {
				if ctx.Err() != nil || !isCaseError(c.err) {
					return nil, c.err
				}
			}
			made += len(c.samples)
			cases = append(cases, c)
		}
	}
	for _, t := range o.tasks {
		if !t.Given() {
			continue
		}
		c, err := o.givenCase(g, t, checkpoint.Config.Context)
		if err != nil {
			return nil, err
		}
		made += len(c.samples)
		cases = append(cases, c)
	}
	log.Info().Int("samples", made).Dur("ms", time.Since(start)).Msg("questions made")
	return cases, nil
}

// errContext says that a model's context does not hold a prompt and its answer.
var errContext = errors.New("the model's context is too short")

// isCaseError says whether an error is the matter of one length and task.
func isCaseError(err error) bool { return errors.Is(err, eval.ErrShort) || errors.Is(err, errContext) }

// samplesOf makes the samples of a task at a length.
func (o *evalOptions) samplesOf(g *eval.Generator, t eval.Task, tokens, most int) ([]eval.Sample, error) {
	var all []eval.Sample
	for i, depth := range slices.Repeat(depthsOf(o.depths), o.samples) {
		if tokens+t.AnswerTokens > most {
			return nil, fmt.Errorf("%w: %d tokens and an answer of up to %d, and it holds %d; ask for %d or less",
				errContext, tokens, t.AnswerTokens, most, most-t.AnswerTokens)
		}
		s, err := g.Sample(t, tokens, depth, o.seed+uint64(i))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
