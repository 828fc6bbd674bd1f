package pgproto

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// SCRAMServer is the server's side of one exchange: Mechanisms, then First, then
// Final. It is for one exchange.
type SCRAMServer struct {
	// Verifier is what is known of the client's password.
	Verifier Verifier
	// Nonce is 18 or more random printable characters without a comma, new for
	// each exchange.
	Nonce string
	// Binding is the channel binding data of the certificate that the client
	// was shown (EndpointBinding); nil where it was shown none.
	Binding []byte

	gs2       string
	firstBare string
	ours      string // our first message
	nonce     string // both parts
}

// Mechanisms returns what to offer, best first.
func (s *SCRAMServer) Mechanisms() []string {
	if s.Binding != nil {
		return []string{MechanismSCRAMPlus, MechanismSCRAM}
	}
	return []string{MechanismSCRAM}
}

// First takes the mechanism that the client chose and its first message, and
// returns ours.
func (s *SCRAMServer) First(mechanism string, message []byte) ([]byte, error) {
	if !slices.Contains(s.Mechanisms(), mechanism) {
		return nil, malformed("client selected an invalid SASL mechanism %.40q", mechanism)
	}
	if len(message) > maxSCRAMMessage {
		return nil, malformed("SCRAM message of %d bytes", len(message))
	}
	if len(s.Nonce) < minNonce || !printableNonce(s.Nonce) {
		return nil, fmt.Errorf("nonce for SCRAM has %d characters or some that are not allowed", len(s.Nonce))
	}
	bare, err := s.readGS2(mechanism, message)
	if err != nil {
		return nil, err
	}
	_, rest, err := attribute(bare, 'n') // the user's name is that of the start-up
	if err != nil {
		return nil, err
	}
	nonce, _, err := attribute(rest, 'r')
	if err != nil {
		return nil, err
	}
	if !printableNonce(nonce) {
		return nil, malformed("non-printable characters in SCRAM nonce")
	}
	s.firstBare, s.nonce = string(bare), nonce+s.Nonce
	s.ours = fmt.Sprintf("r=%s,s=%s,i=%d", s.nonce, base64.StdEncoding.EncodeToString(s.Verifier.Salt), s.Verifier.Iterations)
	return []byte(s.ours), nil
}

// readGS2 reads the header that tells about channel binding, and returns what
// comes after it.
func (s *SCRAMServer) readGS2(mechanism string, message []byte) ([]byte, error) {
	flag, rest, ok := bytes.Cut(message, []byte{','})
	if !ok {
		return nil, malformed("SCRAM message is malformed")
	}
	authzid, bare, ok := bytes.Cut(rest, []byte{','})
	if !ok {
		return nil, malformed("SCRAM message is malformed")
	}
	if len(authzid) > 0 {
		return nil, malformed("client uses an authorization identity, which is not supported")
	}
	s.gs2 = string(message[:len(message)-len(bare)])
	plus := mechanism == MechanismSCRAMPlus
	switch {
	case s.gs2 == "n,," && !plus, s.gs2 == gs2Binding && plus:
	case s.gs2 == "y,," && !plus && s.Binding == nil:
	case s.gs2 == "y,," && !plus:
		// Somebody between us and the client has removed the better mechanism.
		return nil, malformed("client supports SCRAM channel binding but thinks that the server does not")
	default:
		return nil, malformed("channel binding flag %.40q does not fit %s", flag, mechanism)
	}
	return bare, nil
}

// Final takes the client's final message and returns ours. The error is
// ErrAuthFailed if the password is wrong.
func (s *SCRAMServer) Final(message []byte) ([]byte, error) {
	if len(message) > maxSCRAMMessage {
		return nil, malformed("SCRAM message of %d bytes", len(message))
	}
	cut := bytes.LastIndex(message, []byte(",p="))
	if cut < 0 {
		return nil, malformed("SCRAM message lacks a proof")
	}
	bound, rest, err := attribute(message[:cut], 'c')
	if err != nil {
		return nil, err
	}
	nonce, _, err := attribute(rest, 'r')
	if err != nil {
		return nil, err
	}
	want := []byte(s.gs2)
	if strings.HasPrefix(s.gs2, "p=") {
		want = append(want, s.Binding...)
	}
	if bound != base64.StdEncoding.EncodeToString(want) {
		return nil, fmt.Errorf("%w: SCRAM channel binding check failed", ErrAuthFailed)
	}
	if nonce != s.nonce {
		return nil, malformed("SCRAM nonce is not the one that was given")
	}
	var proof [sha256.Size]byte
	if !decodeKey(proof[:], string(message[cut+len(",p="):])) {
		return nil, malformed("SCRAM proof is malformed")
	}
	auth := s.firstBare + "," + s.ours + "," + string(message[:cut])
	signature := sign(s.Verifier.StoredKey[:], auth)
	for i := range proof {
		proof[i] ^= signature[i]
	}
	stored := sha256.Sum256(proof[:])
	if !hmac.Equal(stored[:], s.Verifier.StoredKey[:]) || s.Verifier.Doomed {
		return nil, ErrAuthFailed
	}
	server := sign(s.Verifier.ServerKey[:], auth)
	return []byte("v=" + base64.StdEncoding.EncodeToString(server[:])), nil
}
