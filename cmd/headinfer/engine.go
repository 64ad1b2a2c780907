package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"

	"headinfer/config"
	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/kernels/cuda"
	"headinfer/model"
	"headinfer/stages"
)

// openEngine opens the pipeline's model and device and puts them together.
// done closes all of it.
func openEngine(p *pipeline, log zerolog.Logger) (e *stages.Engine, done func() error, err error) {
	dev, err := openDevice(p.Device, log)
	if err != nil {
		return nil, nil, err
	}
	if e, done, err = startEngine(p, dev, log); err == nil {
		logChoices(e.Choices(p.Documents), log)
	}
	return e, done, err
}

// logChoices says what a pipeline left to the program, and why it is that.
func logChoices(all []stages.Choice, log zerolog.Logger) {
	for _, c := range all {
		log.Info().Str("option", c.Option).Str("is", c.Value()).Str("why", c.Why).Msg("chosen for auto")
	}
}

// startEngine puts the pipeline's model on a device. done closes both; if it
// fails, the device is closed.
func startEngine(p *pipeline, dev kernels.Device, log zerolog.Logger) (e *stages.Engine, done func() error, err error) {
	start := time.Now()
	checkpoint, err := model.Open(p.Model.Path)
	if err != nil {
		return nil, nil, errors.Join(usage(err), dev.Close())
	}
	if checkpoint.Config.TextOnly {
		log.Info().Str("model", checkpoint.Config.Name).Msg("of this model the language model alone is loaded: no pictures are read")
	}
	loading := newLoading(os.Stderr, log)
	if !checkpoint.Random { // these are only enqueued as they are told of
		checkpoint.Loading = loading.show
	}
	e, err = stages.NewEngine(checkpoint, dev, stages.EngineOptions{Heads: p.heads, HostMemory: int64(p.Device.HostMemory), KeepSpans: p.trace})
	loading.stop()
	if err != nil {
		if _, ok := errors.AsType[*stages.HeadsError](err); ok {
			err = usage(err)
		}
		return nil, nil, errors.Join(err, dev.Close(), checkpoint.Close())
	}
	log.Info().Str("model", checkpoint.Config.Name).Str("device", dev.Info().Name).
		Str("budget", kernels.FormatBytes(dev.Ledger().Usage().Budget)).
		Dur("ms", time.Since(start)).Msg("model loaded")
	return e, func() error { return errors.Join(e.Close(), dev.Close(), checkpoint.Close()) }, nil
}

// openDevice opens what device.kind asks for. auto is a GPU where there is one.
func openDevice(o config.DeviceOptions, log zerolog.Logger) (kernels.Device, error) {
	gpus, reason := cuda.Available()
	switch {
	case o.Products == "bf16" && (o.Kind == "cuda" || o.Kind == "auto" && gpus > 0):
		return nil, usage(errors.New("device.products: bf16: that is for the processor, and a GPU multiplies in bf16 as it is; leave it at same, or set device.kind: cpu"))
	case o.Kind == "cuda" && gpus == 0:
		return nil, usage(fmt.Errorf("device.kind: cuda: %s; or use cpu or auto", reason))
	case o.Kind == "cuda":
		dev, err := cuda.Open(int64(o.Memory), 0)
		return dev, usage(err)
	case o.Kind == "auto" && gpus > 0:
		dev, err := cuda.Open(int64(o.Memory), 0)
		if err == nil {
			return dev, nil
		}
		log.Warn().Err(err).Msg("the GPU cannot be used; going on with the processor")
	}
	dev := cpu.Open(int64(o.Memory), 0)
	if o.Products == "bf16" {
		if err := dev.RoundProducts(); err != nil {
			return nil, errors.Join(usage(fmt.Errorf("device.products: bf16: %w; leave it at same", err)), dev.Close())
		}
	}
	return dev, nil
}
