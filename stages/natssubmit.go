package stages

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"headinfer/graph"
	"headinfer/stages/queue"
)

// Submission is a run over a queue as seen from where it is submitted: it puts
// documents in and writes the answers that come back, each once.
//
// A document is pending from when it is put into the queue until the outputs have
// committed all its answers, or it has failed. An answer is taken out of the
// server's stream after the outputs have committed it. What was pending when a
// submission ended is found by the next one: its source gives the document again,
// and the queue refuses it if it is still there.
type Submission struct {
	engine  *Engine
	run     *queue.Run
	options SubmissionOptions
	ctx     context.Context // of Run, which may outlast the part before the queue
	fatal   context.CancelCauseFunc
	caught  chan struct{} // closed when the answers of earlier submissions have been looked at
	catchUp sync.Once
	sends   chan struct{} // has a place for each document on its way
	sending sync.WaitGroup

	mu      sync.Mutex
	change  *sync.Cond
	pending map[string]*pending
	written map[string]*written  // answers given to the outputs, until they are committed
	given   map[string]bool      // ids of answers that outputs without a journal have
	failed  map[string]bool      // ids of answers that there will not be, or of documents with none
	met     roll                 // the ids of documents and answers so far
	parked  map[string][]*parcel // by document: to be scored when the source gives it
	again   []*parcel            // those whose document has come
	next    int64                // the place of the next answer
	unsent  int                  // documents pending that are not in the queue yet
	read    bool                 // the source has ended
	count   SubmissionCounts
	arrived time.Time // when the last answer came
}

// SubmissionOptions say how a submission goes on.
type SubmissionOptions struct {
	// Depth is how many documents may be pending; 0 is no limit, and no answers
	// are waited for.
	Depth int
	// Dead is told of each document, or question, without an answer.
	Dead func(stage string, e *graph.DocumentError)
}

// SubmissionCounts is what a submission has done so far.
type SubmissionCounts struct {
	Submitted int `json:"submitted"` // documents put into the queue
	There     int `json:"there"`     // documents that an earlier submission had put there
	Earlier   int `json:"earlier"`   // documents whose answers were there
	Answers   int `json:"answers"`
	Failed    int `json:"failed"`  // documents and questions in the dead letters
	Pending   int `json:"pending"` // documents
}

// pending is a document whose answers are not all written.
type pending struct {
	id    string
	grade func(string) *Grade
	index map[string]int64 // places of the answers that have not come
	left  int              // answers that are not committed
	size  int              // bytes in the queue
}

// written is an answer that an output has, but may not have committed.
type written struct {
	result *queue.Result
	of     *pending // nil for an earlier submission's
}

// parcel is an answer as it came.
type parcel struct {
	sentAnswer
	result *queue.Result
}

const (
	submitsAtOnce = 64
	settleEvery   = 50 * time.Millisecond
	catchUpWait   = 5 * time.Second // for an answer, before the source is read
	auditEvery    = 5 * time.Second
)

// NewSubmission prepares a submission to a run.
func NewSubmission(e *Engine, run *queue.Run, o SubmissionOptions) *Submission {
	s := &Submission{
		engine: e, run: run, options: o, caught: make(chan struct{}), sends: make(chan struct{}, submitsAtOnce),
		pending: map[string]*pending{}, written: map[string]*written{},
		given: map[string]bool{}, failed: map[string]bool{}, met: newRoll(), parked: map[string][]*parcel{},
	}
	s.change = sync.NewCond(&s.mu)
	return s
}

// Counts may be called at any time.
func (s *Submission) Counts() SubmissionCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.count
	c.Pending = len(s.pending)
	return c
}

