package pgproto

import (
	"fmt"
	"slices"
	"strings"
)

// Methods is a set of ways to authenticate.
type Methods uint8

// Ways to authenticate, weakest first.
const (
	// MethodNone: the server asks for nothing: trust, peer, or a client's
	// certificate in TLS.
	MethodNone Methods = 1 << iota
	// MethodCleartext gives the server the password: for verified TLS only.
	MethodCleartext
	// MethodMD5 gives the server what, with little work, is the password.
	MethodMD5
	// MethodSCRAM proves the password to the server and the server to us.
	MethodSCRAM
	// MethodSCRAMPlus proves, too, that nobody stands between both.
	MethodSCRAMPlus
)

// String names the methods of the set.
func (m Methods) String() string {
	var names []string
	for i, name := range []string{"none", "password", "md5", "scram-sha-256", "scram-sha-256-plus"} {
		if m&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// AuthConfig says how a client authenticates.
type AuthConfig struct {
	User     string
	Password string // empty for none: only MethodNone then succeeds
	// Allow are the methods that a server may ask for. Others end the session,
	// so a server that is not the right one gets nothing it can use.
	Allow Methods
	// Binding is the channel binding data of the server's certificate
	// (EndpointBinding), nil without TLS.
	Binding []byte
	// Nonce is 18 or more random printable characters without a comma, new for
	// each authentication.
	Nonce string
	// MaxIterations bounds the CPU time that a server may cost; 0 for
	// DefaultMaxIterations.
	MaxIterations int
	// Derive derives SCRAM keys; nil for DeriveSCRAM.
	Derive Deriver
}

// Auth is the client's side of authentication. It is given the payload of each
// Authentication message until it is done, and says what to answer. One Auth is
// for one authentication.
type Auth struct {
	config AuthConfig
	method Methods // what the server has asked for; 0 before it has
	scram  *scramClient
	done   bool
}

// NewAuth returns the client's side of one authentication.
func NewAuth(config AuthConfig) *Auth {
	if config.MaxIterations == 0 {
		config.MaxIterations = DefaultMaxIterations
	}
	if config.Derive == nil {
		config.Derive = DeriveSCRAM
	}
	return &Auth{config: config}
}

// Method returns what the server has asked for, 0 before it has.
func (a *Auth) Method() Methods { return a.method }

// Step takes the payload of an Authentication message and appends the answer to
// dst, if there is one. It is done after AuthenticationOk. With SCRAM it may take
// the time that deriving the keys takes. Errors wrap ErrMethodRefused,
// ErrServerFalse or ErrServerRejected, or are a *ProtocolError; the connection
// must then be closed.
func (a *Auth) Step(dst, payload []byte) (out []byte, done bool, err error) {
	code, data, err := ParseAuthentication(payload)
	if err != nil {
		return dst, false, err
	}
	if a.done {
		return dst, false, malformed("Authentication after the end of authentication")
	}
	switch code {
	case AuthOK:
		err = a.ok()
		return dst, err == nil, err
	case AuthCleartext:
		out, err = a.cleartext(dst)
	case AuthMD5:
		out, err = a.md5(dst, data)
	case AuthSASL:
		out, err = a.sasl(dst, data)
	case AuthSASLContinue:
		out, err = a.saslContinue(dst, data)
	case AuthSASLFinal:
		out, err = dst, a.saslFinal(data)
	default:
		return dst, false, fmt.Errorf("%w: method %d (Kerberos, GSSAPI, SSPI or unknown)", ErrMethodRefused, code)
	}
	if err != nil {
		return dst, false, err
	}
	return out, false, nil
}

func (a *Auth) ok() error {
	switch {
	case a.method == 0:
		if err := a.choose(MethodNone); err != nil {
			return err
		}
	case a.scram != nil && !a.scram.verified:
		return fmt.Errorf("%w: it says OK without having shown its signature", ErrServerFalse)
	}
	a.done = true
	return nil
}

// choose accepts one method, once.
func (a *Auth) choose(m Methods) error {
	switch {
	case a.method != 0:
		return fmt.Errorf("%w: it asks for %v after %v", ErrMethodRefused, m, a.method)
	case a.config.Allow&m == 0:
		return fmt.Errorf("%w: it asks for %v, allowed: %v", ErrMethodRefused, m, a.config.Allow)
	case m != MethodNone && a.config.Password == "":
		return fmt.Errorf("%w: it asks for a password by %v, and there is none", ErrMethodRefused, m)
	}
	a.method = m
	return nil
}

func (a *Auth) cleartext(dst []byte) ([]byte, error) {
	if err := a.choose(MethodCleartext); err != nil {
		return dst, err
	}
	if strings.IndexByte(a.config.Password, 0) >= 0 {
		return dst, fmt.Errorf("%w: password has a zero byte, which can't be sent", ErrMethodRefused)
	}
	return AppendPassword(dst, a.config.Password), nil
}

func (a *Auth) md5(dst, salt []byte) ([]byte, error) {
	if len(salt) != 4 {
		return dst, malformed("salt of MD5 has %d bytes", len(salt))
	}
	if err := a.choose(MethodMD5); err != nil {
		return dst, err
	}
	return AppendPassword(dst, MD5Password(a.config.User, a.config.Password, salt)), nil
}

func (a *Auth) sasl(dst, data []byte) ([]byte, error) {
	offered, err := parseMechanisms(data)
	if err != nil {
		return dst, err
	}
	method, mechanism := MethodSCRAM, MechanismSCRAM
	able := a.config.Binding != nil && a.config.Allow&MethodSCRAMPlus != 0
	gs2, binding := "n,,", []byte(nil)
	switch {
	case able && slices.Contains(offered, MechanismSCRAMPlus):
		method, mechanism = MethodSCRAMPlus, MechanismSCRAMPlus
		gs2, binding = gs2Binding, a.config.Binding
	case able:
		gs2 = "y,," // a server that has offered PLUS sees that somebody took it out
	}
	if !slices.Contains(offered, mechanism) {
		return dst, fmt.Errorf("%w: it offers %.100q", ErrMethodRefused, offered)
	}
	if err := a.choose(method); err != nil {
		return dst, err
	}
	a.scram = &scramClient{
		password: a.config.Password, nonce: a.config.Nonce, gs2: gs2, binding: binding,
		maxIterations: a.config.MaxIterations, derive: a.config.Derive,
	}
	first, err := a.scram.first()
	if err != nil {
		return dst, err
	}
	return appendSASLInitial(dst, mechanism, first), nil
}

func (a *Auth) saslContinue(dst, data []byte) ([]byte, error) {
	if a.scram == nil || a.scram.answered {
		return dst, malformed("AuthenticationSASLContinue comes out of turn")
	}
	final, err := a.scram.final(data)
	if err != nil {
		return dst, err
	}
	return AppendMessage(dst, TypePassword, final), nil
}

func (a *Auth) saslFinal(data []byte) error {
	if a.scram == nil || !a.scram.answered || a.scram.verified {
		return malformed("AuthenticationSASLFinal comes out of turn")
	}
	return a.scram.verify(data)
}
