package main

import (
	"context"
	"errors"
	"fmt"
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
	url := os.Getenv("NATS_URL")
	if url == "" {
		url = "nats://127.0.0.1:4222"
	}
	c.Flags().StringVar(&f.URL, "url", url, "the NATS server, or several of a cluster with commas between (by default $NATS_URL)")
	c.Flags().StringVar(&f.Credentials, "credentials", "", "a file with credentials for it (.creds)")
	c.Flags().StringVar(&f.CA, "ca", "", "a file with certificates to trust (PEM)")
}

func (f *queueFlags) connect(ctx context.Context, log zerolog.Logger) (*queue.Queue, error) {
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
	return r, p, err
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
