package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"headinfer/config"
	"headinfer/stages"
	"headinfer/stages/queue"
)

// queueFlags say which server a run's queue is on.
type queueFlags struct{ queue.Server }

func (f *queueFlags) flags(c *cobra.Command) {
	// No default: $NATS_URL may hold a password, which --help would show.
	c.Flags().StringVar(&f.URL, "url", "", "the NATS server, or several of a cluster with commas between (by default $NATS_URL, or nats://127.0.0.1:4222)")
	c.Flags().StringVar(&f.Credentials, "credentials", "", "a file with credentials for it (.creds)")
	c.Flags().StringVar(&f.CA, "ca", "", "a file with certificates to trust (PEM)")
}

func (f *queueFlags) connect(ctx context.Context, log zerolog.Logger) (*queue.Queue, error) {
	f.URL = cmp.Or(f.URL, os.Getenv("NATS_URL"), "nats://127.0.0.1:4222")
	return queue.Connect(ctx, f.Server, warnOf(log))
}

// warnOf says that something at the queue takes long.
func warnOf(log zerolog.Logger) func(string, error) {
	return func(what string, err error) {
		log.Warn().Err(err).Str("call", what).Msg("the queue does not answer; still trying")
	}
}

// parted is a pipeline with its parts before, at and after the workers.
type parted struct {
	*pipeline
	parts *stages.Parts
}

// part reads a pipeline's text, which errors call name.
func part(name, text string, sets []string, env func(string) (string, bool)) (*parted, error) {
	registry, err := stages.Registry()
	if err != nil {
		return nil, err
	}
	file, err := config.Load(name, []byte(text), registry, sets, env)
	if err != nil {
		return nil, usage(err)
	}
	p, err := check(registry, file)
	if err != nil {
		return nil, err
	}
	parts, err := stages.Divide(registry, file)
	return &parted{p, parts}, usage(err)
}

// newRecord describes the run of a pipeline file, all but its model.
func newRecord(path, name string, sets []string) (queue.Record, *parted, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return queue.Record{}, nil, usage(fmt.Errorf("pipeline file: %w", err))
	}
	if name == "" {
		name = queue.NameOf(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
	}
	if err := queue.CheckName(name); err != nil {
		return queue.Record{}, nil, usage(fmt.Errorf("--run: %w", err))
	}
	r := queue.Record{Name: name, File: filepath.Base(path), Pipeline: string(text), Sets: sets, Program: version(), Variables: map[string]string{}}
	// Workers see the variables as they are here.
	p, err := part(path, r.Pipeline, sets, func(variable string) (string, bool) {
		value, set := os.LookupEnv(variable)
		if set {
			r.Variables[variable] = value
		}
		return value, set
	})
	if err == nil {
		hide(&r, p)
	}
	return r, p, err
}

// hidden stands on the server for a variable's value that is not the workers'
// business. Another value has another one, mostly: enough to notice a change, and
// too little to tell which of many guesses is right.
func hidden(variable, value string) string {
	sum := sha256.Sum256([]byte(variable + "=" + value))
	return fmt.Sprintf("x%x", sum[:2])
}

// hide takes out of a record the values of variables that what workers do does not
// depend on, such as the paths and keys of sources and sinks: those with which,
// hidden, the pipeline is as sound, and the workers' part of it the same.
func hide(r *queue.Record, p *parted) {
	for _, variable := range slices.Sorted(maps.Keys(r.Variables)) {
		value := r.Variables[variable]
		r.Variables[variable] = hidden(variable, value)
		if seen, err := partOf(*r, nil); err != nil || !seen.parts.SameWork(p.parts) {
			r.Variables[variable] = value
		}
	}
}

// partOf is the pipeline of a record as a worker sees it, with options of its own.
func partOf(r queue.Record, sets []string) (*parted, error) {
	return part(r.File+" of run "+r.Name, r.Pipeline, slices.Concat(r.Sets, sets), func(variable string) (string, bool) {
		value, set := r.Variables[variable]
		return value, set
	})
}

// chooseRun finds the run of a name, or with "" the only one that is under way.
func chooseRun(ctx context.Context, q *queue.Queue, name string) (queue.Record, error) {
	all, err := q.Runs(ctx)
	if err != nil {
		return queue.Record{}, err
	}
	var open, names []string
	for _, r := range all {
		if !r.Complete {
			open = append(open, r.Name)
		}
		names = append(names, r.Name)
	}
	if name == "" && len(open) == 1 {
		name = open[0]
	}
	if at := slices.Index(names, name); at >= 0 {
		return all[at], nil
	}
	what := fmt.Sprintf("there is no run %q", name)
	if name == "" {
		what = "no run is named"
	}
	there := "none is under way; headinfer submit begins one"
	if len(open) > 0 {
		there = "under way: " + strings.Join(open, ", ")
	}
	hint := ""
	if near := config.Nearest(name, open); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return queue.Record{}, usage(fmt.Errorf("%s; %s%s", what, there, hint))
}

// workerSets are the options that a worker may change.
func workerSets(sets []string) error {
	for _, s := range sets {
		if !strings.HasPrefix(s, "device.") && !strings.HasPrefix(s, "model.path=") {
			return usage(fmt.Errorf("--set %s: a worker may change device options and model.path; the rest is the run's", s))
		}
	}
	return nil
}

// queueError gives errors of the queue their exit codes.
func queueError(err error) error {
	if changed, ok := errors.AsType[*queue.ChangedError](err); ok {
		return usage(fmt.Errorf("%w; --run names another run, --restart begins this one anew", changed))
	}
	return err
}
