package stages

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"headinfer/graph"
	"headinfer/stages/queue"
)

// Collect gives the outputs each answer once, until there is one, or a dead
// letter, for every document.
func (s *Submission) Collect(ctx context.Context, emit func(*Answer) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c, err := s.run.Collect(ctx)
	if err != nil {
		return err
	}
	results := make(chan *queue.Result)
	go func() {
		for {
			r, err := c.Next(ctx)
			if err != nil {
				cancel(err)
				return
			}
			select {
			case results <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	audit := auditor{s: s, c: c}
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	s.arrived = time.Now()
	for seen := uint64(0); ; {
		if seen >= c.Waiting || time.Since(s.arrived) > catchUpWait {
			s.catchUp.Do(func() { close(s.caught) })
		}
		select {
		case r := <-results:
			seen++
			s.arrived = time.Now()
			a, err := decodeAnswer(r.Data)
			if err != nil {
				return err
			}
			r.Data = nil // it may wait for its document
			if err := s.take(ctx, &parcel{a, r}, emit); err != nil {
				return err
			}
		case <-ticker.C:
			if err := s.settle(ctx, emit); err != nil {
				return err
			}
			if s.over() {
				return nil
			}
			if err := audit.look(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// over reports whether all documents are read and none is pending.
func (s *Submission) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read && len(s.pending)+len(s.written)+len(s.again) == 0
}

// take gives an answer to the outputs, unless they have it or are about to.
func (s *Submission) take(ctx context.Context, in *parcel, emit func(*Answer) error) error {
	a, fresh := s.accept(in)
	switch {
	case !fresh:
		return in.result.Commit(ctx)
	case a == nil:
		return nil
	}
	return emit(a)
}

// accept decides what becomes of an answer: a is given to the outputs. With fresh
// false the answer is of no use; with neither, it is kept.
func (s *Submission) accept(in *parcel) (a *Answer, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[in.Document]
	if in.Answer == nil {
		s.bury(in, p)
		return nil, false
	}
	if s.failed[in.Key] || s.answered(in.Key) {
		return nil, false
	}
	if in.Graded && p == nil {
		s.parked[in.Document] = append(s.parked[in.Document], in)
		return nil, true
	}
	a = in.Answer
	a.Index = in.Index
	if p != nil {
		if index, ok := p.index[in.Key]; ok {
			a.Index = index
			delete(p.index, in.Key)
		} else {
			p = nil // a question that was answered before
		}
	}
	if p != nil && p.grade != nil {
		a.Grade = p.grade(a.Answer)
	}
	s.written[in.Key] = &written{in.result, p}
	s.count.Answers++
	return a, true
}

// answered reports whether an answer has been given to the outputs, by this
// submission or an earlier one.
func (s *Submission) answered(key string) bool {
	return s.written[key] != nil || s.given[key] || s.engine.Run != nil && s.engine.Run.Done(key)
}

// bury takes note of a dead letter, of a document as a whole or of a question: it
// counts if there is an answer less for it.
func (s *Submission) bury(in *parcel, p *pending) {
	whole, keys := in.Key == in.Document, in.Keys
	switch {
	case whole && s.failed[in.Document]:
		return // it came before
	case len(keys) > 0:
	case whole && p != nil:
		keys = slices.Collect(maps.Keys(p.index))
	default:
		keys = []string{in.Key} // of a document that is not here yet, it stands for all
	}
	missing := 0
	for _, key := range keys {
		if s.failed[key] || s.answered(key) {
			continue
		}
		if p != nil {
			if _, open := p.index[key]; !open {
				continue
			}
			delete(p.index, key)
			s.close(p)
		}
		s.failed[key] = true
		missing++
	}
	if missing == 0 {
		return
	}
	if whole {
		s.failed[in.Document] = true
	}
	s.count.Failed++
	s.options.Dead(in.Stage, &graph.DocumentError{ID: in.Key, Err: fmt.Errorf("on %s: %s", in.Worker, in.Reason)})
}

// close counts an answer that is committed, or will not be.
func (s *Submission) close(p *pending) {
	if p.left--; p.left == 0 {
		delete(s.pending, p.id)
		s.change.Broadcast()
		go s.run.Forget(context.Background(), p.id, p.size)
	}
}

// Refused tells the submission that an output did not take an answer: it is to be
// called for each document in the dead letters of the part after the queue.
func (s *Submission) Refused(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.written[key] != nil {
		s.failed[key] = true
		s.count.Failed++
	}
}

// settle takes out of the server's stream what the outputs have committed.
func (s *Submission) settle(ctx context.Context, emit func(*Answer) error) error {
	s.mu.Lock()
	var safe []*written
	for key, w := range s.written {
		if s.engine.Run == nil || s.failed[key] || s.engine.Run.Done(key) {
			delete(s.written, key)
			if s.engine.Run == nil {
				s.given[key] = true // there is no journal to tell
			}
			safe = append(safe, w)
			if w.of != nil {
				s.close(w.of)
			}
		}
	}
	again := s.again
	s.again = nil
	s.mu.Unlock()
	for _, w := range safe {
		if err := w.result.Commit(ctx); err != nil {
			return err
		}
	}
	for _, in := range again {
		if err := s.take(ctx, in, emit); err != nil {
			return err
		}
	}
	return nil
}

// auditor looks for documents that the server has lost, as one does whose disk
// is gone: no answer would ever come.
type auditor struct {
	s     *Submission
	c     *queue.Collector
	last  time.Time
	sent  int // documents that were sent when it looked last
	empty int // looks in a row that found nothing on the server
}

func (a *auditor) look(ctx context.Context) error {
	s := a.s
	s.mu.Lock()
	waiting := s.unsent == 0 && len(s.written) == 0 && len(s.pending) > 0
	pending, quiet, sent := len(s.pending), time.Since(s.arrived), s.count.Submitted+s.count.There
	s.mu.Unlock()
	if a.last.IsZero() {
		a.last = time.Now()
	}
	if !waiting || quiet < auditEvery || sent != a.sent {
		a.sent, a.empty = sent, 0
		return nil
	}
	if time.Since(a.last) < auditEvery {
		return nil
	}
	a.last = time.Now()
	// In this order: an answer is there before its document is not.
	documents, err := s.run.Documents(ctx)
	if err != nil {
		return err
	}
	answers, err := a.c.Pending(ctx)
	if err != nil {
		return err
	}
	if documents+answers > 0 {
		a.empty = 0
		return nil
	}
	if a.empty++; a.empty < 2 {
		return nil
	}
	return fmt.Errorf("%w: %d documents have no answer and are not in the queue; what is written is safe, and the same command submits them again", errLost, pending)
}

var errLost = errors.New("the server has lost documents")
