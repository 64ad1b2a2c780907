package kernels

import (
	"errors"
	"fmt"
	"maps"
	"sync"
)

// Purpose says what device memory is for.
type Purpose string

// The purposes that the ledger tells apart.
const (
	Weights     Purpose = "weights"
	KVCache     Purpose = "kv"
	Activations Purpose = "activations"
	Workspace   Purpose = "workspace"
)

// Purposes lists them in the order in which tables print them.
func Purposes() []Purpose { return []Purpose{Weights, KVCache, Activations, Workspace} }

// ErrBudget is matched by every error of device memory that cannot be had:
// BudgetError and RefusedError.
var ErrBudget = errors.New("device memory budget exceeded")

// BudgetError says what asked for more device memory than the budget has left.
type BudgetError struct {
	What    string // the thing that asked, such as "KV ring, 2 slots"
	Purpose Purpose
	Asked   int64 // bytes
	Left    int64 // bytes
	Budget  int64 // bytes
	Hint    string
}

// Error names the asker, the amounts and, if known, the option to change.
func (e *BudgetError) Error() string {
	s := fmt.Sprintf("%s (%s) asked for %s of device memory, and %s of the budget of %s is left",
		e.What, e.Purpose, FormatBytes(e.Asked), FormatBytes(e.Left), FormatBytes(e.Budget))
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Is makes errors.Is(err, ErrBudget) true.
func (e *BudgetError) Is(target error) bool { return target == ErrBudget }

// RefusedError says that the driver has no memory left for what the budget
// allows.
type RefusedError struct {
	What    string // the thing that asked
	Purpose Purpose
	Asked   int64 // bytes
	Err     error // the driver's
}

// Error names the asker and the driver's reason.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s (%s) asked for %s of device memory, within the budget: %v", e.What, e.Purpose, FormatBytes(e.Asked), e.Err)
}

// Is makes errors.Is(err, ErrBudget) true.
func (e *RefusedError) Is(target error) bool { return target == ErrBudget }

// Unwrap returns the driver's error.
func (e *RefusedError) Unwrap() error { return e.Err }

// Usage is what a ledger counted, in bytes.
type Usage struct {
	Budget int64             `json:"budget_bytes"`
	Used   int64             `json:"used_bytes"`
	Peak   int64             `json:"peak_bytes"`
	AtPeak map[Purpose]int64 `json:"at_peak_bytes"` // what Peak consisted of
	Now    map[Purpose]int64 `json:"now_bytes"`
}

// Ledger counts a device's memory by purpose and refuses to pass its budget.
// It is safe for concurrent use.
type Ledger struct {
	mu     sync.Mutex
	budget int64
	used   int64
	peak   int64
	now    map[Purpose]int64
	atPeak map[Purpose]int64
}

// NewLedger returns an empty ledger with a budget in bytes.
func NewLedger(budget int64) *Ledger {
	return &Ledger{budget: budget, now: map[Purpose]int64{}, atPeak: map[Purpose]int64{}}
}

// Take counts bytes towards purpose, or returns a *BudgetError and counts nothing.
func (l *Ledger) Take(bytes int64, purpose Purpose, what string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.room(bytes, purpose, what); err != nil {
		return err
	}
	l.used += bytes
	l.now[purpose] += bytes
	if l.used > l.peak {
		l.peak = l.used
		l.atPeak = maps.Clone(l.now)
	}
	return nil
}

// Room returns the *BudgetError that taking bytes would give, and counts
// nothing: for asking for a whole whose parts are then taken one by one.
func (l *Ledger) Room(bytes int64, purpose Purpose, what string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room(bytes, purpose, what)
}

func (l *Ledger) room(bytes int64, purpose Purpose, what string) error {
	if bytes < 0 {
		return fmt.Errorf("%s (%s) asked for %d bytes of device memory", what, purpose, bytes)
	}
	if bytes > l.budget-l.used {
		return &BudgetError{What: what, Purpose: purpose, Asked: bytes, Left: l.budget - l.used, Budget: l.budget}
	}
	return nil
}

// Give returns bytes taken for purpose.
func (l *Ledger) Give(bytes int64, purpose Purpose) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used -= bytes
	l.now[purpose] -= bytes
}

// Left returns the bytes that may still be taken.
func (l *Ledger) Left() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.budget - l.used
}

// Usage returns the counts so far.
func (l *Ledger) Usage() Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Usage{Budget: l.budget, Used: l.used, Peak: l.peak, AtPeak: maps.Clone(l.atPeak), Now: maps.Clone(l.now)}
}

// ResetPeak makes what is in use now the peak, so that the next peak is that of
// what follows.
func (l *Ledger) ResetPeak() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peak, l.atPeak = l.used, maps.Clone(l.now)
}

// FormatBytes writes a size for a person: "0 B", "512 KiB", "1.25 GiB".
func FormatBytes(n int64) string {
	const unit = 1024
	if n < unit && n > -unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n), ""
	for _, suffix = range []string{"KiB", "MiB", "GiB", "TiB"} {
		value /= unit
		if value < unit && value > -unit {
			break
		}
	}
	return fmt.Sprintf("%.4g %s", value, suffix)
}
