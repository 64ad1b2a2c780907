package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"headinfer/config"
	"headinfer/config/matrix"
	"headinfer/kernels"
	"headinfer/stages"
)

// The kinds of units; the others are measures.
const unitTime = "time"

// unit is what is measured at a time, and kept as a sample.
type unit struct {
	row     *ablateRowState
	kind    string // unitTime, or longest, accuracy or distance
	context int
	filled  bool
	repeat  int
}

// place is what the repeats of a unit share.
func (u unit) place() string {
	if u.kind != unitTime {
		return u.kind
	}
	return cellAt{u.context, u.filled}.String() + " tokens"
}

// key is the same for units that measure the same on the same device with the same
// program.
func (a *ablation) key(u unit, fingerprint string) string {
	what := []any{u.row.Key, u.row.heads, fingerprint, a.device, buildOf(), u.kind, u.repeat}
	switch u.kind {
	case unitTime:
		what = append(what, u.context, u.filled, a.matrix.DecodeTokens)
	case matrix.Accuracy:
		what = append(what, a.matrix.Accuracy)
	case matrix.Distance:
		what = append(what, a.matrix.Distance)
	}
	// Plain values, which JSON takes.
	text, _ := json.Marshal(what)
	return fmt.Sprintf("%016x", xxh3.Hash(text))
}

// headsHash tells files of streaming heads apart by what they say; the pipeline's options
// have only the path. That a file cannot be read, its row's engine says.
func headsHash(p *config.Pipeline) string {
	path := stages.HeadsFile(p)
	if path == "" {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "unreadable"
	}
	return fmt.Sprintf("%016x", xxh3.Hash(text))
}

// buildOf tells programs apart: by the version, and where no revision stands for what was
// built, by the executable.
var buildOf = sync.OnceValue(func() string {
	if info, ok := debug.ReadBuildInfo(); ok && isRevision(info.Settings) {
		return version()
	}
	return version() + " " + executableHash()
})

// isRevision says whether a build is of a revision just as it was committed.
func isRevision(settings []debug.BuildSetting) bool {
	revision, modified := false, false
	for _, s := range settings {
		revision = revision || s.Key == "vcs.revision" && s.Value != ""
		modified = modified || s.Key == "vcs.modified" && s.Value == "true"
	}
	return revision && !modified
}

// executableHash is of the running program; where it cannot be read, no two runs are of the
// same.
func executableHash() string {
	path, err := os.Executable()
	if err == nil {
		var file *os.File
		if file, err = os.Open(path); err == nil {
			defer func() { _ = file.Close() }() // it is only read
			hash := xxh3.New()
			if _, err = io.Copy(hash, file); err == nil {
				return fmt.Sprintf("%016x", hash.Sum64())
			}
		}
	}
	return time.Now().Format(time.RFC3339Nano)
}

// plan lists the units in the order of measuring: round by round, and in a round rows
// that share a model and a device one after the other. A row's longest cache comes
// first, so that host memory that it takes serves the others; of prompts the shortest
// comes first, because what operators have taken as workspace they keep.
func (a *ablation) plan() {
	rows := slices.Clone(a.rows)
	rank := map[labKey]int{}
	for _, r := range rows {
		key := labKeyOf(r.pipeline.Pipeline)
		if _, ok := rank[key]; !ok {
			rank[key] = len(rank)
		}
	}
	slices.SortStableFunc(rows, func(x, y *ablateRowState) int {
		return rank[labKeyOf(x.pipeline.Pipeline)] - rank[labKeyOf(y.pipeline.Pipeline)]
	})
	contexts, fill := slices.Clone(a.matrix.Contexts), slices.Clone(a.matrix.Fill)
	slices.Sort(contexts)
	slices.Sort(fill)
	slices.Reverse(fill)
	for repeat := range a.matrix.Repeats {
		for _, r := range rows {
			if a.matrix.Times() {
				for _, n := range fill {
					if repeat < a.matrix.FillRepeats {
						a.units = append(a.units, unit{r, unitTime, n, true, repeat})
					}
				}
				for _, n := range contexts {
					a.units = append(a.units, unit{r, unitTime, n, false, repeat})
				}
			}
			for _, measure := range []string{matrix.Longest, matrix.Accuracy, matrix.Distance} {
				if repeat == 0 && a.matrix.Wants(measure) {
					a.units = append(a.units, unit{row: r, kind: measure})
				}
			}
		}
	}
}

