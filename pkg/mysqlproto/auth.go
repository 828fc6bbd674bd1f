package mysqlproto

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"strings"
)

// AuthConfig says how a client authenticates.
type AuthConfig struct {
	User     string
	Password string // may be empty: the server decides
	// Allow are the methods that a server may ask for. Others end the session,
	// so a server that is not the right one gets nothing it can use.
	Allow Methods
	// Secure says that nobody can read the link and that the server is the right
	// one: verified TLS, or a unix socket. Only then is the password itself sent.
	Secure bool
	// PublicKey encrypts the password where the link is not secure and the server
	// wants it; nil for none.
	PublicKey *rsa.PublicKey
	// FetchPublicKey asks the server for its key if there is none. Whoever stands
	// in between can then give his own, and read the password.
	FetchPublicKey bool
	// Several says that a user may have several methods, as at MariaDB. One that is
	// refused is answered with nothing at all, and the server may go on to the next.
	Several bool
	// Random gives random bytes: crypto/rand.Reader. Only parsec and RSA need it.
	Random io.Reader
}

// Auth is the client's side of authentication: Begin answers the greeting, Step
// is then given each payload until it is done. One Auth is for one
// authentication, at the session's beginning or in COM_CHANGE_USER.
type Auth struct {
	config   AuthConfig
	plugin   string
	scramble []byte
	switches int
	asked    bool  // for the server's public key
	shown    bool  // the password has been sent, in clear or encrypted
	answered bool  // parsec: the signature is sent
	refused  error // why the method that is under way is not used
}

// NewAuth returns the client's side of one authentication.
func NewAuth(config AuthConfig) *Auth { return &Auth{config: config} }

// Plugin returns the method that is under way, by its name on the wire.
func (a *Auth) Plugin() string { return a.plugin }

// Begin takes the method and the scramble of the greeting and returns what goes
// into HandshakeResponse or ChangeUser. It answers with one of the two methods
// that fit any greeting; a server that wants another one for the user switches.
func (a *Auth) Begin(plugin string, scramble []byte) (name string, response []byte, err error) {
	caching, native := a.config.Allow&MethodCachingSHA2 != 0, a.config.Allow&MethodNative != 0
	switch {
	case caching && (plugin == PluginCachingSHA2 || !native):
		name = PluginCachingSHA2
	case native:
		name = PluginNative
	default:
		// None of those: the server has to switch to one that is allowed.
		a.plugin, _, _ = strings.Cut(a.config.Allow.String(), ",")
		return a.plugin, nil, nil
	}
	response, err = a.use(name, scramble)
	return name, response, err
}

// Step takes a payload of the server and appends the answer's payload to dst;
// answer says whether there is one, since it may be empty. It is done when the
// server says OK. Errors are a *ServerError, a *ProtocolError, or wrap
// ErrMethodRefused or ErrUnsupported; the connection must then be closed.
func (a *Auth) Step(dst, payload []byte) (out []byte, answer, done bool, err error) {
	if len(payload) == 0 {
		return dst, false, false, malformed("empty packet during authentication")
	}
	switch payload[0] {
	case headerOK:
		return dst, false, true, nil
	case headerErr:
		return dst, false, false, a.denied(payload)
	case headerEOF:
		out, err = a.switchTo(dst, payload)
		return out, err == nil, false, err
	case headerMoreData:
		return a.moreData(dst, payload[1:])
	case headerFactor:
		if a.refused != nil {
			return a.moreData(dst, payload[1:]) // MariaDB's dialog asks on
		}
		return dst, false, false, fmt.Errorf("%w: server asks for a second factor", ErrUnsupported)
	}
	// MariaDB sends what a plugin says as it is, if it can't be mistaken.
	return a.moreData(dst, payload)
}

// denied is the error that an ERR packet stands for. Of a method that was refused it
// says nothing new.
func (a *Auth) denied(payload []byte) error {
	e, err := ParseError(payload)
	switch {
	case err != nil:
		return err
	case a.refused != nil && e.Errno == ErrnoAccessDenied:
		return a.refused
	}
	return e
}

func (a *Auth) switchTo(dst, payload []byte) ([]byte, error) {
	s, err := ParseAuthSwitch(payload)
	if err != nil {
		return dst, err
	}
	if err := a.countSwitch(); err != nil {
		return dst, err
	}
	response, err := a.use(s.Plugin, append([]byte(nil), s.Scramble()...))
	a.refused = nil
	if errors.Is(err, ErrMethodRefused) && a.config.Several {
		a.refused, err = err, nil
	}
	return append(dst, response...), err
}

