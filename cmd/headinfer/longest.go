package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"headinfer/config"
	"headinfer/kernels"
	"headinfer/plan"
	"headinfer/stages"
	"headinfer/transfer"
)

// longestRow is the longest text that a method has room for, by real allocations.
type longestRow struct {
	Pipeline string         `json:"pipeline"`
	Error    string         `json:"error,omitempty"` // why there is no figure
	Tokens   int            `json:"longest_tokens"`
	Stopped  string         `json:"stopped_by"` // one of the stops
	Reason   string         `json:"reason"`     // what was said of a longer text
	Planned  int            `json:"planned_tokens"`
	Chunk    int            `json:"chunk_tokens"`   // of the passes; 0: the whole prompt
	Group    int            `json:"group_kv_heads"` // of the longest text's tiles
	Memory   *kernels.Usage `json:"device_memory,omitempty"`
	HostKV   int64          `json:"host_kv_bytes"`
	Tries    int            `json:"tries"`
	Seconds  float64        `json:"seconds"` // that finding it took
	Lossy    []string       `json:"lossy,omitempty"`
}

// What a longer text meets.
const (
	stopDevice = "device budget"
	stopHost   = "host memory"
	stopModel  = "model's context"
)

// planRoom is the memory that a machine had free before anything was measured.
type planRoom struct {
	free  int64
	known bool // it says
	one   bool // the device's memory is the host's
}

func newPlanRoom(dev kernels.Device) planRoom {
	free, known := transfer.HostMemory()
	return planRoom{free: transfer.ForCaches(free), known: known, one: dev.Info().Kind == "cpu"}
}

// of is what plan is asked about, with a pipeline's budgets. A machine that does not say
// what is free bounds nothing.
func (r planRoom) of(o config.DeviceOptions) plan.Room {
	room := plan.Room{Device: int64(o.Memory), Host: int64(o.HostMemory)}
	if room.Host == 0 {
		room.Host = math.MaxInt64
		if r.known {
			room.Host = r.free
		}
	}
	if r.one && r.known {
		room.Both = r.free
	}
	return room
}

// leastLongest is where the search begins, in tokens.
const leastLongest = 1 << 10

// resolution is how near the longest context is found, in tokens.
func resolution(tokens int) int { return max(tokens/200, 16) }

