package pgproto

import (
	"crypto/subtle"
	"fmt"
)

// AuthServerConfig says how a client is checked.
type AuthServerConfig struct {
	// Method is one of MethodCleartext, MethodMD5 and MethodSCRAM.
	Method Methods
	// User and Password are what the client has to know. For MethodMD5 and
	// MethodSCRAM, Password may also be what a PostgreSQL server keeps of it.
	User, Password string
	// Doomed makes every client fail in the end: for a user that is not known.
	Doomed bool
	// Random are 32 bytes, new for each client: salts and nonces are made of it.
	Random [32]byte
	// Binding is as in SCRAMServer.
	Binding []byte
}

// scramRounds is PostgreSQL's default.
const scramRounds = 4096

// AuthServer is the server's side of authentication: what a proxy asks of an app.
// Start gives the first message; Step is given the payload of each message of
// type TypePassword. One AuthServer is for one client.
type AuthServer struct {
	config AuthServerConfig
	salt   [4]byte // for MD5
	scram  *SCRAMServer
	nonce  bool // our first message of SCRAM is sent
	done   bool
}

// NewAuthServer returns the server's side of one authentication. With MethodSCRAM
// and a password that is no verifier it derives the keys, which takes 1 ms.
func NewAuthServer(config AuthServerConfig) (*AuthServer, error) {
	a := &AuthServer{config: config}
	copy(a.salt[:], config.Random[:])
	switch config.Method {
	case MethodCleartext, MethodMD5:
		return a, nil
	case MethodSCRAM:
	default:
		return nil, fmt.Errorf("%w: %v is no method to check a client with", ErrMethodRefused, config.Method)
	}
	verifier, err := config.verifier()
	if err != nil {
		return nil, err
	}
	verifier.Doomed = verifier.Doomed || config.Doomed
	a.scram = &SCRAMServer{Verifier: verifier, Nonce: md5Hex(config.Random[16:])[3:], Binding: config.Binding}
	return a, nil
}

func (c *AuthServerConfig) verifier() (Verifier, error) {
	if IsVerifier(c.Password) {
		return ParseVerifier(c.Password)
	}
	salt := c.Random[:16]
	keys, err := DeriveSCRAM(c.Password, salt, scramRounds)
	if err != nil {
		return Verifier{}, err
	}
	return keys.Verifier(salt, scramRounds), nil
}

// Start appends the message that asks for the password.
func (a *AuthServer) Start(dst []byte) []byte {
	switch a.config.Method {
	case MethodCleartext:
		return AppendAuthentication(dst, AuthCleartext, nil)
	case MethodMD5:
		return AppendAuthentication(dst, AuthMD5, a.salt[:])
	}
	return AppendAuthenticationSASL(dst, a.scram.Mechanisms()...)
}

// Step takes what the client answers, and appends what to say to it. When done,
// the client is who it says; AuthenticationOk is left to the caller. The error
// is ErrAuthFailed if the password is wrong, or a *ProtocolError.
func (a *AuthServer) Step(dst, payload []byte) (out []byte, done bool, err error) {
	if a.done {
		return dst, false, malformed("PasswordMessage comes out of turn")
	}
	if a.scram != nil {
		return a.stepSCRAM(dst, payload)
	}
	got, err := ParsePassword(payload)
	if err != nil {
		return dst, false, err
	}
	want := a.config.Password
	if a.config.Method == MethodMD5 {
		if !IsMD5Stored(want) {
			want = MD5Stored(a.config.User, want)
		}
		want = MD5Response(want, a.salt[:])
	}
	if subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 0 || a.config.Password == "" || a.config.Doomed {
		return dst, false, ErrAuthFailed
	}
	a.done = true
	return dst, true, nil
}

func (a *AuthServer) stepSCRAM(dst, payload []byte) (out []byte, done bool, err error) {
	if !a.nonce {
		mechanism, data, err := parseSASLInitial(payload)
		if err != nil {
			return dst, false, err
		}
		first, err := a.scram.First(mechanism, data)
		if err != nil {
			return dst, false, err
		}
		a.nonce = true
		return AppendAuthentication(dst, AuthSASLContinue, first), false, nil
	}
	final, err := a.scram.Final(payload)
	if err == nil && a.config.Password == "" {
		err = ErrAuthFailed
	}
	if err != nil {
		return dst, false, err
	}
	a.done = true
	return AppendAuthentication(dst, AuthSASLFinal, final), true, nil
}
