package mysqlproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxHandshake is the most payload bytes that this package's callers should
// take from a packet before the first command: attributes of a connection may
// have 64 KiB, what comes besides is small.
const MaxHandshake = 128 << 10

const (
	protocolVersion = 10
	scrambleHead    = 8 // bytes of the scramble in the greeting's first part
	maxName         = 256
)

// Greeting is the first thing a server says (HandshakeV10).
type Greeting struct {
	ServerVersion string
	ThreadID      uint32
	// Scramble is what passwords are hashed with: 20 bytes, without the zero
	// byte that ends it on the wire.
	Scramble     []byte
	Capabilities Capabilities
	Charset      uint8
	Status       Status
	AuthPlugin   string // empty if the server lacks PluginAuth
}

// MariaDB reports whether the server is MariaDB.
func (g *Greeting) MariaDB() bool { return !g.Capabilities.Has(LongPassword) }

// ParseGreeting reads the first payload that a server sends. A server that has
// no room for a client, or does not like its address, sends an ERR packet instead:
// the error is then a *ServerError. Protocols before version 10 are ErrUnsupported.
func ParseGreeting(payload []byte) (Greeting, error) {
	if len(payload) > 0 && payload[0] == headerErr {
		e, err := ParseError(payload)
		if err != nil {
			return Greeting{}, err
		}
		return Greeting{}, e
	}
	c := cursor{b: payload}
	if version := c.uint8(); version != protocolVersion {
		return Greeting{}, fmt.Errorf("%w: server speaks version %d of the protocol, not %d", ErrUnsupported, version, protocolVersion)
	}
	g := Greeting{ServerVersion: string(c.cstring()), ThreadID: c.uint32()}
	head := c.take(scrambleHead)
	c.uint8() // filler
	lower := c.uint16()
	g.Charset, g.Status = c.uint8(), Status(c.uint16())
	upper := c.uint16()
	scrambleLen := int(c.uint8())
	reserved := c.take(10)
	if c.short {
		return Greeting{}, malformed("greeting of %d bytes is too short, or of a server before MySQL 4.1", len(payload))
	}
	g.Capabilities = Capabilities(lower) | Capabilities(upper)<<16
	if g.MariaDB() {
		g.Capabilities |= Capabilities(binary.LittleEndian.Uint32(reserved[6:])) << 32
	}
	if g.Capabilities.Has(SecureConnection) {
		tail := c.take(max(13, scrambleLen-scrambleHead))
		g.Scramble = trimZero(slices.Concat(head, tail))
	} else {
		g.Scramble = slices.Clone(head)
	}
	if g.Capabilities.Has(PluginAuth) {
		g.AuthPlugin = string(c.lastString())
	}
	if c.short {
		return Greeting{}, malformed("greeting of %d bytes is cut off", len(payload))
	}
	return g, nil
}

// trimZero removes one zero byte from the end.
func trimZero(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == 0 {
		return b[:n-1]
	}
	return b
}

// errScramble is a fault of the caller.
var errScramble = errors.New("mysqlproto: scramble of a greeting must have 20 bytes and no zero byte")

// AppendTo appends the payload. The scramble must have 20 bytes, none of them
// zero; SecureConnection is always set.
func (g *Greeting) AppendTo(dst []byte) ([]byte, error) {
	if len(g.Scramble) != scrambleLen || slices.Contains(g.Scramble, 0) {
		return dst, errScramble
	}
	caps := g.Capabilities | SecureConnection
	dst = appendCString(append(dst, protocolVersion), g.ServerVersion)
	dst = binary.LittleEndian.AppendUint32(dst, g.ThreadID)
	dst = append(append(dst, g.Scramble[:scrambleHead]...), 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(caps))
	dst = append(dst, g.Charset)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(g.Status))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(caps>>16))
	if caps.Has(PluginAuth) {
		dst = append(dst, scrambleLen+1)
	} else {
		dst = append(dst, 0)
	}
	dst = append(dst, 0, 0, 0, 0, 0, 0)
	var extended uint32
	if !caps.Has(LongPassword) {
		extended = uint32(caps >> 32)
	}
	dst = binary.LittleEndian.AppendUint32(dst, extended)
	dst = append(append(dst, g.Scramble[scrambleHead:]...), 0)
	if caps.Has(PluginAuth) {
		dst = appendCString(dst, g.AuthPlugin)
	}
	return dst, nil
}

// MarkMariaDB is what MariaDB's servers before version 11 put before their
// version, for the sake of old replicas.
const MarkMariaDB = "5.5.5-"

// Version returns the server's version without MariaDB's mark.
func (g *Greeting) Version() string { return strings.TrimPrefix(g.ServerVersion, MarkMariaDB) }
