package mysqlproto

import (
	"encoding/binary"
	"fmt"
)

// First bytes of what a server says.
const (
	headerOK       = 0x00
	headerMoreData = 0x01 // in authentication
	headerFactor   = 0x02 // in authentication: one more factor
	headerLocal    = 0xfb // LOCAL INFILE request
	headerEOF      = 0xfe // also AuthSwitchRequest; and OK that ends rows
	headerErr      = 0xff
)

// maxEOF is one more than what an EOF packet has at most; a row that begins
// with the same byte is much longer.
const maxEOF = 9

// Error numbers and SQLSTATEs that a proxy itself sends or reacts to.
const (
	ErrnoTooManyConnections uint16 = 1040 // 08004
	ErrnoHandshake          uint16 = 1043 // 08S01
	ErrnoAccessDenied       uint16 = 1045 // 28000
	ErrnoUnknownCommand     uint16 = 1047 // 08S01
	ErrnoServerShutdown     uint16 = 1053 // 08S01
	ErrnoTooManyOfUser      uint16 = 1203 // 42000, ER_TOO_MANY_USER_CONNECTIONS
	ErrnoUserLimit          uint16 = 1226 // 42000, ER_USER_LIMIT_REACHED
	ErrnoNotSupported       uint16 = 1235 // 42000
	ErrnoReadOnlyOption     uint16 = 1290 // HY000
	ErrnoIdle               uint16 = 4031 // HY000, of MySQL 8.0.24
	errnoProgress           uint16 = 0xffff

	StateLinkFailure  = "08S01"
	StateTooMany      = "08004"
	StateAccessDenied = "28000"
	StateGeneral      = "HY000"
)

// stateMark stands before an SQLSTATE.
const stateMark = '#'

// ServerError is an ERR packet.
type ServerError struct {
	Errno   uint16
	State   string // the SQLSTATE, five characters; empty before the handshake's end
	Message string
}

// Error is how the clients show it.
func (e *ServerError) Error() string {
	return fmt.Sprintf("ERROR %d (%s): %s", e.Errno, e.State, e.Message)
}

// NoRoom reports whether a login has failed since the server has as many sessions
// as it takes, of all users or of this one: it may have room later.
func (e *ServerError) NoRoom() bool {
	return e.Errno == ErrnoTooManyConnections || e.Errno == ErrnoTooManyOfUser || e.Errno == ErrnoUserLimit
}

// AppendTo appends the payload. An SQLSTATE that has not five characters is left
// out, as servers do before the handshake.
func (e *ServerError) AppendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(append(dst, headerErr), e.Errno)
	if len(e.State) == 5 {
		dst = append(append(dst, stateMark), e.State...)
	}
	return append(dst, e.Message...)
}

// ParseError reads the payload of an ERR packet. It takes the beginning of one
// too, with what is there of the message.
func ParseError(payload []byte) (*ServerError, error) {
	c := cursor{b: payload}
	if c.uint8() != headerErr || len(c.b) < 2 {
		return nil, malformed("ERR packet is malformed")
	}
	e := &ServerError{Errno: c.uint16()}
	if len(c.b) >= 6 && c.b[0] == stateMark {
		e.State = string(c.take(6)[1:])
	}
	e.Message = string(c.rest())
	return e, nil
}

// OK is how a command without rows ends and, with DeprecateEOF, rows.
type OK struct {
	AffectedRows uint64
	InsertID     uint64
	Status       Status
	Warnings     uint16
	// Rest is the message and, with SessionTrack, what of the session has changed.
	Rest []byte
}

// ParseOK reads the payload of an OK packet whose first byte is 0x00 or 0xfe.
// It takes the beginning of one too, as long as it has the warnings.
func ParseOK(payload []byte) (OK, error) {
	c := cursor{b: payload}
	if first := c.uint8(); first != headerOK && first != headerEOF {
		return OK{}, malformed("OK packet begins with %#x", first)
	}
	ok := OK{AffectedRows: c.lenenc(), InsertID: c.lenenc(), Status: Status(c.uint16()), Warnings: c.uint16()}
	ok.Rest = c.rest()
	if c.short {
		return OK{}, malformed("OK packet of %d bytes is malformed", len(payload))
	}
	return ok, nil
}

// AppendTo appends the payload.
func (o *OK) AppendTo(dst []byte) []byte {
	dst = appendLenenc(append(dst, headerOK), o.AffectedRows)
	dst = appendLenenc(dst, o.InsertID)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(o.Status))
	dst = binary.LittleEndian.AppendUint16(dst, o.Warnings)
	return append(dst, o.Rest...)
}

// EOF is how columns and rows end without DeprecateEOF.
type EOF struct {
	Warnings uint16
	Status   Status
}

// ParseEOF reads the payload of an EOF packet.
func ParseEOF(payload []byte) (EOF, error) {
	c := cursor{b: payload}
	header := c.uint8()
	e := EOF{Warnings: c.uint16(), Status: Status(c.uint16())}
	if header != headerEOF || c.short || len(payload) >= maxEOF {
		return EOF{}, malformed("EOF packet of %d bytes is malformed", len(payload))
	}
	return e, nil
}

// AppendTo appends the payload.
func (e *EOF) AppendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(append(dst, headerEOF), e.Warnings)
	return binary.LittleEndian.AppendUint16(dst, uint16(e.Status))
}
