package mysqlproto

import (
	"encoding/binary"
	"fmt"
)

// HandshakeResponse is a client's answer to the greeting (HandshakeResponse41).
type HandshakeResponse struct {
	Capabilities Capabilities
	MaxPacket    uint32 // that the client takes, bytes
	Charset      uint8
	User         string
	// Auth answers the scramble.
	Auth       []byte
	Database   string // only with ConnectWithDB
	AuthPlugin string // only with PluginAuth
	// Attrs are the attributes of the connection, as they are on the wire, without
	// the length before them; only with ConnectAttrs. See ParseAttrs.
	Attrs []byte
	// ZstdLevel is only there with CompressZstd.
	ZstdLevel uint8
}

// fixedResponse is what the answer has before the user's name, and all that an
// SSLRequest has.
const fixedResponse = 32

// ParseHandshakeResponse reads the first payload that a client sends. tls is true
// for an SSLRequest: a TLS handshake follows, then the answer again. The protocol
// before MySQL 4.1 is ErrUnsupported.
func ParseHandshakeResponse(payload []byte) (r HandshakeResponse, tls bool, err error) {
	c := cursor{b: payload}
	r.Capabilities = Capabilities(c.uint32())
	r.MaxPacket, r.Charset = c.uint32(), c.uint8()
	c.take(19)
	extended := c.uint32()
	if len(payload) >= 2 && !Capabilities(binary.LittleEndian.Uint16(payload)).Has(Protocol41) {
		return HandshakeResponse{}, false, fmt.Errorf("%w: client speaks the protocol from before MySQL 4.1", ErrUnsupported)
	}
	if c.short {
		return HandshakeResponse{}, false, malformed("answer to the greeting has only %d bytes", len(payload))
	}
	if !r.Capabilities.Has(LongPassword) {
		r.Capabilities |= Capabilities(extended) << 32
	}
	if len(payload) == fixedResponse {
		if !r.Capabilities.Has(SSL) {
			return HandshakeResponse{}, false, malformed("answer to the greeting ends before the user's name")
		}
		return r, true, nil
	}
	r.User = string(c.cstring())
	r.Auth = r.readAuth(&c)
	if r.Capabilities.Has(ConnectWithDB) && len(c.b) > 0 {
		r.Database = string(c.lastString())
	}
	if r.Capabilities.Has(PluginAuth) && len(c.b) > 0 {
		r.AuthPlugin = string(c.lastString())
	}
	if r.Capabilities.Has(ConnectAttrs) && len(c.b) > 0 {
		r.Attrs = c.lenencBytes()
	}
	if r.Capabilities.Has(CompressZstd) && len(c.b) > 0 {
		r.ZstdLevel = c.uint8()
	}
	if c.short {
		return HandshakeResponse{}, false, malformed("answer to the greeting is cut off")
	}
	return r, false, nil
}

func (r *HandshakeResponse) readAuth(c *cursor) []byte {
	switch {
	case r.Capabilities.Has(PluginAuthLenenc):
		return c.lenencBytes()
	case r.Capabilities.Has(SecureConnection):
		return c.take(int(c.uint8()))
	}
	auth := c.cstring()
	if len(auth) > 255 { // no more than the form with a length can have
		c.short = true
	}
	return auth
}

// AppendSSLRequest appends the payload of the SSLRequest that goes before r.
func (r *HandshakeResponse) AppendSSLRequest(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.Capabilities|SSL))
	dst = binary.LittleEndian.AppendUint32(dst, r.MaxPacket)
	dst = append(dst, r.Charset)
	dst = append(dst, make([]byte, 19)...)
	var extended uint32
	if !r.Capabilities.Has(LongPassword) {
		extended = uint32(r.Capabilities >> 32)
	}
	return binary.LittleEndian.AppendUint32(dst, extended)
}

// AppendTo appends the payload. Protocol41 and SecureConnection are always set.
// An answer to the scramble that is longer than the capabilities allow is a
// *ProtocolError.
func (r *HandshakeResponse) AppendTo(dst []byte) ([]byte, error) {
	start := len(dst)
	all := *r
	all.Capabilities |= Protocol41 | SecureConnection
	dst = all.AppendSSLRequest(dst)
	binary.LittleEndian.PutUint32(dst[start:], uint32(all.Capabilities))
	dst = appendCString(dst, r.User)
	switch {
	case r.Capabilities.Has(PluginAuthLenenc):
		dst = appendLenencString(dst, r.Auth)
	case len(r.Auth) > 255:
		return dst[:start], malformed("answer to the scramble has %d bytes, more than 255", len(r.Auth))
	default:
		dst = append(append(dst, byte(len(r.Auth))), r.Auth...)
	}
	if r.Capabilities.Has(ConnectWithDB) {
		dst = appendCString(dst, r.Database)
	}
	if r.Capabilities.Has(PluginAuth) {
		dst = appendCString(dst, r.AuthPlugin)
	}
	if r.Capabilities.Has(ConnectAttrs) {
		dst = appendLenencString(dst, r.Attrs)
	}
	if r.Capabilities.Has(CompressZstd) {
		dst = append(dst, r.ZstdLevel)
	}
	return dst, nil
}

