package secrets

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// maxFile bounds a secret's file. The system's root certificates have 0.3 MB.
const maxFile = 4 << 20

// Errors of reading a value.
var (
	ErrNoRoots = errors.New("no certificate in the list of trusted ones")
	ErrEnv     = errors.New("environment variable is not set")
	ErrTooBig  = errors.New("file is too big")
)

// file is the content of a file as it was last read.
type file struct {
	info    fs.FileInfo
	content []byte
}

// certificate is a parsed pair, and what it was parsed from.
type certificate struct {
	chain, key []byte
	parsed     *tls.Certificate
}

// pool is a parsed list of roots, and what it was parsed from.
type pool struct {
	ca     []byte
	parsed *x509.CertPool
}

func (s *Store) read(source resource.DataSource) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readLocked(source)
}

func (s *Store) readLocked(source resource.DataSource) ([]byte, error) {
	switch {
	case source.Filename != "":
		return s.readFileLocked(source.Filename)
	case source.Env != "":
		v, ok := os.LookupEnv(source.Env)
		if !ok {
			return nil, fmt.Errorf("%w: %s", ErrEnv, source.Env)
		}
		return []byte(v), nil
	default:
		return source.Inline, nil
	}
}

// readFileLocked reads a file again only if it is another one than last time: a
// mounted Secret changes by switching a symbolic link, so that the inode changes
// where size and time might not.
func (s *Store) readFileLocked(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	known, ok := s.files[name]
	if ok && os.SameFile(known.info, info) && known.info.Size() == info.Size() && known.info.ModTime().Equal(info.ModTime()) {
		return known.content, nil
	}
	content, err := readBounded(name)
	if err != nil {
		return nil, err
	}
	s.files[name] = &file{info: info, content: content}
	return content, nil
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s: %w", name, ErrTooBig)
	}
	return content, err
}

func (s *Store) certificate(name string, spec *resource.CertificateSecret) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.certificates[name]
	next, err := s.parseCertificateLocked(spec, last)
	if err != nil {
		if last != nil {
			return last.parsed, nil
		}
		return nil, err
	}
	s.certificates[name] = next
	return next.parsed, nil
}

func (s *Store) parseCertificateLocked(spec *resource.CertificateSecret, last *certificate) (*certificate, error) {
	chain, err := s.readLocked(spec.Chain)
	if err != nil {
		return nil, fmt.Errorf("certificate chain: %w", err)
	}
	key, err := s.readLocked(spec.Key)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	if last != nil && bytes.Equal(chain, last.chain) && bytes.Equal(key, last.key) {
		return last, nil
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, err
	}
	return &certificate{chain: chain, key: key, parsed: &pair}, nil
}

func (s *Store) roots(name string, spec *resource.ValidationSecret) (*x509.CertPool, error) {
	if spec.SystemRoots {
		return x509.SystemCertPool()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.pools[name]
	ca, err := s.readLocked(spec.CA)
	if err == nil && last != nil && bytes.Equal(ca, last.ca) {
		return last.parsed, nil
	}
	parsed := x509.NewCertPool()
	if err == nil && !parsed.AppendCertsFromPEM(ca) {
		err = ErrNoRoots
	}
	if err != nil {
		if last != nil {
			return last.parsed, nil
		}
		return nil, err
	}
	s.pools[name] = &pool{ca: ca, parsed: parsed}
	return parsed, nil
}
