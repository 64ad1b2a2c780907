package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"headinfer/kernels"
	"headinfer/stages"
)

// forcedRun measures methods on the same texts, one method after the other.
type forcedRun struct {
	texts  []forcedText
	report *forcedReport
	file   *evalOutput
	log    zerolog.Logger
	// compares says that there is another method to compare with the first.
	compares bool
	// first are the logits [vocabulary] of the first method before each forced
	// token of each text; nil where it could not read the text, or if nothing is
	// compared with them. They lie in host memory: 4 bytes × vocabulary × forced tokens a text.
	first [][][]float32
}

// forcedSums adds up what was measured on forced tokens.
type forcedSums struct {
	tokens, answerTokens int
	loss, answerLoss     float64 // nats
	compared, same       int
	divergence, error    float64 // nats; the largest
}

// step adds a forced token. want are the first method's logits; nil if there
// are none to compare with.
func (s *forcedSums) step(token int32, answer bool, logits, want []float32) error {
	if !areFinite(logits) {
		return errNotFinite
	}
	loss := lossOf(logits, token)
	s.tokens++
	s.loss += loss
	if answer {
		s.answerTokens++
		s.answerLoss += loss
	}
	if want == nil {
		return nil
	}
	s.compared++
	s.divergence += divergence(want, logits)
	s.error = max(s.error, logitError(want, logits))
	if likeliest(want) == likeliest(logits) {
		s.same++
	}
	return nil
}

// add takes the sums of another text.
func (s *forcedSums) add(more forcedSums) {
	s.tokens += more.tokens
	s.answerTokens += more.answerTokens
	s.loss += more.loss
	s.answerLoss += more.answerLoss
	s.compared += more.compared
	s.same += more.same
	s.divergence += more.divergence
	s.error = max(s.error, more.error)
}

// measure reads all texts with a method, with its model loaded once, and adds
// rows to the report. Of what does not fit in memory only the reason is noted.
func (r *forcedRun) measure(ctx context.Context, m evalMethod) (err error) {
	isFirst := r.first == nil
	if isFirst {
		r.first = make([][][]float32, len(r.texts))
	}
	name := evalMethodName{Name: m.name, Lossy: m.lossy}
	dev, err := openDevice(m.Device, r.log)
	if err != nil {
		return err
	}
	r.report.Device = dev.Info().Name
	engine, done, err := startEngine(m.pipeline, dev, r.log)
	short := "" // why no more is tried
	if errors.Is(err, kernels.ErrBudget) {
		short, err = err.Error(), nil
	}
	if err != nil {
		return err
	}
	if engine != nil {
		defer func() { err = errors.Join(err, done()) }()
		r.report.Model, r.report.Random = engine.Checkpoint.Config.Name, engine.Checkpoint.Random
		name.Lossy = append(name.Lossy, engine.Report().Lossy...)
	}
	r.report.Methods = append(r.report.Methods, name)
	for from, to := 0, 0; from < len(r.texts); from = to {
		tokens := r.texts[from].asked
		for to < len(r.texts) && r.texts[to].asked == tokens {
			to++
		}
		row := forcedRow{Method: m.name, Tokens: tokens}
		switch {
		case r.texts[from].err != nil:
			row.Error = r.texts[from].err.Error()
		case short != "":
			row.Error = short
		default:
			engine.Trim()
			err = r.length(ctx, m, engine, from, to, isFirst, &row)
		}
		if err != nil && ctx.Err() == nil && dev.Err() == nil {
			row.Error = err.Error()
		}
		if isShort(err) {
			short = fmt.Sprintf("not tried: %d tokens did not fit", tokens)
		}
		if row.Texts > 0 || row.Error != "" {
			r.report.Rows = append(r.report.Rows, row)
			row.log(r.log)
		}
		if err != nil && (ctx.Err() != nil || dev.Err() != nil || errors.Is(err, errEvalOutput)) {
			return err
		}
		err = nil
	}
	return nil
}

// length measures the texts [from, to), which are of one length, and fills the
// row in.
func (r *forcedRun) length(ctx context.Context, m evalMethod, e *stages.Engine, from, to int, isFirst bool, row *forcedRow) error {
	chunk := stages.ChunkOf(m.Documents, e)
	var sums forcedSums
	start := time.Now()
	for i := from; i < to; i++ {
		t := &r.texts[i]
		begun := time.Now()
		one, logits, err := t.force(ctx, e, chunk, r.first[i], isFirst && r.compares)
		if err != nil {
			return err
		}
		if isFirst {
			r.first[i] = logits
		}
		line := forcedRecord{
			Method: m.name, Task: taskPerplexity, Tokens: t.asked, TextTokens: len(t.ids), Seed: t.seed,
			forcedFigures: one.figures(), Seconds: time.Since(begun).Seconds(),
		}
		if err := r.file.line(line); err != nil {
			return err
		}
		sums.add(one)
		row.Texts++
		row.forcedFigures = sums.figures()
		row.Seconds = time.Since(start).Seconds()
	}
	return nil
}

// force reads a text, its last tokens one by one, and compares with the logits
// in first, if there are any. keep says to return the logits.
func (t *forcedText) force(ctx context.Context, e *stages.Engine, chunk int, first [][]float32, keep bool) (sums forcedSums, kept [][]float32, err error) {
	id := fmt.Sprintf("text of %d tokens, seed %d", t.asked, t.seed)
	text, err := e.Admit(ctx, id)
	if err != nil {
		return sums, nil, err
	}
	defer text.Release()
	read, forced := t.split()
	logits, err := text.Prefill(ctx, read, chunk, len(forced))
	if err != nil {
		return sums, nil, err
	}
	err = text.Force(ctx, forced, logits, func(i int, logits []float32) error {
		var want []float32
		if first != nil {
			want = first[i]
		}
		if err := sums.step(forced[i], t.answer[i], logits, want); err != nil {
			return fmt.Errorf("%s, forced token %d: %w", id, i, err)
		}
		if keep {
			kept = append(kept, logits)
		}
		return nil
	})
	return sums, kept, err
}
