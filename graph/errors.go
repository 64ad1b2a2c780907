package graph

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrInputClosed is what [Run.Send] returns after [Run.CloseInput], or after the run has ended without a failure.
var ErrInputClosed = errors.New("graph: the input of the run is closed")

// A DocumentError says that one document cannot be processed, and why. A stage that returns one, wrapped or not, drops
// that document: it goes to the dead letters and the run goes on.
type DocumentError struct {
	ID  string // the document's name, as its source gave it
	Err error  // why
}

// Error names the document and the reason.
func (e *DocumentError) Error() string { return fmt.Sprintf("document %q: %v", e.ID, e.Err) }

// Unwrap returns the reason.
func (e *DocumentError) Unwrap() error { return e.Err }

// A LateError says what sinks failed with in a run that was over already: they take finished work even then, and so it is
// not all kept.
type LateError struct{ Err error } // of *StageErrors, joined

// Error is what the sinks failed with.
func (e *LateError) Error() string { return e.Err.Error() }

// Unwrap returns it.
func (e *LateError) Unwrap() error { return e.Err }

// A StageError is the failure that ended a run: what stage failed and why. It is the cause of the cancelled context that
// the other stages see.
type StageError struct {
	Stage string // the node's name: in a pipeline file, the entry's id
	Cause error
	Stack []byte // where the stage panicked, as debug.Stack prints it; nil when it returned an error
}

// Error names the stage and the cause, without the stack.
func (e *StageError) Error() string { return fmt.Sprintf("stage %q: %v", e.Stage, e.Cause) }

// Unwrap returns the cause.
func (e *StageError) Unwrap() error { return e.Cause }

// panicked carries a recovered panic and its stack to the StageError made of it.
type panicked struct {
	cause error
	stack []byte
}

func (p *panicked) Error() string { return p.cause.Error() }

func (p *panicked) Unwrap() error { return p.cause }

// recovered makes an error of what recover returned. It is to be called in the deferred function itself, while the stack
// still shows where the panic came from.
func recovered(value any) error {
	if err, ok := value.(error); ok {
		return &panicked{cause: fmt.Errorf("panic: %w", err), stack: debug.Stack()}
	}
	return &panicked{cause: fmt.Errorf("panic: %v", value), stack: debug.Stack()}
}

// stageError gives err the name of the stage that it comes from.
func stageError(stage string, err error) *StageError {
	if p, ok := errors.AsType[*panicked](err); ok {
		return &StageError{Stage: stage, Cause: p.cause, Stack: p.stack}
	}
	return &StageError{Stage: stage, Cause: err}
}

// protect calls f and returns its error, or its panic as one.
func protect(f func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if value := recover(); value != nil {
			err = recovered(value)
			return
		}
		// Neither returned nor panicked: the goroutine is being ended by runtime.Goexit, and no caller will see err.
	}()
	err = f()
	returned = true
	return err
}
