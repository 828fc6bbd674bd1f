package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// What the life of an authority is made of. Its end is prepared long before:
// the next one is published, so that every proxy trusts it when it begins to
// sign, and the former stays trusted until nothing that it signed is left.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	prepareBefore = 2 * 365 * 24 * time.Hour // left to the signing one when the next is made
	overlap       = 7 * 24 * time.Hour       // from making the next until it signs, and again until the former goes
	backdate      = 5 * time.Minute          // for clocks that are behind
)

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "EC PRIVATE KEY"
)

// ErrKept is what a Store gives that holds something else than an authority.
var ErrKept = errors.New("what is kept is no authority")

// authority is a certificate that signs, and its key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of an authority: %w", err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "dragoman control plane", SerialNumber: serial.Text(16)},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, err := signed(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key}, nil
}

// issue signs a certificate for a server of the given DNS names and addresses.
func (a *authority) issue(names []string, now time.Time, life time.Duration) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making the key of a certificate: %w", err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "dragoman control plane"},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(life),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	cert, err := signed(template, a.cert, &key.PublicKey, a.key)
	return cert, key, err
}

func signed(template, parent *x509.Certificate, public *ecdsa.PublicKey, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return n, nil
}

// authorities are the one that signs, and those that are trusted beside it.
type authorities struct {
	active   *authority
	next     *authority        // nil: its time has not come
	previous *x509.Certificate // nil: nothing signed by it is left
}

// advance takes the steps whose time has come. It changes nothing in its
// receiver, and reports whether the result differs.
func (a authorities) advance(now time.Time) (authorities, bool, error) {
	before := a
	if a.active == nil || now.After(a.active.cert.NotAfter) && a.next == nil {
		fresh, err := newAuthority(now)
		if err != nil {
			return before, false, err
		}
		return authorities{active: fresh}, true, nil
	}
	if a.next != nil && now.After(a.next.cert.NotBefore.Add(overlap)) {
		a = authorities{active: a.next, previous: a.active.cert}
	}
	if a.previous != nil && now.After(a.active.cert.NotBefore.Add(2*overlap)) {
		a.previous = nil
	}
	if a.next == nil && now.After(a.active.cert.NotAfter.Add(-prepareBefore)) {
		next, err := newAuthority(now)
		if err != nil {
			return before, false, err
		}
		a.next = next
	}
	return a, a != before, nil
}

// bundle is what proxies are to trust, PEM, the signing one first.
func (a authorities) bundle() []byte {
	out := encodeCert(a.active.cert)
	if a.next != nil {
		out = append(out, encodeCert(a.next.cert)...)
	}
	if a.previous != nil {
		out = append(out, encodeCert(a.previous)...)
	}
	return out
}

func (a authorities) encode() (map[string][]byte, error) {
	key, err := encodeKey(a.active.key)
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{keyCert: encodeCert(a.active.cert), keyKey: key}
	if a.next != nil {
		data[keyNextCert] = encodeCert(a.next.cert)
		if data[keyNextKey], err = encodeKey(a.next.key); err != nil {
			return nil, err
		}
	}
	if a.previous != nil {
		data[keyPrevious] = encodeCert(a.previous)
	}
	return data, nil
}

func decodeAuthorities(data map[string][]byte) (authorities, error) {
	var out authorities
	var err error
	if out.active, err = decodeAuthority(data, keyCert, keyKey); err != nil {
		return authorities{}, err
	}
	if len(data[keyNextCert]) > 0 {
		if out.next, err = decodeAuthority(data, keyNextCert, keyNextKey); err != nil {
			return authorities{}, err
		}
	}
	if len(data[keyPrevious]) > 0 {
		if out.previous, err = decodeCert(data, keyPrevious); err != nil {
			return authorities{}, err
		}
	}
	return out, nil
}

func decodeAuthority(data map[string][]byte, certKey, keyKey string) (*authority, error) {
	cert, err := decodeCert(data, certKey)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data[keyKey])
	if block == nil {
		return nil, fmt.Errorf("%w: %s is not PEM", ErrKept, keyKey)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: no EC private key", ErrKept, keyKey) // the cause could quote it
	}
	if public, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(&key.PublicKey) {
		return nil, fmt.Errorf("%w: %s does not belong to %s", ErrKept, keyKey, certKey)
	}
	return &authority{cert, key}, nil
}

func decodeCert(data map[string][]byte, name string) (*x509.Certificate, error) {
	block, _ := pem.Decode(data[name])
	if block == nil || block.Type != pemCertificate {
		return nil, fmt.Errorf("%w: %s is not PEM", ErrKept, name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKept, name, err)
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("%w: %s may not sign", ErrKept, name)
	}
	return cert, nil
}

func encodeCert(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw})
}

func encodeKey(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return bytes.Clone(pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der})), nil
}