// Run submits what before gives, as Submit takes it, and has after write what
// Collect gives it. Without a depth after is only closed. The error is the first failure,
// joined with a *graph.LateError of each part whose sinks failed after it.
func (s *Submission) Run(ctx context.Context, before, after *graph.Run) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.ctx, s.fatal = ctx, cancel
	ended := make(chan struct{})
	var afterErr error
	if s.options.Depth > 0 {
		go func() {
			defer close(ended)
			if afterErr = after.Run(ctx); afterErr != nil {
				cancel(afterErr)
			}
		}()
	} else {
		s.catchUp.Do(func() { close(s.caught) })
		if err := after.Close(); err != nil {
			cancel(err)
		}
		close(ended)
	}
	beforeErr := before.Run(ctx)
	if beforeErr != nil {
		cancel(beforeErr)
	}
	s.sending.Wait()
	s.mu.Lock()
	s.read = true
	s.mu.Unlock()
	<-ended
	err := context.Cause(ctx) // the first failure
	for _, part := range []error{beforeErr, afterErr} {
		if late, ok := errors.AsType[*graph.LateError](part); ok && !errors.Is(err, late) {
			err = errors.Join(err, late)
		}
	}
	return err
}

// Submit puts a document into the queue, unless all its answers are there.
func (s *Submission) Submit(ctx context.Context, in *Document) error {
	select {
	case <-s.caught:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	sent, p, err := s.admit(ctx, in)
	if err != nil || p == nil {
		return err
	}
	data, err := sent.encode()
	if err != nil {
		s.drop(p)
		return &graph.DocumentError{ID: in.ID, Err: err}
	}
	s.mu.Lock()
	p.size = len(data)
	s.mu.Unlock()
	select {
	case s.sends <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx) // what is unsent stays so: the run ends
	}
	s.sending.Go(func() {
		defer func() { <-s.sends }()
		there, err := s.run.Submit(s.ctx, in.ID, data)
		if err != nil {
			s.fatal(fmt.Errorf("document %q: %w", in.ID, err))
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.unsent--
		if there {
			s.count.There++
		} else {
			s.count.Submitted++
		}
	})
	return nil
}

// admit makes a document pending when there is room. p is nil if nothing of it is
// to be sent.
func (s *Submission) admit(ctx context.Context, in *Document) (sent sentDocument, p *pending, err error) {
	sent = sentDocument{Document: in, Graded: in.Grade != nil}
	// ctx is the part's own, which ends before the submission's if a stage fails.
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock() // or it would come between a look at ctx and the wait
		defer s.mu.Unlock()
		s.change.Broadcast()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.options.Depth > 0 && len(s.pending) >= s.options.Depth {
		if ctx.Err() != nil {
			return sent, nil, context.Cause(ctx)
		}
		s.change.Wait()
	}
	if s.twice(in) {
		return sent, nil, &graph.DocumentError{ID: in.ID, Err: errSameID}
	}
	in.Index = s.next
	p = &pending{id: in.ID, grade: in.Grade, index: map[string]int64{}}
	here := map[string]bool{} // answers that wait for their document
	for _, a := range s.parked[in.ID] {
		here[a.Key] = true
	}
	s.again = append(s.again, s.parked[in.ID]...)
	delete(s.parked, in.ID)
	missing := 0
	for i, key := range keysOf(in) {
		index := s.next
		s.next++
		switch w := s.written[key]; {
		case s.engine.done(&Document{ID: key}, index), s.failed[key], s.failed[in.ID], s.answered(key):
			sent.Skip = append(sent.Skip, i+1)
			if w != nil && w.of == nil {
				w.of, p.left = p, p.left+1
			}
		case here[key]:
			sent.Skip = append(sent.Skip, i+1)
			p.index[key] = index
		default:
			p.index[key] = index
			missing++
		}
	}
	if p.left += len(p.index); p.left > 0 && s.options.Depth > 0 {
		s.pending[in.ID] = p
	}
	if missing == 0 {
		s.count.Earlier++
		return sent, nil, nil
	}
	s.unsent++
	return sent, p, nil
}

// twice reports whether another document has the id of this one, or of an answer
// to it.
func (s *Submission) twice(in *Document) bool {
	twice := s.met.again(in.ID)
	if len(in.Questions) > 0 {
		for _, key := range keysOf(in) {
			twice = s.met.again(key) || twice
		}
	}
	return twice
}

// drop forgets a document that could not be put into the queue.
func (s *Submission) drop(p *pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsent--
	s.count.Failed++
	delete(s.pending, p.id)
	s.change.Broadcast()
}