// Attr is one attribute of a connection, such as "program_name".
type Attr struct {
	Name, Value string
}

// ParseAttrs reads the attributes of a connection.
func ParseAttrs(attrs []byte) ([]Attr, error) {
	var list []Attr
	c := cursor{b: attrs}
	for len(c.b) > 0 && !c.short {
		list = append(list, Attr{Name: string(c.lenencBytes()), Value: string(c.lenencBytes())})
	}
	if c.short {
		return nil, malformed("attributes of the connection are malformed")
	}
	return list, nil
}

// AppendAttrs appends attributes as HandshakeResponse.Attrs has them.
func AppendAttrs(dst []byte, attrs []Attr) []byte {
	for _, a := range attrs {
		dst = appendLenencString(appendLenencString(dst, a.Name), a.Value)
	}
	return dst
}

// ChangeUser is COM_CHANGE_USER: the session begins anew as another user. It
// carries an answer to the scramble of the greeting, or of the last AuthSwitch
// whose scramble had 20 bytes.
type ChangeUser struct {
	User       string
	Auth       []byte
	Database   string
	Charset    uint16
	AuthPlugin string // only with PluginAuth
	Attrs      []byte // only with ConnectAttrs
}

// ParseChangeUser reads the payload of COM_CHANGE_USER, with its first byte, of
// a session that has the given capabilities.
func ParseChangeUser(payload []byte, caps Capabilities) (ChangeUser, error) {
	c := cursor{b: payload}
	if Command(c.uint8()) != ComChangeUser {
		return ChangeUser{}, malformed("COM_CHANGE_USER has another first byte")
	}
	u := ChangeUser{User: string(c.cstring())}
	if caps.Has(SecureConnection) {
		u.Auth = c.take(int(c.uint8()))
	} else {
		u.Auth = c.cstring()
	}
	u.Database = string(c.lastString())
	if len(c.b) > 0 {
		u.Charset = c.uint16()
	}
	if caps.Has(PluginAuth) && len(c.b) > 0 {
		u.AuthPlugin = string(c.lastString())
	}
	if caps.Has(ConnectAttrs) && len(c.b) > 0 {
		u.Attrs = c.lenencBytes()
	}
	if c.short {
		return ChangeUser{}, malformed("COM_CHANGE_USER is cut off")
	}
	return u, nil
}

// AppendTo appends the payload for a session that has the given capabilities,
// SecureConnection among them.
func (u *ChangeUser) AppendTo(dst []byte, caps Capabilities) ([]byte, error) {
	if len(u.Auth) > 255 {
		return dst, malformed("answer to the scramble has %d bytes, more than 255", len(u.Auth))
	}
	dst = appendCString(append(dst, byte(ComChangeUser)), u.User)
	dst = append(append(dst, byte(len(u.Auth))), u.Auth...)
	dst = appendCString(dst, u.Database)
	dst = binary.LittleEndian.AppendUint16(dst, u.Charset)
	if caps.Has(PluginAuth) {
		dst = appendCString(dst, u.AuthPlugin)
	}
	if caps.Has(ConnectAttrs) {
		dst = appendLenencString(dst, u.Attrs)
	}
	return dst, nil
}

// AuthSwitch is a server's wish for another method of authentication.
type AuthSwitch struct {
	Plugin string
	Data   []byte // a new scramble, in most methods; see Scramble
}

// Scramble returns the scramble of Data without the zero byte that the methods
// of MySQL put behind its 20 bytes.
func (s *AuthSwitch) Scramble() []byte { return withoutZero(s.Data) }

func withoutZero(data []byte) []byte {
	if len(data) == scrambleLen+1 && data[scrambleLen] == 0 {
		return data[:scrambleLen]
	}
	return data
}

// ParseAuthSwitch reads the payload of AuthSwitchRequest. The wish for the method
// from before MySQL 4.1, a single byte, is ErrUnsupported.
func ParseAuthSwitch(payload []byte) (AuthSwitch, error) {
	c := cursor{b: payload}
	if c.uint8() != headerEOF {
		return AuthSwitch{}, malformed("AuthSwitchRequest has another first byte")
	}
	if len(c.b) == 0 {
		return AuthSwitch{}, fmt.Errorf("%w: server asks for mysql_old_password", ErrUnsupported)
	}
	s := AuthSwitch{Plugin: string(c.cstring())}
	s.Data = c.rest()
	if c.short || len(s.Plugin) > maxName {
		return AuthSwitch{}, malformed("AuthSwitchRequest is malformed")
	}
	return s, nil
}

// AppendTo appends the payload.
func (s *AuthSwitch) AppendTo(dst []byte) []byte {
	return append(appendCString(append(dst, headerEOF), s.Plugin), s.Data...)
}

// AppendMoreData appends the payload of AuthMoreData.
func AppendMoreData(dst, data []byte) []byte { return append(append(dst, headerMoreData), data...) }