// sample returns a unit's, if it has been taken.
func (a *ablation) sample(u unit) *ablateSample {
	fingerprint, ok := a.store.fingerprints[u.row.Model.Path]
	if !ok {
		return nil
	}
	return a.store.find(a.key(u, fingerprint))
}

// done counts the samples that there are.
func (a *ablation) done() (n int) {
	for _, u := range a.units {
		if a.sample(u) != nil {
			n++
		}
	}
	return n
}

// measure takes the samples that are missing.
func (a *ablation) measure(ctx context.Context) error {
	if err := a.fingerprints(); err != nil {
		return err
	}
	if n := a.done(); n > 0 {
		a.log.Info().Int("samples", n).Int("of", len(a.units)).Str("from", a.store.path).Msg("taken over; --restart measures them anew")
	}
	if err := a.measureRates(); err != nil {
		return err
	}
	var started *ablateRowState // whose engine runs
	for i, u := range a.units {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if s := a.sample(u); s != nil {
			if s.Error != "" {
				u.row.failed[u.place()] = s.Error
			}
			continue
		}
		if u.row.failed[u.place()] != "" {
			continue // the other repeats would say the same
		}
		s := &ablateSample{Row: u.row.Name, Kind: u.kind, Context: u.context, Filled: u.filled, Repeat: u.repeat}
		err := a.take(ctx, u, s, started != u.row)
		started = u.row
		if err != nil {
			if ctx.Err() != nil || a.lab.device == nil || a.lab.device.Err() != nil || errors.As(err, new(*exitError)) {
				return err
			}
			// A pass that was broken off ends its engine; the next unit gets another.
			started = nil
			s.Error = err.Error()
			u.row.failed[u.place()] = s.Error
			a.log.Info().Str("row", s.Row).Str("what", u.place()).Str("error", s.Error).Msg("not measured")
			if !lasting(err) {
				continue
			}
		}
		s.Key = a.key(u, a.store.fingerprints[u.row.Model.Path])
		if err := a.store.add(s); err != nil {
			return err
		}
		if s.Error == "" {
			s.log(a.log, i+1, len(a.units))
		}
	}
	return nil
}

// lasting says whether an error would be the same another day, on the same device.
func lasting(err error) bool {
	// What the heads level refuses may be a file's, which can be mended.
	if errors.As(err, new(*stages.HeadsError)) {
		return false
	}
	// Of device memory only the budget's word lasts; the driver refuses by what else is there.
	return errors.As(err, new(*kernels.BudgetError)) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, errPastModel)
}

// fingerprints finds out which models the rows have.
func (a *ablation) fingerprints() error {
	for _, r := range a.rows {
		path := r.Model.Path
		if _, ok := a.store.fingerprints[path]; ok {
			continue
		}
		text, err := fingerprintOf(path)
		if err != nil {
			return usage(err)
		}
		a.store.fingerprints[path] = text
	}
	return nil
}

// mostForRates is the longest context that rates are measured at, in tokens.
const mostForRates = 128 << 10

// measureRates finds out what the device can do, or takes that from an earlier call.
// Without anything to measure it is not worth the time.
func (a *ablation) measureRates() error {
	if !a.limits || !a.matrix.Times() {
		return nil
	}
	first := a.rows[0]
	// Attention's rate hardly changes past that, and longer ones take much memory.
	longest := min(slices.Max(slices.Concat(a.matrix.Contexts, a.matrix.Fill)), mostForRates)
	o := benchOptions{contexts: []int{longest}}
	text, _ := json.Marshal([]any{"rates", a.store.fingerprints[first.Model.Path], a.device, buildOf(), longest})
	key := fmt.Sprintf("%016x", xxh3.Hash(text))
	if s := a.store.find(key); s != nil && s.Rates != nil {
		a.rates = s.Rates
		return nil
	}
	if a.done() == len(a.units) {
		return nil
	}
	rates, err := o.measureRates(benchPipeline{pipeline: first.pipeline, name: first.Name}, a.log)
	if err != nil || rates == nil {
		return err
	}
	a.rates = rates
	return a.store.add(&ablateSample{Key: key, Kind: "rates", Rates: rates})
}
