package families

import (
	"maps"
	"sync"
)

// Ledger counts what a source has lost, by reason. The zero value is ready, and
// its methods may be called from any goroutine.
type Ledger struct {
	mu     sync.Mutex
	counts map[string]uint64 // guarded by mu
}

// Loss is an error that says what was lost.
type Loss interface {
	error
	// Lost is a reason, such as "series_limit", and how many series it cost.
	Lost() (reason string, count int)
}

// Add counts a loss.
func (l *Ledger) Add(reason string, count uint64) {
	if count == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = make(map[string]uint64)
	}
	l.counts[reason] += count
}

// Note counts every [Loss] that an error is made of, and returns the error.
func (l *Ledger) Note(err error) error {
	if loss, ok := err.(Loss); ok { //nolint:errorlint // every error of the tree is looked at
		reason, n := loss.Lost()
		l.Add(reason, uint64(n))
		return err
	}
	switch e := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			_ = l.Note(inner)
		}
	case interface{ Unwrap() error }:
		_ = l.Note(e.Unwrap())
	}
	return err
}

// Losses implements metrics.Accountant for who embeds the ledger.
func (l *Ledger) Losses() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}
