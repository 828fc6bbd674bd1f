package pgproto

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// Deriver derives SCRAM keys: DeriveSCRAM, or something that keeps its results.
type Deriver func(password string, salt []byte, iterations int) (SCRAMKeys, error)

// scramClient is the client's side of one exchange: first, final, verify.
type scramClient struct {
	user          string // empty: the server takes the one of the start-up
	password      string
	nonce         string
	gs2           string // the header, which says what the client binds to
	binding       []byte // channel binding data, nil without -PLUS
	maxIterations int
	derive        Deriver
	signature     [sha256.Size]byte // what the server has to show
	answered      bool              // final has been called
	verified      bool
}

// first returns the client's first message.
func (s *scramClient) first() ([]byte, error) {
	if len(s.nonce) < minNonce || !printableNonce(s.nonce) {
		return nil, fmt.Errorf("nonce for SCRAM has %d characters or some that are not allowed: need %d or more printable ones", len(s.nonce), minNonce)
	}
	return []byte(s.gs2 + s.firstBare()), nil
}

func (s *scramClient) firstBare() string { return "n=" + s.user + ",r=" + s.nonce }

// final takes the server's first message and returns the client's final one.
func (s *scramClient) final(serverFirst []byte) ([]byte, error) {
	nonce, salt, iterations, err := parseServerFirst(serverFirst)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(nonce, s.nonce) || len(nonce) == len(s.nonce) || !printableNonce(nonce) {
		return nil, fmt.Errorf("%w: it has not added to the nonce", ErrServerFalse)
	}
	if iterations > s.maxIterations {
		return nil, fmt.Errorf("%w: it asks for %d rounds of PBKDF2, more than %d", ErrMethodRefused, iterations, s.maxIterations)
	}
	keys, err := s.derive(s.password, salt, iterations)
	if err != nil {
		return nil, err
	}
	out := "c=" + base64.StdEncoding.EncodeToString(append([]byte(s.gs2), s.binding...)) + ",r=" + nonce
	message := s.firstBare() + "," + string(serverFirst) + "," + out
	stored := sha256.Sum256(keys.ClientKey[:])
	proof := sign(stored[:], message)
	for i := range proof {
		proof[i] ^= keys.ClientKey[i]
	}
	s.signature, s.answered = sign(keys.ServerKey[:], message), true
	return []byte(out + ",p=" + base64.StdEncoding.EncodeToString(proof[:])), nil
}

// verify takes the server's final message.
func (s *scramClient) verify(serverFinal []byte) error {
	if len(serverFinal) > maxSCRAMMessage {
		return malformed("SCRAM message of %d bytes", len(serverFinal))
	}
	if reason, _, err := attribute(serverFinal, 'e'); err == nil {
		return fmt.Errorf("%w: %.100q", ErrServerRejected, reason)
	}
	value, _, err := attribute(serverFinal, 'v')
	if err != nil {
		return err
	}
	var got [sha256.Size]byte
	if !decodeKey(got[:], value) || !hmac.Equal(got[:], s.signature[:]) {
		return fmt.Errorf("%w: its signature does not fit the password", ErrServerFalse)
	}
	s.verified = true
	return nil
}

func parseServerFirst(message []byte) (nonce string, salt []byte, iterations int, err error) {
	if len(message) > maxSCRAMMessage {
		return "", nil, 0, malformed("SCRAM message of %d bytes", len(message))
	}
	nonce, rest, err := attribute(message, 'r')
	if err != nil {
		return "", nil, 0, err
	}
	encoded, rest, err := attribute(rest, 's')
	if err != nil {
		return "", nil, 0, err
	}
	rounds, _, err := attribute(rest, 'i')
	if err != nil {
		return "", nil, 0, err
	}
	if salt, err = base64.StdEncoding.DecodeString(encoded); err != nil || len(salt) == 0 || len(salt) > maxSalt {
		return "", nil, 0, malformed("salt of SCRAM is malformed")
	}
	if iterations, err = strconv.Atoi(rounds); err != nil || iterations < 1 {
		return "", nil, 0, malformed("number of rounds of SCRAM is malformed")
	}
	return nonce, salt, iterations, nil
}
