package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"headinfer/config"
	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/model"
	"headinfer/stages"
)

// openEngine opens the pipeline's model and device and puts them together.
// done closes all of it.
func openEngine(p *pipeline, log zerolog.Logger) (e *stages.Engine, done func() error, err error) {
	dev, err := openDevice(p.Device)
	if err != nil {
		return nil, nil, err
	}
	start := time.Now()
	checkpoint, err := model.Open(p.Model.Path)
	if err != nil {
		return nil, nil, errors.Join(usage(err), dev.Close())
	}
	e, err = stages.NewEngine(checkpoint, dev, stages.EngineOptions{Heads: p.heads})
	if err != nil {
		if !errors.Is(err, kernels.ErrBudget) {
			err = usage(err) // the model, or a heads level that cannot be built
		}
		return nil, nil, errors.Join(err, dev.Close(), checkpoint.Close())
	}
	log.Info().Str("model", checkpoint.Config.Name).Str("device", dev.Info().Name).
		Str("budget", kernels.FormatBytes(dev.Ledger().Usage().Budget)).
		Dur("ms", time.Since(start)).Msg("model loaded")
	return e, func() error { return errors.Join(e.Close(), dev.Close(), checkpoint.Close()) }, nil
}

func openDevice(o config.DeviceOptions) (kernels.Device, error) {
	if o.Kind == "cuda" {
		return nil, usage(fmt.Errorf("device.kind: cuda: this build has no GPU support; use cpu or auto"))
	}
	return cpu.Open(int64(o.Memory), 0), nil
}
