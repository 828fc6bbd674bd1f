// Package secrets reads what SDS resources name: values in files, environment
// variables or the resource itself.
//
// A [Set] belongs to one snapshot. It is read whole before the snapshot is
// accepted, so that a missing file refuses it, and afterwards answers from
// memory; [Set.Refresh] reads it again and keeps the old where the new is bad.
package secrets

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// ErrUnknown is returned for a secret that the snapshot does not have.
var ErrUnknown = errors.New("unknown secret")

// maxFile bounds a file, in bytes.
const maxFile = 1 << 20

// LookupEnv finds an environment variable, as os.LookupEnv does.
type LookupEnv func(name string) (string, bool)

// Set is the secrets of one snapshot. Its methods may be called from any
// goroutine.
type Set struct {
	// read-only after construction
	specs     []*resource.Secret
	lookupEnv LookupEnv

	values atomic.Pointer[values]
}

type values struct {
	generic  map[resource.SecretKey]string
	pairs    map[string]*tls.Certificate
	trusted  map[string]*Trust
	contents map[string]string // file to what was read, to see changes
}

// Trust is whom a validation context trusts.
type Trust struct {
	Roots *x509.CertPool // nil: the system's
	Names []string       // one of which a certificate must carry; empty: any
}

// Load reads every secret, or says what is wrong with all of them.
func Load(specs []*resource.Secret, env LookupEnv) (*Set, error) {
	if env == nil {
		env = os.LookupEnv
	}
	s := &Set{specs: specs, lookupEnv: env}
	v, err := s.read()
	if err != nil {
		return nil, err
	}
	s.values.Store(v)
	return s, nil
}

// Refresh reads the secrets again. On an error everything stays as it was.
func (s *Set) Refresh() (changed bool, err error) {
	v, err := s.read()
	if err != nil {
		return false, err
	}
	if maps.Equal(v.contents, s.values.Load().contents) {
		return false, nil
	}
	s.values.Store(v)
	return true, nil
}

// Files lists the files that the secrets are read from, sorted, once each.
func (s *Set) Files() []string {
	return slices.Sorted(maps.Keys(s.values.Load().contents))
}

// Secret implements filters.SecretSource: name is a resource's, whose only
// value is meant, or "resource/key".
func (s *Set) Secret(name string) (string, error) {
	v := s.values.Load()
	if text, ok := v.generic[resource.SecretKey{Name: name}]; ok {
		return text, nil
	}
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		if text, ok := v.generic[resource.SecretKey{Name: name[:i], Key: name[i+1:]}]; ok {
			return text, nil
		}
	}
	return "", fmt.Errorf("%w %q", ErrUnknown, name)
}

// Value finds one value of a generic secret.
func (s *Set) Value(k resource.SecretKey) (string, error) {
	if text, ok := s.values.Load().generic[k]; ok {
		return text, nil
	}
	return "", fmt.Errorf("%w %q, key %q", ErrUnknown, k.Name, k.Key)
}

// KeyPair finds a certificate with its private key.
func (s *Set) KeyPair(name string) (*tls.Certificate, error) {
	if p, ok := s.values.Load().pairs[name]; ok {
		return p, nil
	}
	return nil, fmt.Errorf("%w %q of a certificate", ErrUnknown, name)
}

// Trust finds a validation context.
func (s *Set) Trust(name string) (*Trust, error) {
	if t, ok := s.values.Load().trusted[name]; ok {
		return t, nil
	}
	return nil, fmt.Errorf("%w %q of a validation context", ErrUnknown, name)
}

func (s *Set) read() (*values, error) {
	v := &values{
		generic: map[resource.SecretKey]string{}, pairs: map[string]*tls.Certificate{},
		trusted: map[string]*Trust{}, contents: map[string]string{},
	}
	var errs []error
	for _, spec := range s.specs {
		if err := s.readOne(v, spec); err != nil {
			errs = append(errs, fmt.Errorf("secret %q: %w", spec.Name, err))
		}
	}
	return v, errors.Join(errs...)
}

func (s *Set) readOne(v *values, spec *resource.Secret) error {
	switch {
	case spec.Certificate != nil:
		return s.readPair(v, spec)
	case spec.Validation != nil:
		return s.readTrust(v, spec)
	}
	for key, source := range spec.Generic {
		text, err := s.source(v, source)
		if err != nil {
			return err
		}
		if len(source.Inline) == 0 {
			text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
		}
		v.generic[resource.SecretKey{Name: spec.Name, Key: key}] = string(text)
	}
	return nil
}

func (s *Set) readPair(v *values, spec *resource.Secret) error {
	chain, err := s.source(v, spec.Certificate.Chain)
	if err != nil {
		return err
	}
	key, err := s.source(v, spec.Certificate.Key)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return fmt.Errorf("reading the certificate and its key: %w", err)
	}
	v.pairs[spec.Name] = &pair
	return nil
}

func (s *Set) readTrust(v *values, spec *resource.Secret) error {
	t := &Trust{Names: spec.Validation.Names}
	if !spec.Validation.SystemRoots {
		pem, err := s.source(v, spec.Validation.CA)
		if err != nil {
			return err
		}
		t.Roots = x509.NewCertPool()
		if !t.Roots.AppendCertsFromPEM(pem) {
			return errors.New("no certificate authority found in PEM form")
		}
	}
	v.trusted[spec.Name] = t
	return nil
}

func (s *Set) source(v *values, d resource.DataSource) ([]byte, error) {
	switch {
	case d.Filename != "":
		b, err := readFile(d.Filename)
		if err != nil {
			return nil, err
		}
		v.contents[d.Filename] = string(b)
		return b, nil
	case d.Env != "":
		text, ok := s.lookupEnv(d.Env)
		if !ok {
			return nil, fmt.Errorf("environment variable %s is not set", d.Env)
		}
		return []byte(text), nil
	default:
		return d.Inline, nil
	}
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxFile)
	}
	return os.ReadFile(name)
}
