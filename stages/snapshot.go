package stages

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/zeebo/xxh3"

	"headinfer/config"
	"headinfer/transfer"
)

// snapshotOptions are a group of chunked-prefill's.
type snapshotOptions struct {
	Dir       string       `yaml:"dir" default:"" doc:"Keep the caches of texts that have been read in files of this directory, and load them instead of reading the same beginning again, in this run or a later one. Several runs may share it. Empty: keep none." example:"out/kv"`
	MaxSize   config.Bytes `yaml:"max_size" default:"50GiB" min:"0" doc:"What the directory's files may take together. Those that have not been used for longest make room for new ones. 0 is no limit." example:"500GiB"`
	MinTokens config.Count `yaml:"min_tokens" default:"256" min:"64" unit:"tokens" doc:"Keep a text only if so many of its tokens had to be read." example:"4Ki"`
	Refused   string       `yaml:"refused" default:"read" enum:"read,fail" doc:"What becomes of a text whose snapshot is damaged, or of another model or other settings: read it, with a warning, or fail the run." example:"fail"`
}

// SnapshotObserver is an Observer that is told of snapshots, too.
type SnapshotObserver interface {
	// Snapshot reports why a snapshot of a document is not used, or not kept. The run
	// goes on.
	Snapshot(document string, err error)
}

// snapshots keeps texts that have been read, and brings them back. A nil one does
// neither.
type snapshots struct {
	engine  *Engine
	options *snapshotOptions
	chunk   int
	dir     *transfer.Snapshots
	port    *transfer.SnapshotPort
	of      transfer.SnapshotOf // but for what depends on the text's length
	full    atomic.Bool         // there is no more room on the disk
}

// newSnapshots opens the directory for texts that are read in passes of chunk tokens
// (0: the whole text).
func newSnapshots(e *Engine, o *snapshotOptions, chunk int) (*snapshots, error) {
	if o.Dir == "" {
		return nil, nil
	}
	if e.loop.heavy != (transfer.Heavy{}) {
		return nil, fmt.Errorf("option snapshot.dir: %w; leave it out, or set heads.offload.heavy=none", transfer.ErrNoSnapshot)
	}
	model, err := e.Checkpoint.Fingerprint()
	if err != nil {
		return nil, fmt.Errorf("option snapshot.dir: %w", err)
	}
	dir, err := transfer.OpenSnapshots(o.Dir, int64(o.MaxSize))
	if err != nil {
		return nil, fmt.Errorf("option snapshot.dir: %w", err)
	}
	return &snapshots{
		engine: e, options: o, chunk: chunk, dir: dir, port: transfer.NewSnapshotPort(e.Device),
		of: transfer.SnapshotOf{
			Model: model, Name: shortName(e.Checkpoint.Config.Name), Method: e.loop.method(chunk),
			Shape: e.loop.shape, Activations: e.loop.plain.DType,
		},
	}, nil
}

// shortName is a model's name without the folders of a file.
func shortName(name string) string {
	if strings.HasSuffix(strings.ToLower(name), ".gguf") {
		return filepath.Base(name)
	}
	return name
}

// method says what makes keys and values inexact: then they depend on how a text was
// cut into passes, too.
func (h *HeadLoop) method(chunk int) string {
	if len(h.lossy) == 0 {
		return ""
	}
	parts := append([]string(nil), h.lossy...)
	if h.cut.Full != nil {
		// The file's name does not say what is in it.
		parts = append(parts, fmt.Sprintf("heads %016x", xxh3.HashString(fmt.Sprint(h.cut.Full))))
	}
	return strings.Join(append(parts, fmt.Sprintf("passes of %d tokens", chunk)), "; ")
}

// ofText returns what a text's snapshot is of.
func (s *snapshots) ofText(t *Text) transfer.SnapshotOf {
	of := s.of
	if key := s.engine.Checkpoint.Config.LengthKey(t.length); key != "" {
		of.Method = strings.TrimPrefix(of.Method+"; "+key, "; ")
	}
	return of
}

