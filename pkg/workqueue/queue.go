// Package workqueue shares the items of a queue among workers that know nothing of
// each other: the pods of a Job. Items are files of a folder that all of them
// have, or entries of a Redis stream.
//
// Each item is done at least once. A worker leases it for a time, renews the lease
// while it works, and says what became of it; the lease of one that vanished runs
// out, and the item is another's. An item that failed too often is put aside with
// the reason. A worker that was away for longer than its lease is told so when it
// says that it is done: the item may have been done twice.
package workqueue

import (
	"context"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"
)

// Results of what is asked of a queue.
var (
	// ErrEmpty says that there is nothing to do at present: others may be at work.
	ErrEmpty = errors.New("no item is waiting")
	// ErrDrained says that nothing waits and nobody is at work.
	ErrDrained = errors.New("all items are done")
	// ErrNotFound says that there is no item of a name.
	ErrNotFound = errors.New("there is no such item")
	// ErrLost says that a lease has run out, and the item may be another's.
	ErrLost = errors.New("the lease has run out")
)

// MaxItem bounds an item, in bytes.
const MaxItem = 64 << 20

// Item is something to be done.
type Item struct {
	Name string
	Data []byte
}

// Lease is an item that a worker has for a time.
type Lease struct {
	Item
	// ID is the queue's own word for it, good for as long as the lease.
	ID      string
	Attempt int // from 1
	Expires time.Time
}

// Source is what a queue has.
type Source interface {
	// List gives the names of items that are not done, and at most limit of them.
	List(ctx context.Context, limit int) ([]string, error)
	// Get gives an item; ErrNotFound.
	Get(ctx context.Context, name string) (*Item, error)
}

// Queue is a Source whose items can be leased. Its methods may be called from any
// goroutine; several processes may share what is behind it.
type Queue interface {
	Source
	// Lease gives an item to a worker for a time; ErrEmpty, ErrDrained.
	Lease(ctx context.Context, worker string) (*Lease, error)
	// Settle ends a lease, or prolongs it; ErrLost.
	Settle(ctx context.Context, id string, r Result) error
}

// Result is what became of an item.
type Result struct {
	Outcome Outcome
	// Reason of a failure, for people.
	Reason string
}

// Outcome of a lease.
type Outcome uint8

// The outcomes.
const (
	Renewed Outcome = iota // it goes on: the lease begins anew
	Done
	Failed // to be tried again, unless that was the last attempt
)

// Policy says how items are given out.
type Policy struct {
	// Term is how long a lease lasts.
	Term time.Duration
	// Attempts are made at most; then an item is put aside.
	Attempts int
	// Pause is the least time between two attempts, doubled after each up to a
	// hundred times itself.
	Pause time.Duration
}

// Defaults fills in what is absent: a minute, five attempts, a second.
func (p Policy) Defaults() Policy {
	if p.Term <= 0 {
		p.Term = time.Minute
	}
	if p.Attempts <= 0 {
		p.Attempts = 5
	}
	if p.Pause <= 0 {
		p.Pause = time.Second
	}
	return p
}

// after is the pause after an attempt, from 1.
func (p *Policy) after(attempt int) time.Duration {
	const most = 100
	d := p.Pause
	for range attempt - 1 {
		if d *= 2; d >= most*p.Pause {
			return most * p.Pause
		}
	}
	return d
}

// JSON is an item's data as the source interface has it: an object as it is, and
// anything else as the member content, or base64 if it is no text.
func (i *Item) JSON() map[string]any {
	var object map[string]any
	if json.Unmarshal(i.Data, &object) == nil && object != nil {
		return object
	}
	if utf8.Valid(i.Data) {
		return map[string]any{"content": string(i.Data)}
	}
	return map[string]any{"base64": i.Data}
}
