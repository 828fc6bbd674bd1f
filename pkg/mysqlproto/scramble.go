package mysqlproto

import (
	"crypto/ed25519"
	"crypto/pbkdf2"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // the protocol's
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"slices"

	"filippo.io/edwards25519"
)

// scrambleLen is how many bytes a scramble has, without the zero at its end.
const scrambleLen = 20

// NativeResponse answers a scramble for mysql_native_password:
// SHA1(password) XOR SHA1(scramble, SHA1(SHA1(password))). Nothing answers for
// an empty password.
func NativeResponse(password string, scramble []byte) []byte {
	if password == "" {
		return nil
	}
	once := sha1.Sum([]byte(password)) //nolint:gosec // the protocol's
	twice := sha1.Sum(once[:])         //nolint:gosec // the protocol's
	h := sha1.New()                    //nolint:gosec // the protocol's
	h.Write(scramble)
	h.Write(twice[:])
	return xor(h.Sum(nil), once[:])
}

// CachingSHA2Response answers a scramble for caching_sha2_password:
// SHA256(password) XOR SHA256(SHA256(SHA256(password)), scramble). Nothing
// answers for an empty password.
func CachingSHA2Response(password string, scramble []byte) []byte {
	if password == "" {
		return nil
	}
	once := sha256.Sum256([]byte(password))
	twice := sha256.Sum256(once[:])
	h := sha256.New()
	h.Write(twice[:])
	h.Write(scramble)
	return xor(h.Sum(nil), once[:])
}

// CheckResponse reports whether response is what a client that knows the password
// answers to the scramble, for mysql_native_password, caching_sha2_password and
// mysql_clear_password. An empty password is never right.
func CheckResponse(plugin, password string, scramble, response []byte) bool {
	var want []byte
	switch plugin {
	case PluginNative:
		want = NativeResponse(password, scramble)
	case PluginCachingSHA2:
		want = CachingSHA2Response(password, scramble)
	case PluginCleartext:
		want, response = []byte(password), trimZero(response)
	}
	return len(want) > 0 && subtle.ConstantTimeCompare(want, response) == 1
}

// xor returns a XOR b in a.
func xor(a, b []byte) []byte {
	subtle.XORBytes(a, a, b)
	return a
}

// ed25519Response signs the scramble as MariaDB's client_ed25519 does: Ed25519
// with SHA512(password) in place of the hash of a seed.
func ed25519Response(password string, scramble []byte) ([]byte, error) {
	expanded := sha512.Sum512([]byte(password))
	s, err := new(edwards25519.Scalar).SetBytesWithClamping(expanded[:32])
	if err != nil {
		return nil, fmt.Errorf("making a key of the password: %w", err)
	}
	public := new(edwards25519.Point).ScalarBaseMult(s).Bytes()
	r, err := hashToScalar(expanded[32:], scramble)
	if err != nil {
		return nil, err
	}
	commitment := new(edwards25519.Point).ScalarBaseMult(r).Bytes()
	k, err := hashToScalar(commitment, public, scramble)
	if err != nil {
		return nil, err
	}
	return append(commitment, k.MultiplyAdd(k, s, r).Bytes()...), nil
}

// Lengths of what both sides of parsec send.
const (
	parsecNonce   = 32
	parsecSalt    = 18
	parsecMaxCost = 10 // 2^20 rounds: servers know 0 to 3
)

// parsecResponse answers the scramble and the extended salt of MariaDB's parsec:
// 32 bytes of our own, and both sides' bytes signed with an Ed25519 key whose seed
// is PBKDF2 of the password.
func parsecResponse(random io.Reader, password string, scramble, extSalt []byte) ([]byte, error) {
	if len(extSalt) < 2 || extSalt[0] != 'P' || len(extSalt) != 2+parsecSalt {
		return nil, malformed("extended salt of parsec is malformed")
	}
	if extSalt[1] > parsecMaxCost {
		return nil, fmt.Errorf("%w: it asks for 2^%d rounds of PBKDF2", ErrMethodRefused, 10+int(extSalt[1]))
	}
	seed, err := pbkdf2.Key(sha512.New, password, extSalt[2:], 1024<<extSalt[1], ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("making a key of the password: %w", err)
	}
	response := make([]byte, parsecNonce, parsecNonce+ed25519.SignatureSize)
	if _, err := io.ReadFull(random, response); err != nil {
		return nil, fmt.Errorf("making a scramble: %w", err)
	}
	signature := ed25519.Sign(ed25519.NewKeyFromSeed(seed), append(slices.Clone(scramble), response...))
	return append(response, signature...), nil
}

func hashToScalar(parts ...[]byte) (*edwards25519.Scalar, error) {
	h := sha512.New()
	for _, part := range parts {
		h.Write(part)
	}
	s, err := new(edwards25519.Scalar).SetUniformBytes(h.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("signing the scramble: %w", err)
	}
	return s, nil
}

// encryptPassword makes what a server decrypts to the password and a zero byte,
// XORed with the scramble again and again (RSA with OAEP and SHA-1).
func encryptPassword(random io.Reader, password string, scramble []byte, key *rsa.PublicKey) ([]byte, error) {
	if len(scramble) == 0 {
		return nil, malformed("server gave no scramble")
	}
	plain := append([]byte(password), 0)
	for i := range plain {
		plain[i] ^= scramble[i%len(scramble)]
	}
	b, err := rsa.EncryptOAEP(sha1.New(), random, key, plain, nil) //nolint:gosec // the protocol's
	if err != nil {
		return nil, fmt.Errorf("encrypting the password for the server: %w", err)
	}
	return b, nil
}

// Bounds of what a server may send as its key, in bytes of PEM and of the modulus.
const (
	maxPublicKey = 16 << 10
	maxModulus   = 1 << 10
)

// ParsePublicKey reads a server's public key in PEM, as servers send it and as
// it lies in their data directory (public_key.pem).
func ParsePublicKey(data []byte) (*rsa.PublicKey, error) {
	if len(data) > maxPublicKey {
		return nil, malformed("public key of %d bytes", len(data))
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, malformed("public key is not in PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the server's public key: %w", err)
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, malformed("public key is a %T, not RSA", parsed)
	}
	if key.Size() > maxModulus {
		return nil, malformed("public key has %d bits, more than %d", key.Size()*8, maxModulus*8)
	}
	return key, nil
}