// usable returns how many of a snapshot's tokens spare passes of a text that begins
// with so many of them: all of both, or whole passes of those that would read the
// text, so that the others are the same as without it. With want, the logits after
// the text's last token are needed.
func (s *snapshots) usable(snap *transfer.Snapshot, tokens, common int, want bool) int {
	if whole := common == tokens && len(snap.Tokens) == tokens; whole && (!want || snap.HasLogits()) {
		return snap.Usable(common)
	}
	if s.chunk == 0 {
		return 0
	}
	if want {
		common = min(common, tokens-1)
	}
	for n := common / s.chunk * s.chunk; n > 0; n -= s.chunk {
		switch snap.Usable(n) {
		case n:
			return n
		case 0:
			return 0
		}
	}
	return 0
}

// load gives a text that has not begun what a snapshot has of its tokens, and
// returns how many that is. room makes room for so many. If it is all of them and
// want is set, the logits after them come with it.
func (s *snapshots) load(ctx context.Context, t *Text, tokens []int32, want bool, room func(n int) error) (n int, logits []float32, err error) {
	if s == nil || len(t.Tokens) > 0 {
		return 0, nil, nil
	}
	of := s.ofText(t)
	for {
		snap, n, refused := s.dir.Find(of, tokens, func(snap *transfer.Snapshot, common int) int {
			return s.usable(snap, len(tokens), common, want)
		})
		for _, err := range refused {
			if err := s.refuse(t.ID, err); err != nil {
				if snap != nil {
					_ = snap.Close() // was only read
				}
				return 0, nil, err
			}
		}
		if snap == nil {
			return 0, nil, nil
		}
		if err := room(n); err != nil {
			_ = snap.Close() // was only read
			return 0, nil, err
		}
		logits, err := snap.Load(ctx, t.Sequence, n, s.port)
		_ = snap.Close() // was only read
		if err == nil {
			s.dir.Used(snap)
			t.Tokens = append(t.Tokens, tokens[:n]...)
			return n, logits, nil
		}
		if _, ok := errors.AsType[*transfer.SnapshotError](err); !ok {
			return 0, nil, err
		}
		s.dir.Damaged(snap)
		if err := s.refuse(t.ID, err); err != nil {
			return 0, nil, err
		}
	}
}

// refuse does what is to be done about a snapshot that is not used.
func (s *snapshots) refuse(document string, err error) error {
	if s.options.Refused == "fail" {
		return fmt.Errorf("%w; snapshot.refused=read goes on without it", err)
	}
	s.tell(document, err)
	return nil
}

func (s *snapshots) tell(document string, err error) {
	if o, ok := s.engine.Observer.(SnapshotObserver); ok {
		o.Snapshot(document, err)
	}
}

// save keeps a text of which so many tokens have been read by passes, and the logits
// after its last token, if they are there. A text that cannot be kept does not stop
// the run.
func (s *snapshots) save(ctx context.Context, t *Text, read int, logits []float32, begins string) error {
	if s == nil || t.base != nil || read < int(s.options.MinTokens) || s.full.Load() {
		return nil
	}
	if err := s.engine.settle(); err != nil {
		return err
	}
	_, err := s.dir.Save(ctx, s.ofText(t), t.Sequence, transfer.SnapshotText{Tokens: t.Tokens, Logits: logits, Begins: begins}, s.port)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.engine.Device.Err() != nil:
		return err
	}
	if errors.Is(err, syscall.ENOSPC) && !s.full.Swap(true) {
		err = fmt.Errorf("%w; no more snapshots are kept in this run", err)
	}
	s.tell(t.ID, fmt.Errorf("no snapshot is kept: %w", err))
	return nil
}

// settle waits until what passes have enqueued is where the caches lie.
func (e *Engine) settle() error {
	e.passes.Lock()
	defer e.passes.Unlock()
	return errors.Join(e.decoder.Compute().Synchronize(), e.loop.copyOut.Synchronize())
}

// snapshotsKeepAll refuses snapshots of a cache that drops tokens.
func snapshotsKeepAll(p *config.Pipeline) config.Problems {
	heavy := ""
	for _, e := range p.Heads {
		if o, ok := e.Options.(*offloadOptions); ok && !o.Heavy.Is("none") {
			heavy = e.ID
		}
	}
	var all config.Problems
	for _, e := range p.Documents {
		if o, ok := e.Options.(*prefillOptions); ok && heavy != "" && o.Snapshot.Dir != "" {
			all = append(all, e.Problem("snapshot.dir", fmt.Sprintf("%q drops tokens (heavy), and what it keeps depends on every pass", heavy), "no snapshot.dir, or heavy: none"))
		}
	}
	return all
}
