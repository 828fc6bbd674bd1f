package upstream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/tlsclient"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// ErrNoCertificates is a source of secrets that has passwords only.
var ErrNoCertificates = errors.New("the source of secrets has no certificates")

// secretView is where one cluster finds its secrets: in its own resource, else
// where all find theirs. It outlives the cluster, like the endpoints that use
// it.
type secretView struct {
	own     atomic.Pointer[secrets.Store]
	offered atomic.Pointer[secrets.Store] // of a cluster that may come to nothing
	shared  *sharedSecrets
}

// offer makes the secrets of a cluster to be known beside those of the running
// one, which come first.
func (v *secretView) offer(s *secrets.Store) { v.offered.Store(s) }

// accept puts the offered secrets in the place of those before.
func (v *secretView) accept() { v.own.Store(v.offered.Swap(nil)) }

// withdraw undoes offer.
func (v *secretView) withdraw() { v.offered.Store(nil) }

// ownStore is the cluster's own store that has the named secret, or nil.
func (v *secretView) ownStore(name string) *secrets.Store {
	for _, s := range []*secrets.Store{v.own.Load(), v.offered.Load()} {
		if s != nil && s.Has(name) {
			return s
		}
	}
	return nil
}

// sharedSecrets is the latest source of secrets of a Set.
type sharedSecrets struct {
	source atomic.Pointer[filters.SecretSource]
}

func (s *sharedSecrets) load() filters.SecretSource {
	if p := s.source.Load(); p != nil && *p != nil {
		return *p
	}
	return secrets.NewStore(nil)
}

func (v *secretView) value(key resource.SecretKey) (string, error) {
	if own := v.ownStore(key.Name); own != nil {
		return own.Value(key)
	}
	if key.Key == "" {
		return v.shared.load().Secret(key.Name)
	}
	return v.shared.load().Secret(key.Name + "/" + key.Key)
}

// certificates is the source that has the named secret.
func (v *secretView) certificates(name string) (tlsclient.Source, error) {
	if own := v.ownStore(name); own != nil {
		return own, nil
	}
	if source, ok := v.shared.load().(tlsclient.Source); ok {
		return source, nil
	}
	return nil, fmt.Errorf("secret %q: %w", name, ErrNoCertificates)
}

// Certificate implements tlsclient.Source.
func (v *secretView) Certificate(name string) (*tls.Certificate, error) {
	source, err := v.certificates(name)
	if err != nil {
		return nil, err
	}
	return source.Certificate(name)
}

// Validation implements tlsclient.Source.
func (v *secretView) Validation(name string) (secrets.Validation, error) {
	source, err := v.certificates(name)
	if err != nil {
		return secrets.Validation{}, err
	}
	return source.Validation(name)
}
