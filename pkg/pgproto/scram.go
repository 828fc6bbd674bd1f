package pgproto

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of what the other side of SCRAM may say.
const (
	// DefaultMaxIterations is the most rounds of PBKDF2 that a server may ask
	// for: some 0.3 s of CPU. PostgreSQL's own default is 4096.
	DefaultMaxIterations = 1 << 20
	maxSCRAMMessage      = 8 << 10
	maxSalt              = 1 << 10
	// minNonce is the least that SCRAM needs of a nonce: 18 random bytes have 24
	// characters in base64.
	minNonce = 18
)

// gs2Binding is how a client says that it binds to the channel.
const gs2Binding = "p=tls-server-end-point,,"

// SCRAMKeys are what SCRAM-SHA-256 makes of a password, a salt and a number of
// rounds (RFC 5802, section 3). Whoever has them can log in: they are as secret
// as the password. Deriving them costs about 0.25 us of CPU a round, so they are
// worth keeping as long as password, salt and rounds stay the same.
type SCRAMKeys struct {
	ClientKey, ServerKey [sha256.Size]byte
}

// DeriveSCRAM derives the keys, from the password prepared as PostgreSQL does.
func DeriveSCRAM(password string, salt []byte, iterations int) (SCRAMKeys, error) {
	salted, err := pbkdf2.Key(sha256.New, saslPrep(password), salt, iterations, sha256.Size)
	if err != nil {
		return SCRAMKeys{}, fmt.Errorf("deriving SCRAM keys: %w", err)
	}
	return SCRAMKeys{ClientKey: sign(salted, "Client Key"), ServerKey: sign(salted, "Server Key")}, nil
}

// Verifier makes of the keys what a server keeps.
func (k *SCRAMKeys) Verifier(salt []byte, iterations int) Verifier {
	return Verifier{Salt: salt, Iterations: iterations, StoredKey: sha256.Sum256(k.ClientKey[:]), ServerKey: k.ServerKey}
}

// Verifier is what a server keeps of a password: enough to check a client, not
// to be one.
type Verifier struct {
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey [sha256.Size]byte
	// Doomed makes every check fail in the end: it stands for a user that is
	// not known, so that a client can't tell the difference.
	Doomed bool
}

const verifierPrefix = MechanismSCRAM + "$"

// ParseVerifier reads the form in which PostgreSQL keeps a verifier in
// pg_authid.rolpassword: "SCRAM-SHA-256$rounds:salt$StoredKey:ServerKey".
func ParseVerifier(s string) (Verifier, error) {
	bad := malformed("SCRAM verifier is not of the form SCRAM-SHA-256$rounds:salt$StoredKey:ServerKey")
	rest, ok := strings.CutPrefix(s, verifierPrefix)
	if !ok {
		return Verifier{}, bad
	}
	cost, keys, ok1 := strings.Cut(rest, "$")
	rounds, salt, ok2 := strings.Cut(cost, ":")
	stored, server, ok3 := strings.Cut(keys, ":")
	if !ok1 || !ok2 || !ok3 {
		return Verifier{}, bad
	}
	var v Verifier
	var err error
	if v.Iterations, err = strconv.Atoi(rounds); err != nil || v.Iterations < 1 {
		return Verifier{}, bad
	}
	if v.Salt, err = base64.StdEncoding.DecodeString(salt); err != nil || len(v.Salt) == 0 || len(v.Salt) > maxSalt {
		return Verifier{}, bad
	}
	if !decodeKey(v.StoredKey[:], stored) || !decodeKey(v.ServerKey[:], server) {
		return Verifier{}, bad
	}
	return v, nil
}

// IsVerifier reports whether a secret has the form that ParseVerifier reads.
func IsVerifier(s string) bool { return strings.HasPrefix(s, verifierPrefix) }

// String returns the form that ParseVerifier reads.
func (v *Verifier) String() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s%d:%s$%s:%s", verifierPrefix, v.Iterations, b64(v.Salt), b64(v.StoredKey[:]), b64(v.ServerKey[:]))
}

func decodeKey(dst []byte, s string) bool {
	b, err := base64.StdEncoding.DecodeString(s)
	return err == nil && copy(dst, b) == len(dst) && len(b) == len(dst)
}

func sign(key []byte, message string) (mac [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	h.Sum(mac[:0])
	return mac
}

// attribute cuts the attribute "name=value" from the front of a SCRAM message.
func attribute(message []byte, name byte) (value string, rest []byte, err error) {
	if len(message) < 2 || message[0] != name || message[1] != '=' {
		return "", nil, malformed("SCRAM message lacks attribute %q", name)
	}
	v, rest, _ := bytes.Cut(message[2:], []byte{','})
	return string(v), rest, nil
}

// printableNonce reports whether s is a nonce as RFC 5802 has it.
func printableNonce(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ',' {
			return false
		}
	}
	return s != ""
}
