package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"headinfer/config/matrix"
	"headinfer/stages"
)

// errPastModel says that a checkpoint's positions end before a context does.
var errPastModel = errors.New("the model's context is too short")

// take measures a unit into its sample. Without fresh, the row's engine runs already.
func (a *ablation) take(ctx context.Context, u unit, s *ablateSample, fresh bool) (err error) {
	switch u.kind {
	case matrix.Longest:
		s.Longest, err = a.lab.longest(ctx, u.row.pipeline, u.row.Name, 0, a.room.of(u.row.Device))
		if stopErr := a.lab.stop(); err == nil {
			err = stopErr
		}
		return err
	case matrix.Accuracy:
		s.Accuracy, err = a.accuracy.take(ctx, a, u.row)
		return err
	case matrix.Distance:
		s.Distance, err = a.distance.take(ctx, a, u.row)
		return err
	}
	o := benchOptions{decode: a.matrix.DecodeTokens, fill: u.filled, contexts: []int{u.context}, repeats: 1}
	b := &bench{benchOptions: &o, pipeline: benchPipeline{pipeline: u.row.pipeline, name: u.row.Name}}
	if fresh || a.lab.engine == nil {
		if _, err := a.lab.start(u.row.pipeline); err != nil {
			return err
		}
		b.engine = a.lab.engine
		if u.repeat == 0 {
			logChoices(b.choices(), a.log)
		}
		if err := b.warm(ctx); err != nil {
			return err
		}
	}
	b.engine, b.opened = a.lab.engine, a.lab.opened
	if most := b.engine.Checkpoint.Config.Context; u.context > most-o.decode {
		return fmt.Errorf("%w: %d tokens and %d to decode, and it holds %d", errPastModel, u.context, o.decode, most)
	}
	row := b.row(u.context)
	if !u.filled && a.provided != b.engine {
		a.provided = b.engine
		if err := a.provide(ctx, b); err != nil {
			return err
		}
	}
	if u.repeat == 0 && !u.filled {
		// What does not fit should not be read most of the way first.
		if err := b.hold(ctx, &row); isShort(err) {
			return err
		}
	}
	var measured benchSample
	if err := b.once(ctx, &row, &measured); err != nil {
		return err
	}
	s.Prefill = measured.prefill.Seconds()
	for _, step := range measured.steps {
		s.Steps = append(s.Steps, step.Seconds())
	}
	if !u.filled {
		s.Read = movesOf(measured.read)
	}
	s.Decoded = movesOf(measured.decoded)
	s.Facts = &rowFacts{
		Bench: row, Model: stages.PlanModel(b.engine), How: row.how,
		Least: b.engine.Least(b.chunkOf()), Partial: b.engine.Partial(),
	}
	return nil
}

// provide makes the host memory of the longest prompt that fits be there, so that no
// prefill is timed with taking it: an engine before may have had memory of another kind,
// unpinned, in whose place this one's has to be taken anew.
func (a *ablation) provide(ctx context.Context, b *bench) error {
	most := b.engine.Checkpoint.Config.Context - b.decode
	for _, n := range slices.Backward(slices.Sorted(slices.Values(a.matrix.Contexts))) {
		if n > most {
			continue
		}
		err := b.engine.Provide(ctx, n, b.row(n).Chunk, b.decode)
		if err == nil || !isShort(err) {
			return err
		}
	}
	return nil
}

// hold takes the memory of a row's text, and gives it back.
func (b *bench) hold(ctx context.Context, r *benchRow) error {
	b.engine.Trim()
	text, err := b.engine.Admit(ctx, "bench")
	if err != nil {
		return err
	}
	defer text.Release()
	return text.Hold(r.Context, r.Chunk, b.decode)
}

// sample is what bench makes figures of.
func (s *ablateSample) sample() benchSample {
	m := benchSample{prefill: inSeconds(s.Prefill), read: s.Read.work(), decoded: s.Decoded.work()}
	for _, step := range s.Steps {
		m.steps = append(m.steps, inSeconds(step))
	}
	return m
}

// log tells a person who waits how far it is.
func (s *ablateSample) log(log zerolog.Logger, number, of int) {
	e := log.Info().Str("row", s.Row)
	switch {
	case s.Longest != nil:
		e = e.Int("longest", s.Longest.Tokens)
	case s.Accuracy != nil:
		e = e.Float64("score", s.Accuracy.Score)
	case s.Distance != nil:
		e = e.Float64("distance", s.Distance.Largest)
	default:
		e = e.Int("context", s.Context).Int("round", s.Repeat+1)
		if s.Prefill > 0 {
			e = e.Float64("prefill_s", s.Prefill)
		}
		e = e.Float64("decode_s", median(s.Steps))
	}
	e.Int("sample", number).Int("of", of).Msg("measured")
}

// accuracyFigure is what a row's answers are worth.
type accuracyFigure struct {
	Task      string  `json:"task"`
	Tokens    int     `json:"tokens"` // of prompts
	Questions int     `json:"questions"`
	Score     float64 `json:"score"` // mean, 0 to 1
	Seconds   float64 `json:"seconds"`
}

// accuracyRun asks rows a task's questions, as eval does: with prompts of its own and
// answers as long as the task's.
type accuracyRun struct {
	cases map[string][]evalCase // by the model's path
}

