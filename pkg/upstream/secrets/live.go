package secrets

import (
	"crypto/tls"
	"sync/atomic"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Live is a Store that is exchanged under those who use it: a rotated secret
// reaches the next handshake and the next login without anything being built
// anew. Until a new Store is accepted, its secrets are known beside those of
// the old one, so that what is being made ready can use them; and after that,
// the old one's are known until Forget, for connections that are on their way
// out. The zero value has no secrets. Safe for concurrent use; Offer, Accept and
// Withdraw by one goroutine at a time.
type Live struct {
	// Source is asked for a secret anew; nil: nobody is. Read-only after the first
	// use.
	Source func(name string)

	current, offered, former atomic.Pointer[Store]
}

// Offer makes the secrets of a store to be known.
func (l *Live) Offer(s *Store) { l.offered.Store(s) }

// Accept makes the offered store the current one.
func (l *Live) Accept() {
	l.former.Store(l.current.Swap(l.offered.Load()))
	l.offered.Store(nil)
}

// Withdraw undoes Offer.
func (l *Live) Withdraw() { l.offered.Store(nil) }

// Forget drops what only the store before the current one knows.
func (l *Live) Forget() { l.former.Store(nil) }

// Current is the store that was accepted last, nil before the first.
func (l *Live) Current() *Store { return l.current.Load() }

// find is the store to ask for a secret. One that is not known anywhere is the
// current one's to complain of.
func (l *Live) find(known func(*Store) bool) *Store {
	current := l.current.Load()
	for _, s := range []*Store{current, l.offered.Load(), l.former.Load()} {
		if s != nil && known(s) {
			return s
		}
	}
	if current != nil {
		return current
	}
	return NewStore(nil)
}

// Secret implements filters.SecretSource.
func (l *Live) Secret(name string) (string, error) {
	return l.find(func(s *Store) bool { return s.knows(name) }).Secret(name)
}

// Refetch implements filters.SecretRefetcher. Files and variables are read at each
// use, and need nobody to be asked.
func (l *Live) Refetch(name string) {
	if l.Source != nil {
		l.Source(name)
	}
}

// Value returns one value of a generic secret.
func (l *Live) Value(k resource.SecretKey) (string, error) {
	return l.find(func(s *Store) bool { return s.Has(k.Name) }).Value(k)
}

// Certificate is Store.Certificate.
func (l *Live) Certificate(name string) (*tls.Certificate, error) {
	return l.find(func(s *Store) bool { return s.Has(name) }).Certificate(name)
}

// Validation is Store.Validation.
func (l *Live) Validation(name string) (Validation, error) {
	return l.find(func(s *Store) bool { return s.Has(name) }).Validation(name)
}