func (a *Auth) countSwitch() error {
	if a.switches++; a.switches > maxSwitches {
		return malformed("server switches the method of authentication more than %d times", maxSwitches)
	}
	return nil
}

// maxSwitches bounds how many methods a server may try one after the other, as
// MariaDB does with those that a user has.
const maxSwitches = 16

// use begins a method and returns the answer to its scramble.
func (a *Auth) use(plugin string, scramble []byte) ([]byte, error) {
	m := MethodOf(plugin)
	if m == 0 || a.config.Allow&m == 0 {
		return nil, fmt.Errorf("%w: it asks for %.80q, allowed: %v", ErrMethodRefused, plugin, a.config.Allow)
	}
	a.plugin, a.scramble, a.asked, a.shown, a.answered = plugin, scramble, false, false, false
	want := scrambleLen
	if m == MethodEd25519 || m == MethodParsec {
		want = parsecNonce
	}
	if m != MethodCleartext && len(scramble) != want {
		return nil, malformed("scramble for %s has %d bytes, not %d", plugin, len(scramble), want)
	}
	password := a.config.Password
	switch m {
	case MethodNative:
		return NativeResponse(password, scramble), nil
	case MethodCachingSHA2:
		return CachingSHA2Response(password, scramble), nil
	case MethodEd25519:
		return ed25519Response(password, scramble)
	case MethodParsec:
		return nil, nil // an empty answer asks for the salt
	case MethodSHA256:
		return a.showPassword(requestKeySHA256)
	}
	return a.cleartext()
}

// What a client sends to ask for the server's public key.
const (
	requestKeySHA256      = 0x01
	requestKeyCachingSHA2 = 0x02
)

// What a server of caching_sha2_password says of the answer to its scramble.
const (
	cachingFast = 0x03 // it knows the password's hash: OK follows
	cachingFull = 0x04 // it does not: the password is needed
)

func (a *Auth) moreData(dst, data []byte) (out []byte, answer, done bool, err error) {
	var response []byte
	switch {
	case a.refused != nil:
		err = a.countSwitch()
	case a.plugin == PluginCachingSHA2 && len(data) == 1 && data[0] == cachingFast:
		return dst, false, false, nil
	case a.plugin == PluginCachingSHA2 && len(data) == 1 && data[0] == cachingFull && !a.asked && !a.shown:
		response, err = a.showPassword(requestKeyCachingSHA2)
	case (a.plugin == PluginCachingSHA2 || a.plugin == PluginSHA256) && a.asked && !a.shown:
		response, err = a.useKey(data)
	case a.plugin == PluginParsec && !a.answered:
		a.answered = true
		response, err = parsecResponse(a.config.Random, a.config.Password, a.scramble, data)
	default:
		err = malformed("server sends data that %s has no use for", a.plugin)
	}
	return append(dst, response...), err == nil, false, err
}

// showPassword gives the server the password in the way that the link allows.
func (a *Auth) showPassword(request byte) ([]byte, error) {
	switch {
	case a.config.Password == "":
		a.shown = true
		return []byte{0}, nil
	case a.config.Secure:
		return a.cleartext()
	case a.config.PublicKey != nil:
		a.shown = true
		return encryptPassword(a.config.Random, a.config.Password, a.scramble, a.config.PublicKey)
	case a.config.FetchPublicKey:
		a.asked = true
		return []byte{request}, nil
	}
	return nil, fmt.Errorf("%w: %s wants the password itself: that needs verified TLS, a unix socket or the server's public key", ErrMethodRefused, a.plugin)
}

// useKey encrypts the password with the key that the server has sent.
func (a *Auth) useKey(data []byte) ([]byte, error) {
	key, err := ParsePublicKey(data)
	if err != nil {
		return nil, err
	}
	a.shown = true
	return encryptPassword(a.config.Random, a.config.Password, a.scramble, key)
}

func (a *Auth) cleartext() ([]byte, error) {
	if !a.config.Secure {
		return nil, fmt.Errorf("%w: %s sends the password itself: that needs verified TLS or a unix socket", ErrMethodRefused, a.plugin)
	}
	if strings.IndexByte(a.config.Password, 0) >= 0 {
		return nil, fmt.Errorf("%w: password has a zero byte, which can't be sent", ErrMethodRefused)
	}
	a.shown = true
	return append([]byte(a.config.Password), 0), nil
}

// AppendFastAuthOK appends the payload with which a server of
// caching_sha2_password accepts the answer to its scramble; OK follows.
func AppendFastAuthOK(dst []byte) []byte { return AppendMoreData(dst, []byte{cachingFast}) }
