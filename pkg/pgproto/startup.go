package pgproto

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Version is a protocol version, the major part in the upper 16 bits.
type Version uint32

// Versions of the protocol, and the codes that stand in the version's place.
const (
	Version30  Version = 3 << 16
	Version32  Version = 3<<16 | 2
	codeCancel Version = 1234<<16 | 5678
	codeSSL    Version = 1234<<16 | 5679
	codeGSSENC Version = 1234<<16 | 5680
)

// Major returns the major version, 3 for every version this package speaks.
func (v Version) Major() int { return int(v >> 16) }

// Minor returns the minor version.
func (v Version) Minor() int { return int(v & 0xffff) }

// StartupKind tells what a client begins with.
type StartupKind uint8

// What a client may begin with (section 54.7).
const (
	// StartupMessage opens a session.
	StartupMessage StartupKind = iota + 1
	// SSLRequest asks for TLS; the answer is one byte, 'S' or 'N'.
	SSLRequest
	// GSSENCRequest asks for GSSAPI encryption; the answer is 'G' or 'N'.
	GSSENCRequest
	// CancelRequest asks to cancel what another session does; it has no answer.
	CancelRequest
	// DirectTLS is no packet but the first byte of a TLS handshake, as clients
	// of version 17 may send it with sslnegotiation=direct. It can't be taken
	// for a packet: its length would exceed the limit.
	DirectTLS
)

// Lengths of the key of a cancel request: always 4 in version 3.0.
const (
	minCancelKey = 4
	maxCancelKey = 256
)

// recordHandshake is the first byte of a TLS record with a ClientHello.
const recordHandshake = 0x16

// Param is one setting of a StartupMessage.
type Param struct {
	Name, Value string
}

// Startup is what a client begins with.
type Startup struct {
	Kind    StartupKind
	Version Version // of a StartupMessage
	Params  []Param // of a StartupMessage, in the order they came
	PID     uint32  // of a CancelRequest: the process id that BackendKeyData told
	Key     []byte  // of a CancelRequest: opaque, 4 to 256 bytes
}

// ParseStartup reads a start-up packet from the front of b and returns how many
// bytes it has: 0 for DirectTLS, whose bytes belong to TLS. It consumes nothing
// behind the packet: what stands there after an SSLRequest or GSSENCRequest was
// sent before encryption, and must be refused.
func ParseStartup(b []byte, lim *Limits) (s Startup, n int, err error) {
	if len(b) > 0 && b[0] == recordHandshake {
		return Startup{Kind: DirectTLS}, 0, nil
	}
	// The length's upper bytes are checked as they come, so that a client of
	// another protocol is refused at once instead of being waited for.
	if size := boundedStart(b); size > uint32(lim.MaxStartup) {
		return s, 0, malformed("start-up packet is longer than %d bytes: not a PostgreSQL client", lim.MaxStartup)
	}
	if len(b) < 4 {
		return s, 0, ErrIncomplete
	}
	n = int(binary.BigEndian.Uint32(b))
	if n < 8 {
		return s, 0, malformed("start-up packet has an invalid length of %d", n)
	}
	if len(b) < n {
		return s, 0, ErrIncomplete
	}
	s, err = parseStartup(Version(binary.BigEndian.Uint32(b[4:])), b[8:n])
	if err != nil {
		return Startup{}, 0, err
	}
	return s, n, nil
}

// boundedStart returns the least length that the beginning of b can mean.
func boundedStart(b []byte) uint32 {
	var first [4]byte
	copy(first[:], b)
	return binary.BigEndian.Uint32(first[:])
}

