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
	own    atomic.Pointer[secrets.Store]
	shared *sharedSecrets
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
	if own := v.own.Load(); own.Has(key.Name) {
		return own.Value(key)
	}
	if key.Key == "" {
		return v.shared.load().Secret(key.Name)
	}
	return v.shared.load().Secret(key.Name + "/" + key.Key)
}

// certificates is the source that has the named secret.
func (v *secretView) certificates(name string) (tlsclient.Source, error) {
	if own := v.own.Load(); own.Has(name) {
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
