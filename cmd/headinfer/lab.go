package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"

	"headinfer/config"
	"headinfer/kernels"
	"headinfer/model"
	"headinfer/stages"
)

// lab measures pipelines in turns. What they have in common stays: the device and the
// model's weights as long as the model and the device's options are the same, and host
// memory that caches have taken.
type lab struct {
	log zerolog.Logger

	key        labKey // of what is open
	device     kernels.Device
	opened     int64    // device memory in use before the model was loaded
	room       planRoom // before anything was held on the device
	checkpoint *model.Checkpoint
	loaded     *stages.Loaded
	short      error          // why the weights cannot be loaded
	engine     *stages.Engine // the latest
}

// labKey is what a change of takes another device and model.
type labKey struct {
	model  string
	device config.DeviceOptions
}

func labKeyOf(p *config.Pipeline) labKey { return labKey{p.Model.Path, p.Device} }

// open makes the device and the checkpoint those of a pipeline.
func (l *lab) open(p *config.Pipeline) error {
	key := labKeyOf(p)
	if l.device != nil && l.key == key {
		return nil
	}
	if err := l.close(); err != nil {
		return err
	}
	dev, err := openDevice(p.Device, l.log)
	if err != nil {
		return err
	}
	checkpoint, err := model.Open(p.Model.Path)
	if err != nil {
		return errors.Join(usage(err), dev.Close())
	}
	l.key, l.device, l.opened, l.room, l.checkpoint = key, dev, dev.InUse(), newPlanRoom(dev), checkpoint
	return nil
}

// errShortWeights says that a model does not fit, whatever is done with its cache.
var errShortWeights = errors.New("the model cannot be loaded")

// start makes an engine of a pipeline, the only one there is until the next. An error
// that leaves other pipelines a chance is one of errShortWeights or a *HeadsError.
func (l *lab) start(p *pipeline) (*stages.Engine, error) {
	if err := l.open(p.Pipeline); err != nil {
		return nil, err
	}
	if err := l.stop(); err != nil {
		return nil, err
	}
	if err := l.load(); err != nil {
		return nil, err
	}
	var err error
	l.engine, err = l.loaded.Engine(stages.EngineOptions{Heads: p.heads, HostMemory: int64(p.Device.HostMemory)})
	return l.engine, err
}

// load puts the weights on the device, once.
func (l *lab) load() error {
	if l.loaded != nil || l.short != nil {
		return l.short
	}
	start := time.Now()
	loading := newLoading(os.Stderr, l.log)
	if !l.checkpoint.Random { // these are only enqueued as they are told of
		l.checkpoint.Loading = loading.show
	}
	loaded, err := stages.Load(l.checkpoint, l.device)
	loading.stop()
	if errors.Is(err, kernels.ErrBudget) || errors.Is(err, errors.ErrUnsupported) {
		l.short = fmt.Errorf("%w: %w", errShortWeights, err)
		return l.short
	}
	if err != nil {
		return err
	}
	l.loaded = loaded
	l.log.Info().Str("model", l.checkpoint.Config.Name).Str("device", l.device.Info().Name).
		Str("budget", kernels.FormatBytes(l.device.Ledger().Usage().Budget)).
		Dur("ms", time.Since(start)).Msg("model loaded")
	return nil
}

// stop ends the engine.
func (l *lab) stop() error {
	if l.engine == nil {
		return nil
	}
	e := l.engine
	l.engine = nil
	return e.Close()
}

// close gives everything back.
func (l *lab) close() error {
	if l.device == nil {
		return nil
	}
	err := l.stop()
	if l.loaded != nil {
		l.loaded.Close()
	}
	err = errors.Join(err, l.device.Close(), l.checkpoint.Close())
	l.device, l.checkpoint, l.loaded, l.short = nil, nil, nil, nil
	return err
}