func parseStartup(version Version, body []byte) (Startup, error) {
	switch version {
	case codeSSL, codeGSSENC:
		if len(body) != 0 {
			return Startup{}, malformed("request for encryption has a payload of %d bytes", len(body))
		}
		if version == codeSSL {
			return Startup{Kind: SSLRequest}, nil
		}
		return Startup{Kind: GSSENCRequest}, nil
	case codeCancel:
		if len(body) < 4+minCancelKey || len(body) > 4+maxCancelKey {
			return Startup{}, malformed("cancel request has a key of %d bytes", len(body)-4)
		}
		return Startup{Kind: CancelRequest, PID: binary.BigEndian.Uint32(body), Key: slices.Clip(body[4:])}, nil
	}
	if version.Major() != 3 {
		return Startup{}, malformed("unsupported frontend protocol %d.%d: only version 3 is spoken", version.Major(), version.Minor())
	}
	s := Startup{Kind: StartupMessage, Version: version}
	c := cursor{b: body}
	for {
		name := c.cstring()
		if len(name) == 0 {
			break
		}
		s.Params = append(s.Params, Param{Name: string(name), Value: string(c.cstring())})
		if c.short {
			break
		}
	}
	if !c.done() {
		return Startup{}, malformed("invalid start-up packet layout: expected terminator as last byte")
	}
	return s, nil
}

// Get returns a setting, the last if it came several times, as the server takes
// it. Names are compared exactly; the server's own settings, unlike user,
// database, options and replication, have names without case.
func (s *Startup) Get(name string) (value string, ok bool) {
	for _, p := range slices.Backward(s.Params) {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// User returns the user's name, empty if there is none: such a start-up is
// refused by every server.
func (s *Startup) User() string {
	user, _ := s.Get("user")
	return user
}

// Database returns the database, which defaults to the user's name.
func (s *Startup) Database() string {
	if database, ok := s.Get("database"); ok && database != "" {
		return database
	}
	return s.User()
}

// Replication reports whether the client asks for a replication connection,
// physical or logical. As at the server, a value that is no boolean other than
// "database" is no demand but an error; here it counts as a demand.
func (s *Startup) Replication() bool {
	value, ok := s.Get("replication")
	if !ok {
		return false
	}
	switch strings.ToLower(value) {
	case "false", "fals", "fal", "fa", "f", "off", "of", "no", "n", "0":
		return false
	}
	return true
}

// Set makes a setting have one value, in the place of its first occurrence or at
// the end. It changes s alone, also where Params is shared with a copy.
func (s *Startup) Set(name, value string) {
	params := make([]Param, 0, len(s.Params)+1)
	done := false
	for _, p := range s.Params {
		switch {
		case p.Name != name:
			params = append(params, p)
		case !done:
			params, done = append(params, Param{name, value}), true
		}
	}
	if !done {
		params = append(params, Param{name, value})
	}
	s.Params = params
}

// AppendTo appends the packet, a StartupMessage or any other. Names and values
// must not have a zero byte and names must not be empty, else the packet is
// not what it seems: the error is a *ProtocolError. DirectTLS has no packet.
func (s *Startup) AppendTo(dst []byte) ([]byte, error) {
	switch s.Kind {
	case SSLRequest:
		return appendRequest(dst, codeSSL), nil
	case GSSENCRequest:
		return appendRequest(dst, codeGSSENC), nil
	case CancelRequest:
		if len(s.Key) < minCancelKey || len(s.Key) > maxCancelKey {
			return dst, malformed("cancel request has a key of %d bytes", len(s.Key))
		}
		start := len(dst)
		dst = appendRequest(dst, codeCancel)
		dst = binary.BigEndian.AppendUint32(dst, s.PID)
		dst = append(dst, s.Key...)
		binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start))
		return dst, nil
	case StartupMessage:
		return s.appendMessage(dst)
	}
	return dst, malformed("start-up of kind %d has no packet", s.Kind)
}

func (s *Startup) appendMessage(dst []byte) ([]byte, error) {
	start := len(dst)
	out := appendRequest(dst, s.Version)
	for _, p := range s.Params {
		if p.Name == "" || strings.IndexByte(p.Name, 0) >= 0 || strings.IndexByte(p.Value, 0) >= 0 {
			return dst, malformed("start-up parameter %q is empty or has a zero byte", p.Name)
		}
		out = appendCString(out, p.Name)
		out = appendCString(out, p.Value)
	}
	out = append(out, 0)
	binary.BigEndian.PutUint32(out[start:], uint32(len(out)-start))
	return out, nil
}

func appendRequest(dst []byte, code Version) []byte {
	dst = binary.BigEndian.AppendUint32(dst, 8)
	return binary.BigEndian.AppendUint32(dst, uint32(code))
}

func appendCString(dst []byte, s string) []byte {
	dst = append(dst, s...)
	return append(dst, 0)
}
