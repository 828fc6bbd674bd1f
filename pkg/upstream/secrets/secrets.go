// Package secrets gives out the values of SDS secrets: passwords, certificates
// and trusted roots. Files and environment variables are read when a value is
// asked for, so that a file that was replaced takes effect with the next
// connection. No value is ever logged, nor part of an error.
package secrets

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Errors of a Store.
var (
	ErrUnknown = errors.New("no such secret")
	ErrKind    = errors.New("secret is of another kind")
)

// Validation is whom to trust.
type Validation struct {
	Roots *x509.CertPool
	// Names, of which a certificate must carry one; empty: any name.
	Names []string
}

// Store holds the secrets of one snapshot. It is safe for concurrent use and
// implements filters.SecretSource.
type Store struct {
	secrets map[string]*resource.Secret // read-only after construction

	mu           sync.Mutex // guards below
	files        map[string]*file
	certificates map[string]*certificate
	pools        map[string]*pool
}

// NewStore makes a store of the secrets. Nothing is read yet.
func NewStore(list []*resource.Secret) *Store {
	s := &Store{
		secrets:      make(map[string]*resource.Secret, len(list)),
		files:        make(map[string]*file),
		certificates: make(map[string]*certificate),
		pools:        make(map[string]*pool),
	}
	for _, secret := range list {
		s.secrets[secret.Name] = secret
	}
	return s
}

// Has reports whether there is a secret of that name.
func (s *Store) Has(name string) bool {
	_, ok := s.secrets[name]
	return ok
}

// knows reports whether Secret would find a secret of that name.
func (s *Store) knows(name string) bool {
	if s.Has(name) {
		return true
	}
	cut := strings.LastIndexByte(name, '/')
	return cut > 0 && s.Has(name[:cut])
}

// Secret returns a generic secret by name, or one of its values by "name/key".
func (s *Store) Secret(name string) (string, error) {
	if s.Has(name) {
		return s.value(name, "")
	}
	if cut := strings.LastIndexByte(name, '/'); cut > 0 {
		return s.value(name[:cut], name[cut+1:])
	}
	return "", fmt.Errorf("secret %q: %w", name, ErrUnknown)
}

// Value returns one value of a generic secret. Without a key it is the only
// value there is.
func (s *Store) Value(k resource.SecretKey) (string, error) { return s.value(k.Name, k.Key) }

func (s *Store) value(name, key string) (string, error) {
	secret, ok := s.secrets[name]
	if !ok {
		return "", fmt.Errorf("secret %q: %w", name, ErrUnknown)
	}
	if secret.Generic == nil {
		return "", fmt.Errorf("secret %q: %w: want a generic one", name, ErrKind)
	}
	source, ok := secret.Generic[key]
	if !ok && key == "" && len(secret.Generic) == 1 {
		for _, only := range secret.Generic {
			source, ok = only, true
		}
	}
	if !ok {
		return "", fmt.Errorf("secret %q: key %q: %w", name, key, ErrUnknown)
	}
	b, err := s.read(source)
	if err != nil {
		return "", fmt.Errorf("secret %q: %w", name, err)
	}
	return trim(source, b), nil
}

// Certificate returns a certificate with its private key. While the files of
// one that was good do not fit each other, because one of them was replaced
// before the other, it is still the old one.
func (s *Store) Certificate(name string) (*tls.Certificate, error) {
	secret, ok := s.secrets[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("secret %q: %w", name, ErrUnknown)
	case secret.Certificate == nil:
		return nil, fmt.Errorf("secret %q: %w: want a certificate", name, ErrKind)
	}
	cert, err := s.certificate(name, secret.Certificate)
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	return cert, nil
}

// Validation returns whom to trust.
func (s *Store) Validation(name string) (Validation, error) {
	secret, ok := s.secrets[name]
	switch {
	case !ok:
		return Validation{}, fmt.Errorf("secret %q: %w", name, ErrUnknown)
	case secret.Validation == nil:
		return Validation{}, fmt.Errorf("secret %q: %w: want a validation context", name, ErrKind)
	}
	roots, err := s.roots(name, secret.Validation)
	if err != nil {
		return Validation{}, fmt.Errorf("secret %q: %w", name, err)
	}
	return Validation{Roots: roots, Names: secret.Validation.Names}, nil
}

// trim drops the end of line that editors and echo leave in a file.
func trim(source resource.DataSource, b []byte) string {
	text := string(b)
	if source.Filename == "" {
		return text
	}
	text = strings.TrimSuffix(text, "\n")
	return strings.TrimSuffix(text, "\r")
}

// CheckError says which secret cannot be read.
type CheckError struct {
	Secret string
	Err    error
}

// Error implements error.
func (e *CheckError) Error() string { return e.Err.Error() } // which names the secret

// Unwrap returns the cause.
func (e *CheckError) Unwrap() error { return e.Err }

// Check reads every secret once. The error is one CheckError for each that is
// not good.
func (s *Store) Check() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.secrets)) {
		if err := s.check(s.secrets[name]); err != nil {
			errs = append(errs, &CheckError{name, err})
		}
	}
	return errors.Join(errs...)
}

func (s *Store) check(secret *resource.Secret) error {
	var err error
	switch {
	case secret.Certificate != nil:
		_, err = s.Certificate(secret.Name)
	case secret.Validation != nil:
		_, err = s.Validation(secret.Name)
	default:
		for _, key := range slices.Sorted(maps.Keys(secret.Generic)) {
			_, one := s.value(secret.Name, key)
			err = errors.Join(err, one)
		}
	}
	return err
}
