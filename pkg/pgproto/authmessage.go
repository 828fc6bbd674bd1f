package pgproto

import (
	"crypto/x509"
	"encoding/binary"
	"errors"
	"slices"
)

// What authentication fails with. Errors of this package wrap one of them.
var (
	// ErrMethodRefused: the server asks for what the configuration does not
	// allow: a fake server could ask for the password itself.
	ErrMethodRefused = errors.New("pgproto: authentication method refused")
	// ErrServerFalse: the server could not show that it knows the password.
	ErrServerFalse = errors.New("pgproto: server is not genuine")
	// ErrServerRejected: the server ended the exchange with an error of SASL.
	ErrServerRejected = errors.New("pgproto: server rejected the exchange")
	// ErrAuthFailed: the client's password is wrong, or the user is not known.
	ErrAuthFailed = errors.New("pgproto: authentication failed")
)

// AuthCode tells what an Authentication message asks for (section 54.7).
type AuthCode uint32

// Codes of Authentication messages. Those in between (Kerberos 5, GSSAPI, SSPI)
// can't be answered from a password.
const (
	AuthOK           AuthCode = 0
	AuthCleartext    AuthCode = 3
	AuthMD5          AuthCode = 5
	AuthGSS          AuthCode = 7
	AuthSSPI         AuthCode = 9
	AuthSASL         AuthCode = 10
	AuthSASLContinue AuthCode = 11
	AuthSASLFinal    AuthCode = 12
)

// Names of SASL mechanisms (section 54.3).
const (
	MechanismSCRAM     = "SCRAM-SHA-256"
	MechanismSCRAMPlus = "SCRAM-SHA-256-PLUS"
)

// maxMechanisms bounds what a server may offer.
const maxMechanisms = 32

// ParseAuthentication reads the payload of an Authentication message: what it
// asks for, and what it says about it (a salt, mechanisms, a SASL message).
func ParseAuthentication(payload []byte) (code AuthCode, data []byte, err error) {
	c := cursor{b: payload}
	code = AuthCode(c.uint32())
	if c.short {
		return 0, nil, malformed("Authentication has %d bytes", len(payload))
	}
	return code, slices.Clip(c.b), nil
}

// AppendAuthentication appends an Authentication message.
func AppendAuthentication(dst []byte, code AuthCode, data []byte) []byte {
	dst = AppendHead(dst, TypeAuthentication, 4+len(data))
	return append(binary.BigEndian.AppendUint32(dst, uint32(code)), data...)
}

// AppendAuthenticationSASL appends the request for SASL by one of the
// mechanisms, best first.
func AppendAuthenticationSASL(dst []byte, mechanisms ...string) []byte {
	start := len(dst)
	dst = AppendAuthentication(dst, AuthSASL, nil)
	for _, m := range mechanisms {
		dst = appendCString(dst, m)
	}
	return finish(append(dst, 0), start)
}

// parseMechanisms reads the data of AuthSASL.
func parseMechanisms(data []byte) ([]string, error) {
	var names []string
	c := cursor{b: data}
	for {
		name := c.cstring()
		if len(name) == 0 {
			break
		}
		names = append(names, string(name))
	}
	if !c.done() || len(names) > maxMechanisms {
		return nil, malformed("list of SASL mechanisms is malformed")
	}
	return names, nil
}

// AppendPassword appends PasswordMessage.
func AppendPassword(dst []byte, password string) []byte {
	dst = AppendHead(dst, TypePassword, len(password)+1)
	return appendCString(dst, password)
}

// ParsePassword reads the payload of PasswordMessage.
func ParsePassword(payload []byte) (string, error) {
	c := cursor{b: payload}
	password := string(c.cstring())
	if !c.done() {
		return "", malformed("PasswordMessage is not one string")
	}
	return password, nil
}

// appendSASLInitial appends SASLInitialResponse.
func appendSASLInitial(dst []byte, mechanism string, data []byte) []byte {
	dst = AppendHead(dst, TypePassword, len(mechanism)+1+4+len(data))
	dst = appendCString(dst, mechanism)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(data)))
	return append(dst, data...)
}

// parseSASLInitial reads the payload of SASLInitialResponse.
func parseSASLInitial(payload []byte) (mechanism string, data []byte, err error) {
	c := cursor{b: payload}
	mechanism = string(c.cstring())
	size := c.uint32()
	if c.short || int64(size) != int64(len(c.b)) {
		return "", nil, malformed("SASLInitialResponse is malformed")
	}
	return mechanism, c.b, nil
}

// EndpointBinding returns the channel binding data of type tls-server-end-point
// (RFC 5929): the hash of the server's certificate by the hash function of its
// signature, SHA-256 instead of MD5 and SHA-1. It is nil for a certificate whose
// signature has no single hash function, such as Ed25519: no PostgreSQL server
// can bind to that either.
func EndpointBinding(cert *x509.Certificate) []byte {
	h := bindingHash(cert.SignatureAlgorithm)
	if h == 0 || !h.Available() {
		return nil
	}
	sum := h.New()
	sum.Write(cert.Raw)
	return sum.Sum(nil)
}
