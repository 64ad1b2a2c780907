package stages

import (
	"context"
	"fmt"
	"sync/atomic"

	"headinfer/kernels"
	"headinfer/model"
	"headinfer/transfer"
)

// headPass is one pass on its way through the loop.
type headPass struct {
	*model.Pass
	layers []layerProgress
	fed    chan error
}

// layerProgress is how far the host has come with a layer.
type layerProgress struct {
	projected chan struct{} // closed when its queries and new KV are enqueued
	enqueued  chan struct{} // closed when all of its tiles have left the loop
	left      atomic.Int64  // bundles that have not
}

// tile is one of a pass.
type tile struct {
	transfer.Tile
	pass *headPass
	past []kernels.KV // the tile's keys and values, on the device
	slot kernels.KV   // the same as they came from the host, if they did
}

// bundle is what flows through the loop: tiles of a layer and of the same heads, of
// one segment or of several that are attended to at once.
type bundle struct {
	pass  *headPass
	layer int
	tiles []*tile
	slot  *transfer.Slot // where all of them are, if they came from the host
}

// sequence is that of the tile's segment.
func (t *tile) sequence() *transfer.Sequence { return t.pass.Segments[t.Segment].Sequence }

// rows are those of the pass that attend to the tile.
func (t *tile) rows() transfer.Range {
	if t.Last {
		return t.pass.Rows[t.Segment]
	}
	return t.sharing()
}

// sharing are the rows of all segments with the tile's past.
func (t *tile) sharing() transfer.Range {
	return transfer.Range{From: t.pass.Rows[t.With.From].From, To: t.pass.Rows[t.With.To-1].To}
}

func newBundle(pass *headPass, tiles []transfer.Tile) *bundle {
	b := &bundle{pass: pass, layer: tiles[0].Layer}
	for _, t := range tiles {
		b.tiles = append(b.tiles, &tile{Tile: t, pass: pass})
	}
	return b
}

// projected blocks until the queries of the bundle's layer are enqueued.
func (b *bundle) projected(ctx context.Context) error {
	select {
	case <-b.pass.layers[b.layer].projected:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// bytes returns the bytes of the bundle's past.
func (b *bundle) bytes(shape transfer.Shape) (sum int64) {
	for _, t := range b.tiles {
		sum += shape.SlotBytes(t.Head.Len(), t.Token.Len())
	}
	return sum
}

// String names the bundle as its first tile is named, and says how many more there are.
func (b *bundle) String() string {
	if len(b.tiles) == 1 {
		return b.tiles[0].String()
	}
	return fmt.Sprintf("%s and %d more", b.tiles[0], len(b.tiles)-1)
}

// SpanName names the bundle in traces.
func (b *bundle) SpanName() string { return b.String() }

// The tiles between the stages of the loop, bundle by bundle.
type (
	// Planned are tiles whose turn comes.
	Planned struct{ *bundle }
	// Fetched are tiles whose keys and values are on their way to the device.
	Fetched struct{ *bundle }
	// Attended are tiles whose attention is enqueued.
	Attended struct{ *bundle }
	// Stored are tiles that are done with.
	Stored struct{ *bundle }
)