func (r *accuracyRun) take(ctx context.Context, a *ablation, row *ablateRowState) (*accuracyFigure, error) {
	e, err := a.lab.start(row.pipeline)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	o := evalOptions{
		taskNames: []string{a.matrix.Accuracy.Task}, contexts: []int{int(a.matrix.Accuracy.Length)},
		depths: a.matrix.Accuracy.Questions, samples: 1, seed: 1, said: func(flag string) bool { return flag == "task" },
	}
	if err := o.findTasks(); err != nil {
		return nil, usage(err)
	}
	m, err := r.method(&o, row, e.Checkpoint.ChatTemplate != "")
	if err != nil {
		return nil, err
	}
	cases, ok := r.cases[row.Model.Path]
	if !ok {
		if cases, err = o.makeCases(ctx, m, e.Checkpoint, a.log); err != nil {
			return nil, err
		}
		if r.cases == nil {
			r.cases = map[string][]evalCase{}
		}
		r.cases[row.Model.Path] = cases
	}
	c := &cases[0]
	if c.err != nil {
		return nil, c.err
	}
	cell := newEvalCell(row.Name, c, 0)
	if err := o.measureCase(ctx, m, e, c, &cell, discardedEval()); err != nil {
		return nil, err
	}
	return &accuracyFigure{
		Task: c.task.Name, Tokens: c.tokens, Questions: cell.Samples, Score: cell.Score, Seconds: time.Since(start).Seconds(),
	}, nil
}

// method is a row with a task's prompts.
func (r *accuracyRun) method(o *evalOptions, row *ablateRowState, chat bool) (evalMethod, error) {
	m := evalMethod{pipeline: row.pipeline, name: row.Name}
	err := o.fitTasks(&m, chat, func(sets []string) (*pipeline, error) {
		registry, err := stages.Registry()
		if err != nil {
			return nil, err
		}
		p, err := row.With(sets...)
		if err != nil {
			return nil, usage(err)
		}
		return check(registry, p)
	})
	return m, err
}

// distanceFigure is how far a row's logits are from those of standard, on the same
// tokens.
type distanceFigure struct {
	Tokens    int     `json:"tokens"`
	Compared  int     `json:"compared"`   // tokens at whose place logits are
	Largest   float64 `json:"largest"`    // difference, as a share of the largest logit of its place
	KL        float64 `json:"kl"`         // mean Kullback–Leibler divergence, nats
	SameToken float64 `json:"same_token"` // share of places with the same most likely token
	Seconds   float64 `json:"seconds"`
}

// distanceRun compares rows with standard.
type distanceRun struct {
	of   labKey
	text forcedText
	want [][]float32 // standard's logits; nil until it has read the text
}

func (r *distanceRun) take(ctx context.Context, a *ablation, row *ablateRowState) (*distanceFigure, error) {
	if key := labKeyOf(row.pipeline.Pipeline); r.want == nil || r.of != key {
		if err := r.reference(ctx, a, row); err != nil {
			return nil, fmt.Errorf("standard, which it would be compared with: %w", err)
		}
		r.of = key
	}
	start := time.Now()
	got, err := r.logits(ctx, a, row.pipeline)
	if err != nil {
		return nil, err
	}
	f := &distanceFigure{Tokens: len(r.text.ids), Compared: len(got)}
	same := 0
	for i := range got {
		if !areFinite(got[i]) || !areFinite(r.want[i]) {
			return nil, errNotFinite
		}
		f.Largest = max(f.Largest, largestDifference(r.want[i], got[i]))
		f.KL += divergence(r.want[i], got[i]) / float64(len(got))
		if likeliest(r.want[i]) == likeliest(got[i]) {
			same++
		}
	}
	f.SameToken = float64(same) / float64(len(got))
	f.Seconds = time.Since(start).Seconds()
	return f, nil
}

// reference makes the text, and reads it with standard on the row's model and device.
func (r *distanceRun) reference(ctx context.Context, a *ablation, row *ablateRowState) error {
	device := row.Device
	with := overrides{sets: []string{
		"model.path=" + row.Model.Path, "device.kind=" + device.Kind,
		"device.memory=" + device.Memory.String(), "device.host_memory=" + device.HostMemory.String(),
	}}
	standard, err := with.loadMethod("standard")
	if err != nil {
		return err
	}
	if err := a.lab.open(standard.Pipeline); err != nil {
		return err
	}
	o := evalOptions{taskNames: []string{forcedTask}, seed: 1, said: func(flag string) bool { return flag == "task" }}
	o.forced = a.matrix.Distance.Forced
	if err := o.findTasks(); err != nil {
		return err
	}
	if r.text, err = o.forcedText(a.lab.checkpoint, int(a.matrix.Distance.Tokens), o.seed); err != nil {
		return err
	}
	r.want, err = r.logits(ctx, a, standard)
	return err
}

// logits reads the text with a pipeline and returns those before each forced token.
func (r *distanceRun) logits(ctx context.Context, a *ablation, p *pipeline) (all [][]float32, err error) {
	e, err := a.lab.start(p)
	if err != nil {
		return nil, err
	}
	text, err := e.Admit(ctx, "distance")
	if err != nil {
		return nil, err
	}
	defer text.Release()
	read, forced := r.text.split()
	first, err := text.Prefill(ctx, read, stages.ChunkOf(p.Documents, e), len(forced))
	if err != nil {
		return nil, err
	}
	err = text.Force(ctx, forced, first, func(_ int, logits []float32) error {
		all = append(all, logits)
		return nil
	})
	return all, err
}

// largestDifference is that of two places' logits, as a share of the largest of want.
func largestDifference(want, got []float32) float64 {
	most, largest := 0.0, 0.0
	for i := range want {
		most = max(most, math.Abs(float64(want[i])))
		largest = max(largest, math.Abs(float64(want[i])-float64(got[i])))
	}
	if most == 0 {
		return largest
	}
	return largest / most
}
