package stages

import (
	"errors"
	"fmt"
	"math"

	"headinfer/kernels"
	"headinfer/model"
	"headinfer/transfer"
)

// Loaded is a model on a device for several engines, one after the other, whose heads
// levels differ: they share its weights, and host memory that has been taken once.
type Loaded struct {
	checkpoint *model.Checkpoint
	device     kernels.Device
	decoder    *model.Decoder
	hosts      []*transfer.Slabs // one for each kind of host memory
}

// Load puts a checkpoint's weights on a device.
func Load(c *model.Checkpoint, dev kernels.Device) (*Loaded, error) {
	decoder, err := model.NewDecoder(c, dev, nil, nil)
	if err != nil {
		var short *kernels.BudgetError
		if errors.As(err, &short) && short.Hint == "" {
			short.Hint = atLeast(short.Budget+short.Asked-short.Left) + " or more is needed for the weights alone"
		}
		return nil, err
	}
	return &Loaded{checkpoint: c, device: dev, decoder: decoder}, nil
}

// Engine starts a head loop over the model. The engine before must have been closed, and
// all must have the same HostMemory.
func (l *Loaded) Engine(opt EngineOptions) (*Engine, error) {
	return newEngine(l.checkpoint, l.device, opt, func(e *Engine) (*model.Decoder, error) {
		l.lend(e.loop)
		l.decoder.Attach(e.loop, e.timeline)
		return l.decoder, nil
	})
}

// lend gives a loop the host memory that earlier ones of its kind have taken, and gives
// that of other kinds back.
func (l *Loaded) lend(h *HeadLoop) {
	h.lent = true
	found := false
	for _, host := range l.hosts {
		if !host.IsLike(h.host) {
			host.Trim()
			continue
		}
		h.host.Close() // it has given nothing away yet
		h.host, found = host, true
	}
	if !found {
		h.host.Keep(math.MaxInt64)
		l.hosts = append(l.hosts, h.host)
	}
}

// Trim gives back the host memory that no text has.
func (l *Loaded) Trim() {
	for _, host := range l.hosts {
		host.Trim()
	}
}

// Close gives the host memory back. The weights stay with the device.
func (l *Loaded) Close() {
	for _, host := range l.hosts {
		host.Close()
	}
}

// Hold takes all device memory that a text of so many tokens does that is read in passes
// of chunk tokens (0: all at once) and then goes on by room more, but for operators'
// workspace, and asks whether there is host memory for it. It reads nothing. A cache that
// drops tokens cannot be held.
func (t *Text) Hold(tokens, chunk, room int) error {
	e := t.engine
	if h := e.loop.heavy; h != (transfer.Heavy{}) {
		return errors.New("what a cache that drops tokens takes is known only once it is read; set heads.offload.heavy=none")
	}
	rows := tokens
	if chunk > 0 {
		rows = min(chunk, tokens)
	}
	t.expect(tokens, room)
	blocks := tokens + room
	if e.loop.onHost {
		// Taking it, and pinning it for a GPU, would take long.
		if err := e.loop.host.Room(e.loop.shape.Bytes(blocks), fmt.Sprintf("KV cache of %d tokens", blocks)); err != nil {
			return e.explain(err)
		}
		blocks = 0
	}
	if err := e.reserve(t, blocks, rows); err != nil {
		return err
	}
	e.passes.Lock()
	defer e.passes.Unlock()
	c := e.Checkpoint.Config
	pass := &model.Pass{
		Segments: []model.Segment{{Sequence: t.Sequence}}, MaxRows: e.decoder.MaxRows(), Group: c.Group(), HeadDim: c.HeadDim,
	}
	// The last pass over the prompt, and the last token, have most before them.
	for _, past := range []int{tokens - rows, tokens + room - 1} {
		pasts := []transfer.Past{{Segments: transfer.Range{From: 0, To: 1}, Tokens: past}}
		if err := e.loop.fit(pass, pasts); err != nil {
			return e.explain(err)
		}
	}
	return nil
}
