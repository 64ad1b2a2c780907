package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"headinfer/kernels"
	"headinfer/model/hub"
)

func newPull() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "pull OWNER/NAME[@REVISION][:FILE.gguf]",
		Short: "Fetch a model from a Hugging Face hub",
		Long: `Fetch a model from a Hugging Face hub and print where it lies: a folder with the
configuration, the tokenizer and the weights in safetensors, or, with --file or
:FILE.gguf, one GGUF file. The revision is a branch, a tag or a commit; main
unless given. A pipeline names the same model as hf:OWNER/NAME[@REVISION][:FILE.gguf],
which fetches it when it is not there.

The cache is the one that other programs use, and what they fetched is not
fetched again. A pull that was cut goes on where it was. Every file is compared
with the checksum that the hub gives.

Environment:
  HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME  where the cache is
                                         (~/.cache/huggingface/hub)
  HF_TOKEN, HF_TOKEN_PATH, HF_HOME/token who asks, for gated and private models
  HF_ENDPOINT                            another hub
  HF_HUB_OFFLINE=1                       ask nothing, use what is in the cache

Exit code: 0 done, 1 failed, 2 wrong usage, or no such model, revision or file,
or, offline, not in the cache, 130 interrupted.`,
		Example: `  headinfer pull HuggingFaceTB/SmolLM2-135M-Instruct
  headinfer pull owner/name@v1.0 --file name.Q8_0.gguf`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			name := args[0]
			if file != "" {
				if strings.Contains(strings.TrimPrefix(name, hub.Prefix), ":") {
					return usage(fmt.Errorf("--file %s: %s names a file already; name one", file, name))
				}
				name += ":" + file
			}
			path, err := pull(c.Context(), name, c.ErrOrStderr())
			if err != nil {
				return hubError(c.Context(), err)
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), path)
			return err
		},
	}
	c.Flags().StringVar(&file, "file", "", "fetch this GGUF file of the model, and nothing else")
	return c
}

// pull fetches a model, with a bar on a terminal and a log elsewhere.
func pull(ctx context.Context, name string, errOut io.Writer) (string, error) {
	log := newLogger(errOut)
	if isTerminal(errOut) {
		bar := newPullBar(errOut)
		defer bar.stop()
		log = log.Output(zerolog.ConsoleWriter{Out: bar.bars, TimeFormat: "15:04:05"})
		h, m, err := openHub(name, log)
		if err != nil {
			return "", err
		}
		h.Progress = bar.show
		return h.Pull(ctx, m)
	}
	h, m, err := openHub(name, log)
	if err != nil {
		return "", err
	}
	watch := &pullLog{log: log, model: m.String()}
	h.Progress = watch.show
	path, err := h.Pull(ctx, m)
	watch.end(err)
	return path, err
}

// openHub returns the hub that the environment names, which warns in a log, and
// the model that a name means to it.
func openHub(name string, log zerolog.Logger) (*hub.Hub, hub.Model, error) {
	m, err := hub.Parse(name)
	if err != nil {
		return nil, m, err
	}
	settings, err := hub.FromEnv(os.Getenv)
	if err != nil {
		return nil, m, err
	}
	h, err := hub.New(settings)
	if err != nil {
		return nil, m, err
	}
	h.Warn = func(message string) { log.Warn().Msg(message) }
	return h, m, nil
}

// fetchModel makes a pipeline's model one that lies on this machine: a model of
// the hub is fetched if need be, and the log says how that goes.
func fetchModel(ctx context.Context, p *pipeline, log zerolog.Logger) error {
	if !hub.IsPath(p.Model.Path) {
		return nil
	}
	h, m, err := openHub(p.Model.Path, log)
	if err != nil {
		return usage(err)
	}
	watch := &pullLog{log: log, model: m.String()}
	h.Progress = watch.show
	path, err := h.Find(ctx, m)
	watch.end(err)
	if err != nil {
		return hubError(ctx, err)
	}
	p.Model.Path = path
	return nil
}

// hubError gives an error of the hub its exit code.
func hubError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return &exitError{exitInterrupted, errors.New("interrupted; what was fetched is kept, and the next pull goes on from there")}
	case errors.Is(err, hub.ErrName), errors.Is(err, hub.ErrNotFound), errors.Is(err, hub.ErrOffline):
		return usage(err)
	}
	return err
}

// pullLogEvery is how often a log says how far a pull is.
const pullLogEvery = 10 * time.Second

// pullLog logs how a pull goes, once something comes.
type pullLog struct {
	log         zerolog.Logger
	model       string
	start, last time.Time
	now         hub.Progress
}

func (l *pullLog) show(p hub.Progress) {
	l.now = p
	if now := time.Now(); p.Fetched > 0 && now.Sub(l.last) >= pullLogEvery {
		if l.start.IsZero() {
			l.start = now
		}
		l.last = now
		l.event().Msg("fetching the model")
	}
}

// end logs what a pull came to. Its error is logged by whoever gets it.
func (l *pullLog) end(err error) {
	if err == nil && !l.start.IsZero() {
		l.event().Dur("ms", time.Since(l.start)).Msg("model fetched")
	}
}

func (l *pullLog) event() *zerolog.Event {
	return l.log.Info().Str("model", l.model).Str("there", kernels.FormatBytes(l.now.BytesDone)).Str("of", kernels.FormatBytes(l.now.Bytes)).
		Int("files", l.now.FilesDone).Int("of_files", l.now.Files)
}

// pullBar shows on a terminal how a pull goes.
type pullBar struct {
	bars  *mpb.Progress
	bar   *mpb.Bar
	start time.Time
	now   atomic.Pointer[hub.Progress]
}

func newPullBar(w io.Writer) *pullBar {
	return &pullBar{bars: mpb.New(mpb.WithOutput(w), mpb.WithWidth(40)), start: time.Now()}
}

func (b *pullBar) show(p hub.Progress) {
	b.now.Store(&p)
	if b.bar == nil {
		b.bar = b.bars.AddBar(0,
			mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return pullDone(*b.now.Load()) })),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return pullRate(*b.now.Load(), time.Since(b.start)) })))
	}
	// Never complete, as the total grows when the weights are known.
	b.bar.SetTotal(p.Bytes, false)
	b.bar.SetCurrent(p.BytesDone)
}

func (b *pullBar) stop() {
	if b.bar != nil {
		b.bar.Abort(true)
	}
	b.bars.Wait()
}

// pullDone says how much of a model is there.
func pullDone(p hub.Progress) string {
	return fmt.Sprintf("%d of %d files  %s of %s ", p.FilesDone, p.Files, kernels.FormatBytes(p.BytesDone), kernels.FormatBytes(p.Bytes))
}

// pullRate says how fast a model comes, and how long the rest will take. What
// was there before counts for neither. At first there is nothing to go by.
func pullRate(p hub.Progress, took time.Duration) string {
	if p.Fetched < 1<<20 || took < time.Second {
		return ""
	}
	second := float64(p.Fetched) / took.Seconds()
	rest := time.Duration(float64(p.Bytes-p.BytesDone) / second * float64(time.Second))
	return fmt.Sprintf(" %s/s  %s left", kernels.FormatBytes(int64(second)), rest.Round(time.Second))
}
