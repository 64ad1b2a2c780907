package main

import (
	"context"

	"headinfer/transfer"
)

// benchTimeline is when the device's streams worked for a pipeline, in passes that
// were done for this alone.
type benchTimeline struct {
	pipeline string
	record   *transfer.Record
}

// watchedSeconds is the longest prefill that is done once more to be watched, unless
// all are longer.
const watchedSeconds = 2

// watch does a prompt and two decode steps once more, and keeps what ran when: apart
// from the measured ones, because keeping it takes time. Caches on the device have
// nothing to show, nil.
func (b *bench) watch(ctx context.Context, rows []benchRow) (*benchTimeline, error) {
	var row *benchRow
	for i, r := range rows {
		if r.Decode == nil || !r.how.OnHost {
			continue
		}
		// The longest that is short enough; a prompt that was read rather than a filled cache.
		better := row == nil || row.Prefill == nil && r.Prefill != nil || r.Prefill != nil && r.Prefill.Seconds <= watchedSeconds
		if better {
			row = &rows[i]
		}
	}
	if row == nil {
		return nil, nil
	}
	e := b.engine
	if kept := e.Trace(); kept != nil { // with --trace all passes are there
		return &benchTimeline{b.pipeline.name, kept.Device}, nil
	}
	steps := min(2, b.decode) // for which fits has made sure that the model has room
	e.Trim()
	text, err := e.Admit(ctx, "time line")
	if err != nil {
		return nil, err
	}
	defer text.Release()
	if row.Filled {
		if err := text.Fill(ctx, row.Context, b.decode); err != nil {
			return nil, err
		}
	}
	record, err := e.Watch(func() error {
		if !row.Filled {
			if _, err := text.Prefill(ctx, b.tokens(row.Context), row.Chunk, steps); err != nil {
				return err
			}
		}
		for _, token := range b.tokens(steps) {
			if _, err := text.Step(ctx, token); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &benchTimeline{b.pipeline.name, record}, nil
}