// longest finds a pipeline's longest context: by doubling and then halving, with a
// text's device memory taken at each length, its host memory asked for, and nothing
// computed; then with all of it taken, a real pass and a decoded token at what was found. chunk 0 leaves the passes to the pipeline.
func (l *lab) longest(ctx context.Context, p *pipeline, name string, chunk int, room plan.Room) (*longestRow, error) {
	start := time.Now()
	e, err := l.start(p)
	if err != nil {
		return nil, err
	}
	if own := stages.ChunkOf(p.Documents, e); own == 0 || chunk == 0 {
		chunk = own
	}
	most := e.Checkpoint.Config.Context - 1 // a token is decoded
	s := &longestSearch{engine: e, loaded: l.loaded, row: &longestRow{Pipeline: name, Chunk: chunk, Lossy: e.Report().Lossy}}
	found, err := s.search(ctx, most)
	if err == nil && found > 0 {
		found, err = s.confirm(ctx, found)
	}
	if err != nil {
		return nil, err
	}
	r := s.row
	if r.Tokens = found; found == most {
		r.Stopped, r.Reason = stopModel, fmt.Sprintf("the model's context is %d tokens", most+1)
	}
	r.Planned = stages.PlanModel(e).Longest(e.Least(chunk), room, most)
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

// longestSearch is the search for one pipeline.
type longestSearch struct {
	engine *stages.Engine
	loaded *stages.Loaded
	row    *longestRow
}

// search returns the most tokens, up to some number, whose memory can be taken.
func (s *longestSearch) search(ctx context.Context, most int) (int, error) {
	fits, past := 0, most+1
	for n := min(leastLongest, most); n < past; n = min(2*n, most) {
		ok, err := s.holds(ctx, n)
		if err != nil {
			return 0, err
		}
		if !ok {
			past = n
			break
		}
		if fits = n; n == most {
			return most, nil
		}
	}
	return halve(ctx, fits, past, s.holds)
}

// halve narrows down what fits, between two lengths of which the first does.
func halve(ctx context.Context, fits, past int, try func(context.Context, int) (bool, error)) (int, error) {
	for past-fits > resolution(fits) {
		n := fits + (past-fits)/2
		ok, err := try(ctx, n)
		switch {
		case err != nil:
			return 0, err
		case ok:
			fits = n
		default:
			past = n
		}
	}
	return fits, nil
}

// holds reports whether a text's memory can be had.
func (s *longestSearch) holds(ctx context.Context, tokens int) (bool, error) {
	return s.try(ctx, func(text *stages.Text) error { return text.Hold(tokens, s.row.Chunk, 1) })
}

// try does something with a text and notes what memory was short for.
func (s *longestSearch) try(ctx context.Context, f func(*stages.Text) error) (ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.row.Tries++
	s.engine.Trim()
	text, err := s.engine.Admit(ctx, "longest context")
	if err != nil {
		return false, err
	}
	defer text.Release()
	err = f(text)
	switch {
	case errors.Is(err, transfer.ErrHostMemory):
		s.row.Stopped, s.row.Reason = stopHost, err.Error()
	case errors.Is(err, kernels.ErrBudget):
		s.row.Stopped, s.row.Reason = stopDevice, err.Error()
	default:
		return err == nil, err
	}
	return false, nil
}

// confirm returns the longest text up to a length that was searched of which the end
// can be read and a token decoded. What operators take as workspace may make it shorter.
func (s *longestSearch) confirm(ctx context.Context, searched int) (int, error) {
	fits, past := 0, searched+1
	for step := resolution(searched); fits == 0 && past > 1; step *= 2 {
		n := max(past-step, 1)
		if past > searched {
			n = searched
		}
		ok, err := s.reads(ctx, n)
		switch {
		case err != nil:
			return 0, err
		case ok:
			fits = n
		default:
			past = n
		}
	}
	return halve(ctx, fits, past, s.reads)
}

// reads reports whether a text's end can be read, and a token decoded.
func (s *longestSearch) reads(ctx context.Context, tokens int) (bool, error) {
	read := func(text *stages.Text) error { return s.read(ctx, text, tokens) }
	ok, err := s.try(ctx, read)
	if err == nil && !ok && s.row.Stopped == stopHost {
		// What is kept of earlier texts comes in other pieces.
		s.loaded.Trim()
		ok, err = s.try(ctx, read)
	}
	return ok, err
}

// read is a text's last pass and a token, with random keys and values before.
func (s *longestSearch) read(ctx context.Context, text *stages.Text, tokens int) error {
	rows := tokens
	if s.row.Chunk > 0 {
		rows = min(s.row.Chunk, tokens)
	}
	if tokens > rows {
		if err := text.Fill(ctx, tokens-rows, rows+1); err != nil {
			return err
		}
	}
	ledger := s.engine.Device.Ledger()
	ledger.ResetPeak()
	ids := make([]int32, rows+1)
	for i := range ids {
		ids[i] = rand.Int32N(int32(s.engine.Checkpoint.Config.Vocab))
	}
	if _, err := text.Prefill(ctx, ids[:rows], rows, 1); err != nil {
		return err
	}
	how := s.engine.Method(s.row.Chunk)
	s.row.Group = how.Group
	if _, err := text.Step(ctx, ids[rows]); err != nil {
		return err
	}
	memory := ledger.Usage()
	s.row.Memory = &memory
	if how.OnHost {
		s.row.HostKV = text.Sequence.Shape().Bytes(text.Sequence.Capacity())
	}
	return nil
}
