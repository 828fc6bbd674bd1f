package mysql

import (
	"bytes"
	"errors"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// headLen is what stands before a packet's payload, in bytes.
const headLen = 4

// errEmpty is a packet that is no command.
var errEmpty = errors.New("a command without content")

// glance is what is to become of a command.
type glance uint8

const (
	passOn glance = iota
	later         // more of it is needed, or what went before it has to be answered
	ours          // the proxy answers it
)

// look looks at the beginning of a command.
func (s *session) look(b []byte) glance {
	if s.Is(isHeld) {
		return later
	}
	if s.Is(database.Leaving|isResetting) && s.tracker.Outstanding() > 0 {
		s.hold()
		return later
	}
	if len(b) < headLen {
		return later
	}
	size := payloadLen(b)
	if size == 0 {
		return ours // and refused
	}
	if len(b) == headLen {
		return later
	}
	c := mysqlproto.Command(b[headLen])
	if c.NamesStatement() && len(b) < headLen+min(size, mysqlproto.StatementHead) {
		return later
	}
	if !s.isOurs(c, b, size) {
		return passOn
	}
	if len(b) < headLen+size && size <= mysqlproto.MaxHandshake {
		return later
	}
	if !s.tracker.AtCommand() {
		s.hold()
		return later
	}
	return ours
}

func payloadLen(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// isOurs reports whether a command is not simply passed on.
func (s *session) isOurs(c mysqlproto.Command, b []byte, size int) bool {
	switch c {
	case mysqlproto.ComQuery:
		return s.isOurQuery(b, size)
	case mysqlproto.ComProcessKill:
		k, ok := processKill(b[headLen:min(len(b), headLen+size)])
		if ok {
			_, ok = s.elsewhere(k)
		}
		return ok || size == processKillLen && len(b) < headLen+size // to be seen when it is here
	case mysqlproto.ComChangeUser:
		return true
	case mysqlproto.ComInitDB:
		if size > 1+nameLimit {
			return false
		}
		return len(b) < headLen+size || s.isAlias(string(b[headLen+1:headLen+size]))
	}
	return c.Replication()
}

// isOurQuery reports whether a query is a KILL for another server, or selects the
// environment's database by a name that the app has for it.
func (s *session) isOurQuery(b []byte, size int) bool {
	if size > 2*nameLimit+s.agreed.maxAttributes(b[headLen]) {
		return false
	}
	text, ok := mysqlproto.QueryText(b[headLen:min(len(b), headLen+size)], s.agreed.down)
	missing := max(0, headLen+size-len(b))
	if ok && (len(text)+missing > 2*nameLimit || !mayBeOurs(text)) {
		return false
	}
	if missing > 0 || !ok {
		return missing > 0 // to be seen when it is here
	}
	if name, ok := parseUse(text); ok {
		return s.isAlias(name)
	}
	k, isKill := parseKill(text)
	if isKill {
		_, isKill = s.elsewhere(k)
	}
	return isKill
}

// maxAttributes is how much of a query's attributes is looked at, in bytes: what
// stands behind more than that is passed on unseen.
const maxAttributes = 8 << 10

// maxAttributes is how many bytes of attributes may stand before the text of a
// command.
func (a *agreement) maxAttributes(first byte) int {
	if mysqlproto.Command(first) != mysqlproto.ComQuery || !a.down.Has(mysqlproto.QueryAttributes) {
		return 0
	}
	return maxAttributes
}

// mayBeOurs reports whether what is there of a text makes it worth to be looked at
// as a whole.
func mayBeOurs(text []byte) bool {
	if len(text) > 0 && text[0] <= ' ' {
		text = bytes.TrimLeft(text, " \t\r\n")
	}
	if len(text) == 0 {
		return true
	}
	switch text[0] | 0x20 {
	case 'k', 'u':
		return true
	}
	return text[0] == '/' || text[0] == '-' || text[0] == '#'
}

// processKillLen is the length of COM_PROCESS_KILL, bytes.
const processKillLen = 5

// processKill reads COM_PROCESS_KILL, which is KILL before there was KILL.
func processKill(payload []byte) (killStatement, bool) {
	if len(payload) < processKillLen {
		return killStatement{}, false
	}
	return killStatement{"KILL", uint32(payload[1]) | uint32(payload[2])<<8 | uint32(payload[3])<<16 | uint32(payload[4])<<24}, true
}

// serve answers a command that is at the beginning of b, and says how long it is.
func (s *session) serve(b []byte) int {
	size := payloadLen(b)
	if size == 0 || size > mysqlproto.MaxHandshake {
		s.clientBroke(errEmpty)
		return len(b)
	}
	payload, seq, n := b[headLen:headLen+size], b[3]+1, headLen+size
	s.Part.Stats.Received.Add(uint64(n))
	switch c := mysqlproto.Command(payload[0]); c {
	case mysqlproto.ComQuery:
		text, _ := mysqlproto.QueryText(payload, s.agreed.down)
		if _, ok := parseUse(text); ok {
			s.selectOurs(b[3])
			return n
		}
		k, ok := parseKill(text)
		s.serveKill(k, ok, seq)
	case mysqlproto.ComProcessKill:
		k, ok := processKill(payload)
		s.serveKill(k, ok, seq)
	case mysqlproto.ComChangeUser:
		s.changeUser(payload, seq)
	case mysqlproto.ComInitDB:
		s.selectOurs(b[3])
	default:
		s.answerError(seq, mysqlproto.ErrnoNotSupported, "42000", "dragoman: "+c.String()+" is not passed on: replicate from the server itself")
	}
	return n
}

func (s *session) answerError(seq byte, errno uint16, state, message string) {
	s.failed(errno, state)
	s.Down.Write(errorPacket(seq, errno, state, message))
}
